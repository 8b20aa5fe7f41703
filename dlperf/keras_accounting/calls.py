"""Which layers a model calls in a forward pass, on which shapes, nested and shared ones included.

Keras has no hooks on calls, and a model's record of its graph shows neither the layers inside nested models nor shapes
for inputs whose shape is open. So the model is traced once on inputs of a fixed shape, while
`keras.Operation.__call__`, through which every layer and every operation of a graph goes, notes its arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras

from dlperf.accounting.layers import Shape


@dataclass
class Call:
    """One call of a layer or operation.

    Attributes:
        operation: The layer or operation.
        arguments: Its positional and named arguments, tensors replaced by their shapes (batch included).
        outputs: Shapes of its output tensors (batch included).
        inner: Calls made inside it.
    """

    operation: Any
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    outputs: list[Shape] = field(default_factory=list)
    inner: list[Call] = field(default_factory=list)

    @property
    def inputs(self) -> list[Shape]:
        """Shapes of the input tensors (batch included), in the order of the arguments."""
        return [argument.shape for argument in keras.tree.flatten(self.arguments) if isinstance(argument, _Tensor)]


@dataclass(frozen=True)
class _Tensor:
    """A tensor argument, by its shape."""

    shape: Shape


def traced_call(model: keras.Model, inputs: Any) -> Call:
    """Trace an inference on one example.

    Args:
        model: A built model.
        inputs: What it is called with: `keras.KerasTensor`s with complete shapes, nested as the model takes them.

    Returns:
        The call of the model.
    """
    # A Functional model answers a symbolic call from its record; inside another layer it has to call its layers.
    outer = keras.layers.Lambda(lambda nested: model(nested, training=False))
    with _recorded() as calls:
        outer(inputs)
    (lambda_call,) = calls
    (model_call,) = lambda_call.inner
    return model_call


@contextmanager
def _recorded() -> Iterator[list[Call]]:
    """Note the calls made in the block, outermost ones in the list."""
    original = keras.Operation.__call__
    outermost: list[Call] = []
    open_calls: list[Call] = []

    def recording(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = Call(self, keras.tree.map_structure(_noted, (args, kwargs)))
        (open_calls[-1].inner if open_calls else outermost).append(call)
        open_calls.append(call)
        try:
            result = original(self, *args, **kwargs)
        finally:
            open_calls.pop()
        call.outputs = [_shape(output) for output in keras.tree.flatten(result) if hasattr(output, "shape")]
        return result

    keras.Operation.__call__ = recording
    try:
        yield outermost
    finally:
        keras.Operation.__call__ = original


def _noted(argument: Any) -> Any:
    return _Tensor(_shape(argument)) if hasattr(argument, "shape") else argument


def _shape(tensor: Any) -> Shape:
    return tuple(int(side) if side is not None else -1 for side in tensor.shape)
