"""AlexNet as a Keras model: Krizhevsky, Sutskever and Hinton 2012, section 3."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="dlperf")
class LocalResponseNormalization(layers.Layer):
    """Divide every activity by a power of the summed squares of its neighbours in the channels (section 3.3).

    b_i = a_i / (k + alpha * sum of a_j^2)^beta, j over the `depth` channels around i; input and output float32
    (batch, height, width, channels). The paper's constants are k = 2, depth = 5, alpha = 1e-4, beta = 0.75.
    """

    def __init__(self, depth: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75, **kwargs: Any) -> None:
        """Take the constants.

        Args:
            depth: Channels that are added up; odd.
            k: Added to the sum.
            alpha: Factor of the sum.
            beta: Exponent.
            **kwargs: As for any layer.
        """
        super().__init__(**kwargs)
        self.depth, self.k, self.alpha, self.beta = depth, k, alpha, beta

    def call(self, inputs: Any) -> Any:
        """Normalise."""
        channels, side = inputs.shape[-1], self.depth // 2
        squares = ops.pad(ops.square(inputs), ((0, 0), (0, 0), (0, 0), (side, side)))
        sums = sum(squares[..., shift : shift + channels] for shift in range(self.depth))
        return inputs / ops.power(self.k + self.alpha * sums, self.beta)

    def get_config(self) -> dict[str, Any]:
        """Return the constants."""
        constants = {"depth": self.depth, "k": self.k, "alpha": self.alpha, "beta": self.beta}
        return {**super().get_config(), **constants}


def alexnet(*, groups: int = 1, dense_bias: bool = True, pooling_first: bool = False) -> keras.Model:
    """Build AlexNet on float32 (batch, 227, 227, 3), softmax over 1000 classes.

    Args:
        groups: Groups of the second, fourth and fifth convolution; 2 in the paper, one per GPU (section 3.5).
        dense_bias: Whether dense layers have biases.
        pooling_first: Pool before local response normalisation, as the notebook's table has it, not after it.
    """

    def reduced(x: Any, number: int) -> Any:
        norm, pool = LocalResponseNormalization(name=f"norm{number}"), layers.MaxPooling2D(3, 2, name=f"pool{number}")
        return norm(pool(x)) if pooling_first else pool(norm(x))

    x = inputs = keras.Input((227, 227, 3))
    x = layers.Conv2D(96, 11, strides=4, activation="relu", name="conv1")(x)
    x = reduced(x, 1)
    x = layers.Conv2D(256, 5, padding="same", groups=groups, activation="relu", name="conv2")(x)
    x = reduced(x, 2)
    x = layers.Conv2D(384, 3, padding="same", activation="relu", name="conv3")(x)
    x = layers.Conv2D(384, 3, padding="same", groups=groups, activation="relu", name="conv4")(x)
    x = layers.Conv2D(256, 3, padding="same", groups=groups, activation="relu", name="conv5")(x)
    x = layers.MaxPooling2D(3, 2, name="pool5")(x)
    x = layers.Flatten()(x)
    for number in (6, 7):
        x = layers.Dense(4096, activation="relu", use_bias=dense_bias, name=f"fc{number}")(x)
        x = layers.Dropout(0.5)(x)
    outputs = layers.Dense(1000, activation="softmax", use_bias=dense_bias, name="fc8")(x)
    return keras.Model(inputs, outputs, name="alexnet")
