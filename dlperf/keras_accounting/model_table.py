"""The per-layer table of a Keras model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
from keras.src.models.functional import Functional

import dlperf.keras_accounting.operation_counts  # noqa: F401 - registers its closed forms
from dlperf.accounting.layers import LayerRow, LayerTable, Shape, input_row
from dlperf.errors import did_you_mean
from dlperf.keras_accounting.calls import Call, TensorArgument, Trace, traced
from dlperf.keras_accounting.layer_counts import Count, counter_of
from dlperf.keras_accounting.measured import Measured, may_have_products
from dlperf.keras_accounting.receptive_fields import ReceptiveFields

_NOT_NEEDED = "no output of the model needs it"

InputShapes = Mapping[str, Sequence[int]] | Sequence[int]
"""Sides of a model's input, without batch; of several inputs by their names."""


def layer_table(model: keras.Model, input_shape: InputShapes = ()) -> LayerTable:
    """Count a model layer by layer: one row per call of a layer in a forward pass of one example.

    Nested models and layers of the user's own that call layers are opened; a layer that is called twice has two rows,
    with its parameters on the first. Products without a closed form are measured (`dlperf.keras_accounting.measured`);
    what cannot be measured has no number (`LayerTable.unknown`).

    Args:
        model: A built model.
        input_shape: Needed where the model leaves sides of its inputs open.

    Returns:
        The table; its shapes are as the model's data format has them.

    Raises:
        ValueError: If the model is not built, or its input shapes stay open or contradict `input_shape`.
    """
    return table_of(traced(model, complete_inputs(model, input_shape)))


def table_of(trace: Trace) -> LayerTable:
    """Count a traced model layer by layer, as `layer_table` does."""
    inputs = [input_row(tuple(tensor.shape[1:])) for tensor in keras.tree.flatten(trace.inputs)]
    counting = _Counting(trace)
    rows = [*inputs, *counting.rows(trace.call)]
    return LayerTable(trace.model.name, (*rows, *counting.of_what_is_not_called(trace.model)))


def complete_inputs(model: keras.Model, input_shape: InputShapes = ()) -> Any:
    """Return symbolic inputs for one example, nested as the model takes them.

    Args:
        model: A built model.
        input_shape: Needed where the model leaves sides of its inputs open.

    Raises:
        ValueError: As `layer_table`.
    """
    structure = _declared_inputs(model)
    tensors = keras.tree.flatten(structure)
    shapes = dict(input_shape) if isinstance(input_shape, Mapping) else {"": tuple(input_shape)} if input_shape else {}
    completed = [_completed(tensor, shapes, tensors) for tensor in tensors]
    names = [tensor.name for tensor in tensors]
    for name in shapes:
        if name and name not in names:
            raise ValueError(f"has no input {name}{did_you_mean(name, names)} (inputs: {', '.join(names)})")
    if len(completed) == 1 and isinstance(structure, list):
        return completed[0]
    return keras.tree.pack_sequence_as(structure, completed)


def _declared_inputs(model: keras.Model) -> Any:
    """Return a model's symbolic inputs; of a model of a class of its own, by the shapes that it was built on."""
    try:
        return model.inputs if isinstance(model, keras.Sequential) else model._inputs_struct
    except (AttributeError, ValueError):  # a class of its own, or a sequence of layers that was never called
        shapes = (model.get_build_config() or {}).get("input_shape")
    if not shapes:
        raise ValueError("does not say what it takes: save keras.Model(inputs, model(inputs))")
    numbers = itertools.count(1)
    return keras.tree.map_shape_structure(
        lambda sides: keras.KerasTensor((None, *sides[1:]), name=f"input_{next(numbers)}"), shapes
    )


def _completed(tensor: Any, shapes: Mapping[str, Sequence[int]], tensors: Sequence[Any]) -> keras.KerasTensor:
    """Return an input of one example, its open sides as they were given."""
    declared = tuple(tensor.shape[1:])
    written = "x".join("?" if side is None else str(side) for side in declared)
    if "" in shapes and len(tensors) != 1:
        raise ValueError(f"has {len(tensors)} inputs: give input_shape by name, as {_example(tensors)}")
    if tensor.name in shapes and "" in shapes:
        raise ValueError("has one input: give its shape once")
    shape = tuple(shapes.get(tensor.name) or shapes.get("") or declared)
    which = "inputs" if len(tensors) == 1 else f"for {tensor.name} inputs"
    fits = len(shape) == len(declared) and all(
        side in (None, length) for side, length in zip(declared, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"takes {which} of {written}, not of {'x'.join(map(str, shape))}")
    if None in shape:
        how = "" if len(tensors) == 1 else f" by name, as {_example(tensors)}"
        raise ValueError(f"takes {which} of {written}: give input_shape{how}")
    return keras.KerasTensor((1, *shape), dtype=tensor.dtype)


def _example(tensors: Sequence[Any]) -> str:
    """Write an `input_shape` for the inputs that have open sides, of all if none has."""
    open_ones = [tensor for tensor in tensors if None in tensor.shape[1:]] or tensors
    shapes = ["x".join(str(side or 20) for side in tensor.shape[1:]) for tensor in open_ones]
    return ";".join(f"{tensor.name}:{shape}" for tensor, shape in zip(open_ones, shapes, strict=True))


class _Counting:
    """The rows of a traced model, in the order of its calls."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._receptive_fields = ReceptiveFields(trace.call.tensors)
        self._counted_layers: set[int] = set()
        self._counted_weights: set[int] = set()
        self._measured = Measured()

    def rows(self, call: Call, path: str = "", outermost: bool = True) -> Iterator[LayerRow]:
        """Yield the rows of a call."""
        name = path + getattr(call.operation, "name", type(call.operation).__name__)
        inside = "" if outermost else f"{name}/"
        if _is_container(call.operation):
            for inner in call.inner:
                yield from self.rows(inner, inside, False)
        elif _is_opened(call):
            # The operations that it calls are part of it; the layers that it calls get their rows.
            inner_rows = [row for inner in _layers_below(call) for row in self.rows(inner, inside, False)]
            yield self._own_part(call, name, inner_rows)
            yield from inner_rows
        else:
            yield self._row(call, name)

    def of_what_is_not_called(self, model: keras.Model) -> Iterator[LayerRow]:
        """Yield a row of the weights that no call has used, if there are any: Keras counts them too."""
        unseen = [weight for weight in model.weights if id(weight) not in self._counted_weights]
        if parameters := sum(math.prod(weight.shape) for weight in unseen):
            yield LayerRow(
                "not called", "weights of no layer above", (), (), f"{parameters:,} by Keras", parameters, 0, 0
            )

    def _row(self, call: Call, name: str) -> LayerRow:
        """Count one call as a whole, by its closed form if it has one that holds."""
        count = _closed_form(call)
        is_plain = not (alterations := _alterations(call.operation)) and _has_a_known_activation(call.operation)
        if count and is_plain:
            multiplications: int | None = count.multiplications
            description = count.description
        elif _has_products_inside(call):
            multiplications = self._measured(call)
            description = "measured" if multiplications is not None else "multiplications not known"
        else:
            multiplications, description = 0, ""
        if multiplications != 0 and not self._trace.needs(call):
            multiplications, description = 0, _NOT_NEEDED
        parameters, formula = self._parameters(call.operation, count if is_plain else None)
        altered = _altered_parameters(call.operation) if parameters else 0
        if alterations:
            difference = "" if altered is None else f" ({altered:+,} parameters)"
            description = f"{', '.join(alterations)}{difference}, {description}".rstrip(" ,")
        activations = _elements(call.own_outputs())
        return self._made(call, name, description, formula, parameters, activations, multiplications, altered or 0)

    def _own_part(self, call: Call, name: str, inner_rows: Sequence[LayerRow]) -> LayerRow:
        """Row of a layer of the user's own: what it has and does beside the layers inside it."""
        multiplications: int | None = 0
        description = "without the layers inside it, which follow"
        if _has_products_itself(call) and not self._trace.needs(call):
            description += f", {_NOT_NEEDED}"
        elif _has_products_itself(call):
            whole, parts = self._measured(call), [row.multiplications for row in inner_rows]
            known = whole is not None and None not in parts
            multiplications = whole - sum(part or 0 for part in parts) if whole is not None and known else None
            if multiplications is not None and multiplications < 0:
                multiplications = None  # the layers inside it are counted otherwise than they are run
            description += ", measured" if multiplications is not None else "; multiplications not known"
        parameters, _ = self._parameters(call.operation, None)
        formula = f"{parameters:,} by Keras" if parameters else ""
        of_others = [tensor for inner in _all_layers_inside(call) for tensor in inner.outputs]
        activations = _elements(call.own_outputs(of_others))
        return self._made(call, name, description, formula, parameters, activations, multiplications)

    def _parameters(self, operation: Any, count: Count | None) -> tuple[int, str]:
        """Count the weights that no row before had, and say how they come about."""
        weights = getattr(operation, "weights", [])
        unseen = [weight for weight in weights if id(weight) not in self._counted_weights]
        again = id(operation) in self._counted_layers
        self._counted_layers.add(id(operation))
        self._counted_weights.update(id(weight) for weight in unseen)
        if count and not again and len(unseen) == len(weights):
            return count.parameters, count.formula
        parameters = sum(math.prod(weight.shape) for weight in unseen)
        if again and weights and not unseen:
            return 0, "shared with its first call"
        if len(unseen) < len(weights) and not again:
            return parameters, f"{parameters:,} by Keras, others shared"
        return parameters, f"{parameters:,} by Keras" if parameters else ""

    def _made(
        self, call: Call, name: str, description: str, formula: str, parameters: int, activations: int | None,
        multiplications: int | None, altered: int = 0,
    ) -> LayerRow:  # fmt: skip
        kind = type(call.operation).__name__
        return LayerRow(
            name, f"{kind}: {description}" if description else kind, _first(call.inputs), _first(call.output_shapes),
            formula, parameters, activations, multiplications, altered, self._receptive_fields(call),
        )  # fmt: skip


def _is_container(operation: Any) -> bool:
    """Whether an operation only calls the layers that Keras recorded in it."""
    return isinstance(operation, keras.Sequential | Functional) and type(operation).call in (
        keras.Sequential.call,
        Functional.call,
    )


def _is_opened(call: Call) -> bool:
    """Whether a layer's inner layers have rows: it is not Keras's, and each of them is run once when it is run."""
    is_keras = type(call.operation).__module__.startswith("keras.")
    inner = list(_layers_below(call))
    return bool(inner) and not is_keras and not any(each.in_own_graph for each in inner)


def _layers_below(call: Call) -> Iterator[Call]:
    """Yield the layers that a call calls, itself or through operations, and not those inside these layers."""
    for inner in call.inner:
        if _is_layer(inner):
            yield inner
        else:
            yield from _layers_below(inner)


def _all_layers_inside(call: Call) -> Iterator[Call]:
    for inner in _layers_below(call):
        yield inner
        yield from _all_layers_inside(inner)


def _is_layer(call: Call) -> bool:
    return isinstance(call.operation, keras.Layer)


def _has_products_itself(call: Call) -> bool:
    """Whether a call multiplies, itself or through operations, beside the layers that it calls."""
    operations = [inner for inner in call.inner if not _is_layer(inner)]
    return may_have_products(call) or any(map(_has_products_itself, operations))


def _has_products_inside(call: Call) -> bool:
    return may_have_products(call) or any(map(_has_products_inside, call.inner))


def _closed_form(call: Call) -> Count | None:
    """Return what the closed form of a call says; None where there is none, or it does not know the configuration."""
    counter = counter_of(type(call.operation))
    if counter is None or call.has_open_sides:
        return None
    try:
        return counter(call)
    except Exception:  # a form that somebody added, or a configuration that nobody thought of: it is measured
        return None


def _alterations(operation: Any) -> list[str]:
    """Say what was done to a layer, or to one inside it, since it was configured: adapters, quantisation."""
    found: dict[str, None] = {}
    for layer in _altered_layers(operation):
        if getattr(layer, "lora_enabled", False):
            found[f"LoRA of rank {layer.lora_rank}"] = None
        if mode := getattr(layer, "quantization_mode", None):
            found[str(mode)] = None
    return list(found)


def _altered_layers(operation: Any) -> list[Any]:
    layers = operation._flatten_layers() if isinstance(operation, keras.Layer) else []
    return [each for each in layers if getattr(each, "lora_enabled", False) or getattr(each, "quantization_mode", None)]


def _altered_parameters(operation: Any) -> int | None:
    """Return how many more weights its altered layers have than plain ones; None where no closed form says that.

    By the shapes that they were built on: a wrapper may run a layer without calling it.
    """
    more = 0
    for layer in _altered_layers(operation):
        shape = (layer.get_build_config() or {}).get("input_shape") or (1,)
        built_on = TensorArgument(tuple(side or 1 for side in shape), None)
        output = TensorArgument(tuple(side or 1 for side in layer.compute_output_shape(shape)), None)
        count = _closed_form(Call(layer, ((built_on,), {}), [output]))
        if count is None:
            return None
        more += sum(math.prod(weight.shape) for weight in layer.weights) - count.parameters
    return more


def _has_a_known_activation(operation: Any) -> bool:
    """Whether a layer's activation is a function of Keras's: a layer, or the user's function, may have products."""
    activation = getattr(operation, "activation", None)
    is_keras = str(getattr(activation, "__module__", "")).startswith("keras.")
    return activation is None or (is_keras and not isinstance(activation, keras.Operation))


def _elements(tensors: Sequence[TensorArgument]) -> int | None:
    counts = [tensor.elements for tensor in tensors]
    return None if None in counts else sum(count or 0 for count in counts)


def _first(shapes: Sequence[Shape]) -> Shape:
    return shapes[0][1:] if shapes else ()
