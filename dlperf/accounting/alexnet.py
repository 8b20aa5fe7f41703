"""AlexNet: Krizhevsky, Sutskever and Hinton 2012, section 3.5 and figure 2.

The paper prints inputs of 224 pixels, but only 227 give the 55 x 55 outputs of an 11 x 11 filter with stride 4 and no
padding. Local response normalisation follows the ReLU of the first two convolutions and comes before their pooling.
"""

from __future__ import annotations

from typing import Literal

from dlperf.accounting.layers import (
    LayerTable,
    convolution_row,
    dense_row,
    input_row,
    normalisation_row,
    pooling_row,
)

Variant = Literal["notebook", "corrected", "paper"]
VARIANTS: dict[Variant, tuple[int, bool]] = {"notebook": (1, False), "corrected": (1, True), "paper": (2, True)}
"""Groups of the second, fourth and fifth convolution, and whether dense layers have biases.

notebook: one group, dense biases left out; corrected: with them; paper: split over two GPUs (section 3.5, figure 2).
"""


def alexnet(variant: Variant = "corrected") -> LayerTable:
    """Count AlexNet on 227 x 227 x 3 pixels with 1000 classes.

    Args:
        variant: One of VARIANTS.
    """
    groups, bias = VARIANTS[variant]
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

    convolution(1, 96, 11, stride=4)
    normalisation(1)
    pooling(1)
    convolution(2, 256, 5, groups=groups)
    normalisation(2)
    pooling(2)
    convolution(3, 384, 3)
    convolution(4, 384, 3, groups=groups)
    convolution(5, 256, 3, groups=groups)
    pooling(5)
    for number, units in ((6, 4096), (7, 4096), (8, 1000)):
        rows.append(dense_row(f"fc{number}", rows[-1].output_shape, units, bias=bias))
    return LayerTable(f"AlexNet, {variant}", tuple(rows), channels_first=True)
