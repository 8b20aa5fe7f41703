"""AlexNet: Krizhevsky, Sutskever and Hinton 2012, section 3.5 and figure 2.

The paper prints inputs of 224 pixels, but only 227 give the 55 x 55 outputs of an 11 x 11 filter with stride 4 and no
padding. Local response normalisation follows the ReLU of the first two convolutions and comes before their pooling.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from dlperf.accounting.layers import (
    LayerTable,
    convolution_row,
    dense_row,
    input_row,
    normalisation_row,
    pooling_row,
)

Variant = Literal["notebook", "corrected", "paper"]


class Build(NamedTuple):
    """How a variant is built.

    Attributes:
        groups: Of the second, fourth and fifth convolution.
        dense_bias: Whether dense layers have biases.
        pooling_first: Pooling comes before the normalisation, not after it.
    """

    groups: int
    dense_bias: bool
    pooling_first: bool


VARIANTS: dict[Variant, Build] = {
    "notebook": Build(groups=1, dense_bias=False, pooling_first=True),
    "corrected": Build(groups=1, dense_bias=True, pooling_first=False),
    "paper": Build(groups=2, dense_bias=True, pooling_first=False),
}
"""notebook: one group, dense biases left out, pooling first, as its table has it; corrected: with biases and in the
paper's order; paper: split over two GPUs (section 3.5, figure 2)."""


def alexnet(variant: Variant = "corrected") -> LayerTable:
    """Count AlexNet on 227 x 227 x 3 pixels with 1000 classes.

    Args:
        variant: One of VARIANTS.
    """
    build = VARIANTS[variant]
    rows = [input_row((227, 227, 3))]

    def convolution(number: int, filters: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        rows.append(
            convolution_row(
                f"conv{number}",
                rows[-1].output_shape,
                filters,
                kernel,
                stride=stride,
                padding=padding,
                groups=groups,
            )
        )

    def pooling(number: int) -> None:
        rows.append(pooling_row(f"pool{number}", rows[-1].output_shape, 3, 2))

    def normalisation(number: int) -> None:
        rows.append(normalisation_row(f"norm{number}", rows[-1].output_shape, "local response over 5 channels"))

    first, second = (pooling, normalisation) if build.pooling_first else (normalisation, pooling)
    convolution(1, 96, 11, stride=4)
    first(1)
    second(1)
    convolution(2, 256, 5, groups=build.groups)
    first(2)
    second(2)
    convolution(3, 384, 3)
    convolution(4, 384, 3, groups=build.groups)
    convolution(5, 256, 3, groups=build.groups)
    pooling(5)
    for number, units in ((6, 4096), (7, 4096), (8, 1000)):
        rows.append(dense_row(f"fc{number}", rows[-1].output_shape, units, bias=build.dense_bias))
    return LayerTable(f"AlexNet, {variant}", tuple(rows), channels_first=True)
