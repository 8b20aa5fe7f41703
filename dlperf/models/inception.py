"""One Inception module as a Keras model: Szegedy et al. 2014, figure 2."""

from __future__ import annotations

import keras
from keras import layers

from dlperf.accounting.inception import Module


def inception(module: Module, *, reduced: bool) -> keras.Model:
    """Build a module without biases on float32 (batch, size, size, channels).

    Args:
        module: Its numbers.
        reduced: With dimension reduction (figure 2b), else naive (figure 2a).
    """
    inputs = keras.Input((module.size, module.size, module.channels))

    def convolution(x: keras.KerasTensor, filters: int, kernel: int) -> keras.KerasTensor:
        return layers.Conv2D(filters, kernel, padding="same", use_bias=False, activation="relu")(x)

    before_3x3 = convolution(inputs, module.reduce_3x3, 1) if reduced else inputs
    before_5x5 = convolution(inputs, module.reduce_5x5, 1) if reduced else inputs
    pooled = layers.MaxPooling2D(3, 1, padding="same")(inputs)
    branches = [
        convolution(inputs, module.conv_1x1, 1),
        convolution(before_3x3, module.conv_3x3, 3),
        convolution(before_5x5, module.conv_5x5, 5),
        convolution(pooled, module.pool_projection, 1) if reduced else pooled,
    ]
    return keras.Model(inputs, layers.Concatenate()(branches), name="inception_reduced" if reduced else "inception")
