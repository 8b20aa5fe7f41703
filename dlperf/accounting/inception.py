"""Inception modules: Szegedy et al. 2014, "Going deeper with convolutions", figure 2 and table 1."""

from __future__ import annotations

from dataclasses import dataclass

from dlperf.accounting.layers import (
    LayerTable,
    concatenation_row,
    convolution_row,
    input_row,
    pooling_row,
)


@dataclass(frozen=True)
class Module:
    """The numbers of one module, named as the columns of table 1.

    Attributes:
        size: Height and width of the input in pixels; outputs have the same (stride 1, zero padding).
        channels: Channels of the input.
        conv_1x1: Filters of the 1 x 1 branch.
        reduce_3x3: 1 x 1 filters before the 3 x 3 branch, in the reduced form.
        conv_3x3: Filters of the 3 x 3 branch.
        reduce_5x5: 1 x 1 filters before the 5 x 5 branch, in the reduced form.
        conv_5x5: Filters of the 5 x 5 branch.
        pool_projection: 1 x 1 filters after the pooling branch, in the reduced form.
    """

    size: int
    channels: int
    conv_1x1: int
    reduce_3x3: int
    conv_3x3: int
    reduce_5x5: int
    conv_5x5: int
    pool_projection: int


PRESETS = {
    "assignment": Module(32, 256, 128, 128, 192, 32, 96, 64),
    "3a": Module(28, 192, 64, 96, 128, 16, 32, 32),
    "3b": Module(28, 256, 128, 128, 192, 32, 96, 64),
    "4a": Module(14, 480, 192, 96, 208, 16, 48, 64),
    "4b": Module(14, 512, 160, 112, 224, 24, 64, 64),
    "4c": Module(14, 512, 128, 128, 256, 24, 64, 64),
    "4d": Module(14, 512, 112, 144, 288, 32, 64, 64),
    "4e": Module(14, 528, 256, 160, 320, 32, 128, 128),
    "5a": Module(7, 832, 256, 160, 320, 32, 128, 128),
    "5b": Module(7, 832, 384, 192, 384, 48, 128, 128),
}
"""The assignment's module, and GoogLeNet's nine by their names in table 1."""


def inception(module: Module, *, reduced: bool, bias: bool = False) -> LayerTable:
    """Count a module.

    Args:
        module: Its numbers.
        reduced: With dimension reduction (figure 2b), else naive (figure 2a).
        bias: Count biases; the published sizes leave them out.
    """
    start = (module.size, module.size, module.channels)
    rows = [input_row(start)]

    def convolution(name: str, filters: int, kernel: int, inputs: tuple[int, ...] = start) -> tuple[int, ...]:
        rows.append(convolution_row(name, inputs, filters, kernel, padding=kernel // 2, bias=bias))
        return rows[-1].output_shape

    branches = [convolution("1x1", module.conv_1x1, 1)]
    for kernel, reduce, filters in (
        (3, module.reduce_3x3, module.conv_3x3),
        (5, module.reduce_5x5, module.conv_5x5),
    ):
        name = f"{kernel}x{kernel}"
        inputs = convolution(f"{name}_reduce", reduce, 1) if reduced else start
        branches.append(convolution(name, filters, kernel, inputs))
    rows.append(pooling_row("pool", start, 3, 1, padding=1))
    branches.append(convolution("pool_projection", module.pool_projection, 1) if reduced else start)
    rows.append(concatenation_row("concatenation", branches))
    return LayerTable(f"Inception module, {'reduced' if reduced else 'naive'}", tuple(rows))
