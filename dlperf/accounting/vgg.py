"""VGG19: Simonyan and Zisserman 2014, table 1, configuration E."""

from __future__ import annotations

from dlperf.accounting.layers import LayerTable, convolution_row, dense_row, input_row, pooling_row

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Filters and convolutions of the blocks; a pooling follows every block."""


def vgg19(*, bias: bool = True) -> LayerTable:
    """Count VGG19 on 224 x 224 x 3 pixels with 1000 classes.

    Args:
        bias: Count biases; the assignment leaves them out.
    """
    rows = [input_row((224, 224, 3))]
    for block, (filters, convolutions) in enumerate(BLOCKS, start=1):
        for number in range(1, convolutions + 1):
            name = f"conv{block}_{number}"
            rows.append(convolution_row(name, rows[-1].output_shape, filters, 3, padding=1, bias=bias))
        rows.append(pooling_row(f"pool{block}", rows[-1].output_shape, 2, 2))
    for number, units in ((6, 4096), (7, 4096), (8, 1000)):
        rows.append(dense_row(f"fc{number}", rows[-1].output_shape, units, bias=bias))
    return LayerTable(f"VGG19, {'with' if bias else 'without'} biases", tuple(rows))
