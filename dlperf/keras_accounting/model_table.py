"""The per-layer table of a Keras model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras.src.models.functional import Functional

import dlperf.keras_accounting.graph_operations  # noqa: F401 - registers its closed forms
from dlperf.accounting.layers import LayerRow, LayerTable, Shape, input_row
from dlperf.keras_accounting.calls import Call, traced_call
from dlperf.keras_accounting.layer_counts import counter_of

_CONTAINERS = (keras.Sequential, Functional)


def layer_table(model: keras.Model, input_shape: Sequence[int] = ()) -> LayerTable:
    """Count a model layer by layer: one row per call of a layer in a forward pass of one example.

    Nested models are opened; a layer that is called twice has two rows, with its parameters on the first. A layer whose
    closed form is not known has a row without multiplications (see `LayerTable.not_counted`), and the layers inside it
    have theirs.

    Args:
        model: A built model.
        input_shape: Without batch; needed where the model leaves sides of its input open.

    Returns:
        The table; its shapes are as the model's data format has them.

    Raises:
        ValueError: If the model is not built, or its input shape stays open or contradicts `input_shape`.
    """
    inputs = complete_inputs(model, input_shape)
    call = traced_call(model, inputs)
    rows = [input_row(tuple(tensor.shape[1:])) for tensor in keras.tree.flatten(inputs)]
    return LayerTable(model.name, (*rows, *_rows(call, set(), "", True)))


def complete_inputs(model: keras.Model, input_shape: Sequence[int] = ()) -> Any:
    """Return symbolic inputs for one example, nested as the model takes them.

    Args:
        model: A built model.
        input_shape: Without batch; needed where the model leaves sides of its input open.

    Raises:
        ValueError: As `layer_table`.
    """
    try:
        tensors = keras.tree.flatten(model.inputs)
        structure = model.inputs if isinstance(model, keras.Sequential) else model._inputs_struct
    except (AttributeError, ValueError):
        raise ValueError("is not built on inputs of its own: call it on a keras.Input first") from None
    if input_shape and len(tensors) != 1:
        raise ValueError(f"has {len(tensors)} inputs, and input_shape says the shape of one")
    completed = []
    for tensor in tensors:
        shape = tuple(input_shape) or tuple(tensor.shape[1:])
        declared = "x".join("?" if side is None else str(side) for side in tensor.shape[1:])
        fits = len(shape) == len(tensor.shape) - 1 and all(
            side in (None, length) for side, length in zip(tensor.shape[1:], shape, strict=True)
        )
        if not fits:
            raise ValueError(f"takes inputs of {declared}, not of {'x'.join(map(str, shape))}")
        if None in shape:
            raise ValueError(f"takes inputs of {declared}: give input_shape")
        completed.append(keras.KerasTensor((1, *shape), dtype=tensor.dtype))
    if len(completed) == 1 and isinstance(structure, list):
        return completed[0]
    return keras.tree.pack_sequence_as(structure, completed)


def _rows(call: Call, seen: set[int], path: str, outermost: bool = False) -> Iterator[LayerRow]:
    """Yield the rows of a call; `seen` holds the layers and variables that have been counted."""
    operation = call.operation
    name = path + getattr(operation, "name", type(operation).__name__)
    counter = counter_of(type(operation))
    count = counter(call) if counter else None
    if count:
        again = id(operation) in seen
        parameters = 0 if again else count.parameters
        seen.update([id(operation), *(id(variable) for variable in getattr(operation, "weights", []))])
        description = type(operation).__name__ + (f": {count.description}" if count.description else "")
        formula = "shared with its first call" if again and count.parameters else count.formula
        activations = 0 if count.hands_on else _elements(call)
        yield LayerRow(
            name, description, _first(call.inputs), _first(call.outputs), formula, parameters, activations,
            count.multiplications,
        )  # fmt: skip
        return
    inside = "" if outermost else f"{name}/"
    if type(operation) in _CONTAINERS:
        for inner_call in call.inner:
            yield from _rows(inner_call, seen, inside)
        return
    # The operations that it calls are part of it; the layers that it calls get their rows.
    layer_calls = [inner for inner in call.inner if isinstance(inner.operation, keras.Layer)]
    layer_rows = [row for layer_call in layer_calls for row in _rows(layer_call, seen, inside)]
    yield _not_counted(call, name, seen, bool(layer_rows))
    yield from layer_rows


def _not_counted(call: Call, name: str, seen: set[int], has_layers: bool) -> LayerRow:
    """Row of a call without a closed form: its weights and output, without those of the layers inside it."""
    unseen = [v for v in getattr(call.operation, "weights", []) if id(v) not in seen]
    seen.update(id(variable) for variable in unseen)
    parameters = sum(math.prod(variable.shape) for variable in unseen)
    kind = type(call.operation).__name__
    description = f"{kind}: not counted" + (", but for the layers inside it" if has_layers else "")
    formula = f"{parameters:,} by Keras" if parameters else ""
    activations = 0 if has_layers else _elements(call)
    return LayerRow(
        name, description, _first(call.inputs), _first(call.outputs), formula, parameters, activations, None
    )


def _elements(call: Call) -> int:
    return sum(math.prod(shape) for shape in call.outputs)


def _first(shapes: Sequence[Shape]) -> Shape:
    return shapes[0][1:] if shapes else ()
