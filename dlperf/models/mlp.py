"""Multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from dlperf.models.dropout import HashedDropout

BatchNorm = Literal["between", "everywhere", "nowhere"]
DropoutAfter = Literal["each", "last"]


def regression_mlp(
    units: Sequence[int],
    *,
    random_seed: int,
    features: int = 2,
    batch_norm: BatchNorm = "between",
    fast_gradient: bool = True,
) -> keras.Model:
    """Build a network of ReLU layers that maps float32 (batch, features) to float32 (batch, 1).

    Args:
        units: Units of the hidden layers.
        random_seed: All initial weights follow from it, whatever was built before.
        features: Inputs.
        batch_norm: Batch normalisation before hidden layers 2, 3, ... ("between", as the assignment orders), also
            before the first one and the output ("everywhere"), or "nowhere".
        fast_gradient: Compute the output's gradient the fast way for training; a saved model takes Keras's layer.
    """
    seeds = np.random.SeedSequence(random_seed).generate_state(len(units) + 1).tolist()
    x = inputs = keras.Input((features,))
    for i, (width, seed) in enumerate(zip(units, seeds[:-1], strict=True)):
        if batch_norm == "everywhere" or (batch_norm == "between" and i > 0):
            x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Dense(width, "relu", kernel_initializer=keras.initializers.GlorotUniform(seed=seed))(x)
    if batch_norm == "everywhere":
        x = keras.layers.BatchNormalization()(x)
    output = (_OneUnit if fast_gradient else keras.layers.Dense)(
        1, kernel_initializer=keras.initializers.GlorotUniform(seed=seeds[-1])
    )
    return keras.Model(inputs, output(x))


def classifying_mlp(
    units: Sequence[int],
    *,
    random_seed: int,
    features: int,
    classes: int,
    l2: float = 0.0,
    dropout: tuple[float, float] | None = None,
    dropout_after: DropoutAfter = "each",
    step: Callable[[], Any] | None = None,
) -> keras.Model:
    """Build a network of ReLU layers that maps float32 (batch, features) to logits, float32 (batch, classes).

    Args:
        units: Units of the hidden layers.
        random_seed: Initial weights and dropout masks follow from it, whatever was built before.
        features: Inputs.
        classes: Outputs.
        l2: Weight of the penalty, the sum of the squares of the hidden layers' kernels and biases.
        dropout: Probability of dropping an input, and a unit of a hidden layer; None builds no dropout layers.
        dropout_after: The hidden layers whose units are dropped: "each" of them, or the "last" only.
        step: Returns the number of the training step, from which the masks follow; without it the layers are
            Keras's, so that the model can be loaded without dlperf.
    """
    seeds = np.random.SeedSequence(random_seed).generate_state(2 * (len(units) + 1)).tolist()

    def dropped(x: Any, rate: float, seed: int) -> Any:
        layer = HashedDropout(rate, seed, step) if step else keras.layers.Dropout(rate, seed=seed)
        return layer(x)

    x = inputs = keras.Input((features,))
    if dropout:
        x = dropped(x, dropout[0], seeds[1])
    for i, width in enumerate(units, 1):
        x = keras.layers.Dense(
            width,
            "relu",
            kernel_initializer=keras.initializers.GlorotUniform(seed=seeds[2 * i]),
            kernel_regularizer=SquaredPenalty(l2) if l2 else None,
            bias_regularizer=SquaredPenalty(l2) if l2 else None,
        )(x)
        if dropout and (dropout_after == "each" or i == len(units)):
            x = dropped(x, dropout[1], seeds[2 * i + 1])
    output = keras.layers.Dense(classes, kernel_initializer=keras.initializers.GlorotUniform(seed=seeds[0]))
    return keras.Model(inputs, output(x))


class SquaredPenalty(keras.regularizers.Regularizer):
    """`keras.regularizers.L2` by columns: XLA sums a whole matrix on one core, in a sixth of a training step's time."""

    def __init__(self, weight: float) -> None:
        """Take the weight of the squares."""
        self.weight = weight

    def __call__(self, weights: Any) -> Any:
        """Return weight times the sum of the squares, float32 ()."""
        squares = ops.square(weights)
        if len(weights.shape) > 1:
            squares = ops.sum(squares, axis=0)
        # The cast keeps the two sums apart, which XLA would otherwise merge again.
        return ops.cast(self.weight * ops.sum(ops.cast(squares, "float64")), "float32")


class _OneUnit(keras.layers.Dense):
    """`Dense(1)` whose kernel gradient is a sum over rows instead of a matrix product.

    XLA computes the product inputs^T (width, batch) times (batch, 1) twenty times slower on a CPU than the sum: for 512
    units nine tenths of the training went there.
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return float32 (batch, 1)."""
        return _product(inputs, ops.convert_to_tensor(self.kernel)) + self.bias


@ops.custom_gradient
def _product(inputs: Any, kernel: Any) -> Any:
    """Return inputs (batch, width) times kernel (width, 1)."""

    def gradient(*upstream: Any) -> tuple[Any, Any]:
        (above,) = upstream
        return above * ops.transpose(kernel), ops.sum(inputs * above, axis=0)[:, None]

    return ops.matmul(inputs, kernel), gradient
