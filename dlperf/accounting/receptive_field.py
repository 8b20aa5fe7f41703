"""Stacks of equal filters: what one output element sees of the input.

With stride 1 the first filter of side F sees R_1 = F elements of the input along a side. An element behind filter n + 1
sees F neighbours behind filter n; moving by one neighbour moves what is seen by one element, so that
R_(n+1) = R_n + (F - 1), and by induction R_N = N (F - 1) + 1 = NF - N + 1: as much as one filter of that side.
"""

from __future__ import annotations

from itertools import accumulate

from dlperf.accounting.layers import LayerTable, convolution_row, input_row


def receptive_fields(layers: int, kernel: int) -> list[int]:
    """Return the receptive field's side behind every filter, in elements of the input, by the recurrence."""
    return list(accumulate([kernel] * layers, lambda seen, side: seen + side - 1))


def receptive_field(layers: int, kernel: int) -> int:
    """Return the receptive field's side behind the last filter by the closed form, NF - N + 1."""
    return layers * kernel - layers + 1


def filter_stack(layers: int, kernel: int, size: int, channels: int) -> LayerTable:
    """Count filters one behind the other, without biases and without padding, `channels` in and out.

    Args:
        layers: Filters in the stack.
        kernel: Side of a filter.
        size: Side of the input in pixels; at least the receptive field.
        channels: Channels of the input and of every output.
    """
    rows = [input_row((size, size, channels))]
    for number in range(1, layers + 1):
        rows.append(convolution_row(f"conv{number}", rows[-1].output_shape, channels, kernel, bias=False))
    return LayerTable(f"{layers} filter{'s' if layers > 1 else ''} of {kernel} x {kernel}", tuple(rows))
