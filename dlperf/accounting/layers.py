"""Layers in closed form: a row per layer, with the formula as text, and tables of rows with their totals.

What is counted, once for the whole project:

- parameters: all weights of a layer, biases included unless a table says otherwise;
- activations: elements of a layer's output for one example; a layer that hands on its input's elements unchanged
  (flatten, reshape, dropout at inference) adds none;
- multiplications: those of sums of products over learned weights or over activations (convolutions, matrix products) in
  one forward pass of one example. Biases, additions, normalisation, activation functions and element-wise products
  count none: these are MACs, not FLOPs. Neither do interpolation and look-ups, which a compiler may write as products.
  A filter's taps on zero padding count, as in every published total.

A number that is not known is None, and the total of its column is a lower bound. Shapes are (height, width, channels),
or (units,); a side that nothing says before the program runs is None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Shape = tuple[Any, ...]
"""Sides; None for one that is not known."""


@dataclass(frozen=True)
class LayerRow:
    """One layer of a network, per example.

    Attributes:
        layer: Its name.
        description: What it is, for people.
        input_shape: Shape of its (first) input.
        output_shape: Shape of its output.
        formula: How the parameters come about ("(11 x 11 x 3 + 1) x 96 = 34,944"); "" where there are none.
        parameters: Weights.
        activations: Output elements; None where the shape of the output is not known.
        multiplications: Multiplications of sums of products; None where nothing says them.
        altered: Of the parameters, how many more (or fewer) they are than the layer had before it was altered, by
            adapters (LoRA) or by quantisation.
        receptive_field: Pixels of the input, along a side, that an output sees; None where that is not defined, and
            where it was not worked out.
    """

    layer: str
    description: str
    input_shape: Shape
    output_shape: Shape
    formula: str
    parameters: int
    activations: int | None
    multiplications: int | None
    altered: int = 0
    receptive_field: int | None = None


@dataclass(frozen=True)
class LayerTable:
    """A network's rows and their sums.

    Attributes:
        title: The network.
        rows: Its layers in order.
        channels_first: Write shapes as channels x height x width.
    """

    title: str
    rows: tuple[LayerRow, ...]
    channels_first: bool = False

    @property
    def parameters(self) -> int:
        """Sum of the parameters."""
        return sum(row.parameters for row in self.rows)

    @property
    def activations(self) -> int:
        """Sum of the output elements of one example, the input among them; see `at_least`."""
        return sum(row.activations or 0 for row in self.rows)

    @property
    def multiplications(self) -> int:
        """Sum of the multiplications; see `at_least`."""
        return sum(row.multiplications or 0 for row in self.rows)

    @property
    def altered(self) -> int:
        """Parameters more (or fewer) than before layers were altered."""
        return sum(row.altered for row in self.rows)

    def unknown(self, quantity: str) -> tuple[LayerRow, ...]:
        """Return the rows whose activations (or multiplications) are not known: the sum leaves them out."""
        return tuple(row for row in self.rows if getattr(row, quantity) is None)

    @property
    def at_least(self) -> tuple[str, ...]:
        """The sums that are lower bounds."""
        return tuple(quantity for quantity in ("activations", "multiplications") if self.unknown(quantity))

    def shape_text(self, shape: Shape) -> str:
        """Write a shape of one of the rows ("227 x 227 x 3")."""
        if self.channels_first and len(shape) == 3:
            shape = (shape[-1], *shape[:-1])
        return times(*("?" if side is None else side for side in shape))


def times(*factors: object) -> str:
    """Write a product: "3 x 3 x 64", thousands with commas."""
    return " x ".join(f"{factor:,}" if isinstance(factor, int) else str(factor) for factor in factors)


def kernel_parameters(factors: Sequence[int], filters: int, *, bias: bool) -> tuple[int, str]:
    """Count the weights of `filters` filters (or units) whose sizes are `factors`, and write the formula.

    Args:
        factors: Sizes that multiply to the weights of one filter: kernel sides, then inputs (of a group).
        filters: Outputs.
        bias: One more weight per filter.

    Returns:
        The count and its formula.
    """
    count = (math.prod(factors) + bias) * filters
    one = times(*factors)
    inner = f"({one} + 1)" if bias else f"({one})" if len(factors) > 1 else one
    return count, f"{inner} x {filters:,} = {count:,}"


def input_row(shape: Shape) -> LayerRow:
    """Row of the input: its elements are held in memory like any layer's output."""
    return LayerRow("input", "", shape, shape, "", 0, math.prod(shape), 0)


def convolution_row(
    layer: str,
    inputs: Shape,
    filters: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    bias: bool = True,
) -> LayerRow:
    """Row of a convolution with square filters.

    Args:
        layer: Name.
        inputs: (height, width, channels).
        filters: Output channels.
        kernel: Side of a filter in pixels.
        stride: Step in pixels.
        padding: Zeros added at every side, in pixels.
        groups: Groups of channels that are kept apart (AlexNet's two GPUs).
        bias: Whether filters have biases.
    """
    height, width = (_positions(side, kernel, stride, padding) for side in inputs[:2])
    seen = inputs[2] // groups
    parameters, formula = kernel_parameters((kernel, kernel, seen), filters, bias=bias)
    words = [f"{kernel} x {kernel} filter", f"{filters} filters"]
    words += [f"stride {stride}"] if stride > 1 else []
    words += [f"padding {padding}"] if padding else []
    words += [f"{groups} groups"] if groups > 1 else []
    outputs = (height, width, filters)
    multiplications = math.prod(outputs) * kernel * kernel * seen
    return LayerRow(layer, ", ".join(words), inputs, outputs, formula, parameters, math.prod(outputs), multiplications)


def pooling_row(layer: str, inputs: Shape, size: int, stride: int, padding: int = 0) -> LayerRow:
    """Row of a maximum pooling over squares of `size` pixels."""
    height, width = (_positions(side, size, stride, padding) for side in inputs[:2])
    outputs = (height, width, inputs[2])
    description = f"{size} x {size} maximum, stride {stride}"
    return LayerRow(layer, description, inputs, outputs, "", 0, math.prod(outputs), 0)


def normalisation_row(layer: str, inputs: Shape, description: str) -> LayerRow:
    """Row of a normalisation without weights."""
    return LayerRow(layer, description, inputs, inputs, "", 0, math.prod(inputs), 0)


def concatenation_row(layer: str, parts: Sequence[Shape]) -> LayerRow:
    """Row that joins feature maps of one size along their channels."""
    outputs = (*parts[0][:2], sum(part[2] for part in parts))
    description = " + ".join(str(part[2]) for part in parts) + " channels"
    return LayerRow(layer, description, parts[0], outputs, "", 0, math.prod(outputs), 0)


def dense_row(layer: str, inputs: Shape, units: int, *, bias: bool = True) -> LayerRow:
    """Row of a fully connected layer on all elements of its input."""
    parameters, formula = kernel_parameters(inputs, units, bias=bias)
    return LayerRow(layer, f"{units} units", inputs, (units,), formula, parameters, units, math.prod(inputs) * units)


def _positions(side: int, kernel: int, stride: int, padding: int) -> int:
    return (side + 2 * padding - kernel) // stride + 1
