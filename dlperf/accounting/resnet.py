"""Closed forms for the CIFAR ResNets of He et al. (2015), section 4.2."""

from __future__ import annotations

from dataclasses import dataclass

FILTERS = (16, 32, 64)
MAX_DEPTH = 1202  # the deepest that He et al. trained


@dataclass(frozen=True)
class ResNetCount:
    """Totals of one network, per example where that applies.

    Attributes:
        num_params: Parameters, batch-normalisation statistics included.
        num_trainable: Parameters that training changes.
        multiplications: Scalar multiplications of one forward pass of one example (biases, additions and
            normalisation not counted).
    """

    num_params: int
    num_trainable: int
    multiplications: int


def blocks_per_stage(depth: int) -> int:
    """Return n of depth = 6n + 2.

    Raises:
        ValueError: If `depth` is not 6n + 2 with n >= 1; the message names the nearest depths that are.
    """
    if 8 <= depth <= MAX_DEPTH and depth % 6 == 2:
        return (depth - 2) // 6
    if depth > MAX_DEPTH:
        raise ValueError(f"must be 6n + 2 and at most {MAX_DEPTH}")
    below = max(8, depth - (depth - 2) % 6)
    nearest = sorted({below, below + 6}) if depth > 8 else [8]
    raise ValueError(f"must be 6n + 2 (8, 14, 20, 26, 32, 38, 44, ...); nearest: {' and '.join(map(str, nearest))}")


def count_resnet(
    depth: int, *, projection: bool = True, conv_bias: bool = True, size: int = 32, channels: int = 3, classes: int = 10
) -> ResNetCount:
    """Count a ResNet of `depth` 6n + 2 layers.

    Args:
        depth: Layers, 6n + 2.
        projection: 1x1 convolutions where the shape changes (option B); else identity with zero padding (option A).
        conv_bias: Whether convolutions have biases.
        size: Height and width of the input in pixels.
        channels: Channels of the input.
        classes: Outputs of the final dense layer.

    Raises:
        ValueError: If `depth` is not 6n + 2.
    """
    weights = biases = norm_channels = multiplications = 0

    def convolution(kernel: int, inputs: int, outputs: int, output_size: int) -> None:
        nonlocal weights, biases, multiplications
        weights += kernel * kernel * inputs * outputs
        biases += outputs if conv_bias else 0
        multiplications += kernel * kernel * inputs * outputs * output_size * output_size

    blocks = blocks_per_stage(depth)
    convolution(3, channels, FILTERS[0], size)
    norm_channels += FILTERS[0]
    inputs = FILTERS[0]
    for stage, outputs in enumerate(FILTERS):
        output_size = size >> stage
        for _ in range(blocks):
            convolution(3, inputs, outputs, output_size)
            convolution(3, outputs, outputs, output_size)
            norm_channels += 2 * outputs
            if inputs != outputs and projection:
                convolution(1, inputs, outputs, output_size)
            inputs = outputs
    weights += FILTERS[-1] * classes
    multiplications += FILTERS[-1] * classes
    trainable = weights + biases + classes + 2 * norm_channels
    return ResNetCount(trainable + 2 * norm_channels, trainable, multiplications)
