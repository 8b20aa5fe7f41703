"""Which layers a model calls in a forward pass, on which shapes, and of which operations each of them is made.

Keras has no hooks on calls, and a model's record of its graph shows neither the layers inside nested models nor shapes
for inputs whose shape is open. So an inference on one example is traced once, as `tf.function` does it, while
`keras.Operation.__call__`, through which every layer and every operation of a graph goes, notes its arguments and the
part of TensorFlow's graph that it makes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import tensorflow as tf

from dlperf.accounting.layers import Shape
from dlperf.errors import one_line

# What hands on its input's elements, in the same or another order, shape or precision.
_HANDING_ON = frozenset(
    {"Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "Transpose", "ConjugateTranspose", "Cast", "Snapshot",
     "StopGradient", "PreventGradient", "CheckNumerics", "EnsureShape", "InvertPermutation"}
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class TensorArgument:
    """A tensor that a call was given or gave.

    Attributes:
        shape: With the batch, which is one example; None for a side that the program finds out only when it runs.
        value: The tensor of the trace, or the constant.
    """

    shape: Shape
    value: Any

    @property
    def is_traced(self) -> bool:
        """Whether it has a value only when the program runs."""
        return isinstance(self.value, tf.Tensor) and not hasattr(self.value, "numpy")

    @property
    def elements(self) -> int | None:
        """Number of elements; None where a side is open."""
        return None if None in self.shape else math.prod(side or 0 for side in self.shape)

    @property
    def source(self) -> tuple[Any, ...]:
        """Where its elements come from: what all tensors have in common that hand on the same elements."""
        tensor = self.value
        if not self.is_traced:
            return (id(tensor),)
        while tensor.op.type in _HANDING_ON and len(tensor.op.inputs):
            tensor = tensor.op.inputs[tensor.value_index if tensor.op.type == "IdentityN" else 0]
        return (id(tensor.graph), tensor.op.name, tensor.value_index)


@dataclass(eq=False)
class Call:
    """One call of a layer or operation.

    Attributes:
        operation: The layer or operation.
        arguments: Its positional and named arguments, with a `TensorArgument` for each tensor.
        outputs: Its output tensors.
        inner: Calls made inside it.
        graph_types: Types of the TensorFlow operations that it made itself, not those of the calls inside it.
        in_own_graph: It was traced into a graph of its own, as the body of a loop or a branch is: who knows how often
            it is run.
    """

    operation: Any
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    outputs: list[TensorArgument] = field(default_factory=list)
    inner: list[Call] = field(default_factory=list)
    graph_types: frozenset[str] = frozenset()
    in_own_graph: bool = False

    def arguments_as(self, made: Callable[[TensorArgument], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with something made of each tensor."""
        args, kwargs = keras.tree.map_structure(
            lambda each: made(each) if isinstance(each, TensorArgument) else each, self.arguments
        )
        return args, kwargs

    @property
    def tensors(self) -> list[TensorArgument]:
        """The input tensors, in the order of the arguments."""
        return [each for each in keras.tree.flatten(self.arguments) if isinstance(each, TensorArgument)]

    @property
    def inputs(self) -> list[Shape]:
        """Shapes of the input tensors (batch included), in the order of the arguments."""
        return [tensor.shape for tensor in self.tensors]

    @property
    def output_shapes(self) -> list[Shape]:
        """Shapes of the output tensors (batch included)."""
        return [tensor.shape for tensor in self.outputs]

    @property
    def has_open_sides(self) -> bool:
        """Whether a shape among its inputs and outputs is not known before the program runs."""
        return any(None in shape for shape in [*self.inputs, *self.output_shapes])

    def own_outputs(self, of_others: Iterable[TensorArgument] = ()) -> list[TensorArgument]:
        """Return the outputs whose elements it made: neither handed on from its inputs nor one of `of_others`."""
        sources = {tensor.source for tensor in [*self.tensors, *of_others]}
        own = []
        for tensor in self.outputs:
            if tensor.source not in sources:
                sources.add(tensor.source)
                own.append(tensor)
        return own


@dataclass(frozen=True)
class Trace:
    """A traced inference on one example.

    Attributes:
        model: The model.
        inputs: What it was traced on: `keras.KerasTensor`s with complete shapes, nested as the model takes them.
        call: The call of the model.
        function: The `tf.function` that was traced.
        examples: Its arguments.
        graph: TensorFlow's graph of it.
    """

    model: keras.Model
    inputs: Any
    call: Call
    function: Any
    examples: tuple[tf.Tensor, ...]
    graph: Any

    @cached_property
    def _needed(self) -> set[str]:
        """Names of the operations of the graph that its outputs depend on."""
        waiting = [tensor.op for tensor in self.graph.outputs]
        names = {operation.name for operation in waiting}
        while waiting:
            makers = {tensor.op.name: tensor.op for tensor in waiting.pop().inputs}
            waiting += [maker for name, maker in makers.items() if name not in names]
            names |= makers.keys()
        return names

    def needs(self, call: Call) -> bool:
        """Whether an output of the model depends on what a call puts out."""
        made = [each.value.op for each in call.outputs if each.is_traced and each.value.graph is self.graph]
        return not made or any(operation.name in self._needed for operation in made)


def traced(model: keras.Model, inputs: Any) -> Trace:
    """Trace an inference on one example.

    Args:
        model: A built model.
        inputs: What it is called with: `keras.KerasTensor`s with complete shapes, nested as the model takes them.

    Raises:
        ValueError: The model cannot be called on them.
    """
    examples = tuple(tf.zeros(tensor.shape, tensor.dtype) for tensor in keras.tree.flatten(inputs))

    def inference(*tensors: tf.Tensor) -> Any:
        return model(keras.tree.pack_sequence_as(inputs, tensors), training=False)

    function = tf.function(inference, jit_compile=True, autograph=False)
    try:
        with _recorded() as calls:
            graph = function.get_concrete_function(*examples).graph
    except Exception as error:  # whatever the layers raise
        said = str(error).partition("Arguments received by")[0]  # Keras lists them with all their elements
        raise ValueError(f"cannot be called on one example: {one_line(said)}") from error
    return Trace(model, inputs, calls[0], function, examples, graph)


@contextmanager
def _recorded() -> Iterator[list[Call]]:
    """Note the calls made in the block, outermost ones in the list."""
    original = keras.Operation.__call__
    outermost: list[Call] = []
    open_calls: list[tuple[Call, Any]] = []

    def recording(self: Any, *args: Any, **kwargs: Any) -> Any:
        graph = tf.compat.v1.get_default_graph()
        call = Call(self, keras.tree.map_structure(_noted, (args, kwargs)))
        call.in_own_graph = bool(open_calls) and open_calls[-1][1] is not graph
        (open_calls[-1][0].inner if open_calls else outermost).append(call)
        open_calls.append((call, graph))
        first = graph.num_operations()
        try:
            result = original(self, *args, **kwargs)
        finally:
            open_calls.pop()
            spans[id(call)] = (graph, first, graph.num_operations())
        call.outputs = [_noted(output) for output in keras.tree.flatten(result) if hasattr(output, "shape")]
        return result

    spans: dict[int, tuple[Any, int, int]] = {}
    keras.Operation.__call__ = recording
    try:
        yield outermost
    finally:
        keras.Operation.__call__ = original
    types = _types_of_graphs()
    for call in outermost:
        _note_graph_types(call, spans, types)
        _complete_shapes(call)


def _types_of_graphs() -> Callable[[Any], list[str]]:
    known: dict[int, list[str]] = {}

    def types(graph: Any) -> list[str]:
        if id(graph) not in known:
            known[id(graph)] = [operation.type for operation in graph.get_operations()]
        return known[id(graph)]

    return types


def _note_graph_types(call: Call, spans: dict[int, tuple[Any, int, int]], types: Callable[[Any], list[str]]) -> None:
    """Give each call the types of the operations that it made, without those of the calls inside it."""
    graph, first, last = spans[id(call)]
    own: set[str] = set()
    position = first
    for inner in call.inner:
        _note_graph_types(inner, spans, types)
        inner_graph, begin, end = spans[id(inner)]
        if inner_graph is graph:
            own.update(types(graph)[position:begin])
            position = end
    own.update(types(graph)[position:last])
    call.graph_types = frozenset(own)


def _complete_shapes(call: Call) -> None:
    """Ask Keras for the output shapes that TensorFlow's graph leaves open."""
    for inner in call.inner:
        _complete_shapes(inner)
    if not any(None in tensor.shape for tensor in call.outputs):
        return
    try:
        args, kwargs = call.arguments_as(_symbol)
        spec = call.operation.compute_output_spec(*args, **kwargs)
    except Exception:  # it does not say, or cannot do without values
        return
    shapes = [_shape(output) for output in keras.tree.flatten(spec) if hasattr(output, "shape")]
    if len(shapes) == len(call.outputs):
        call.outputs = [
            TensorArgument(shape, tensor.value) if None in tensor.shape else tensor
            for shape, tensor in zip(shapes, call.outputs, strict=True)
        ]


def _symbol(tensor: TensorArgument) -> Any:
    return keras.KerasTensor(tensor.shape, keras.backend.standardize_dtype(tensor.value.dtype))


def _noted(argument: Any) -> Any:
    return TensorArgument(_shape(argument), argument) if hasattr(argument, "shape") else argument


def _shape(tensor: Any) -> Shape:
    """Shape of a tensor; an open first side is the batch, which is one example."""
    try:
        sides = list(tensor.shape)
    except ValueError:  # not even their number is known
        return (None,)
    return tuple((1 if position == 0 else None) if side is None else int(side) for position, side in enumerate(sides))
