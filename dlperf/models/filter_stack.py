"""Equal filters one behind the other, as a Keras model."""

from __future__ import annotations

import keras


def filter_stack(layers: int, kernel: int, size: int, channels: int) -> keras.Model:
    """Build `layers` convolutions of stride 1 without padding and biases on float32 (batch, size, size, channels).

    Weights are one in `channels`, so that nothing that a filter sees cancels out or underflows.

    Args:
        layers: Convolutions.
        kernel: Side of a filter.
        size: Side of the input in pixels.
        channels: Channels of the input and of every output.
    """
    mean = keras.initializers.Constant(1 / channels)
    stack = [
        keras.layers.Conv2D(channels, kernel, use_bias=False, kernel_initializer=mean, name=f"conv{number}")
        for number in range(1, layers + 1)
    ]
    return keras.Sequential([keras.Input((size, size, channels)), *stack])
