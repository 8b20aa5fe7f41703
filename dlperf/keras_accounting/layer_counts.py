"""Closed forms for Keras's layers: parameters and multiplications of one call, from its configuration and shapes.

`dlperf.accounting.layers` says what counts. A layer without a closed form is measured (`measured`); one can be added:

    @counts(MyLayer)
    def _my_layer(call):
        return Count("what it is", parameters, "formula", multiplications)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras import layers

from dlperf.accounting.layers import Shape, kernel_parameters, times
from dlperf.keras_accounting.calls import Call


@dataclass(frozen=True)
class Count:
    """What the closed form says of one call, per example; a counter gives None for a configuration it does not know.

    Attributes:
        description: What the layer is, for people.
        parameters: Its weights.
        formula: How their number comes about; "" where there are none.
        multiplications: Multiplications of sums of products.
    """

    description: str = ""
    parameters: int = 0
    formula: str = ""
    multiplications: int = 0


_Counter = Callable[[Call], Count | None]
_counters: dict[type, _Counter] = {}
_counters_by_name: dict[tuple[str, str], _Counter] = {}


def counts(*kinds: type) -> Callable[[_Counter], _Counter]:
    """Register the closed form of some kinds of layers or operations."""

    def register(counter: _Counter) -> _Counter:
        _counters.update(dict.fromkeys(kinds, counter))
        return counter

    return register


def counts_named(module: str, *names: str) -> Callable[[_Counter], _Counter]:
    """Register the closed form of classes that are not public, by their module and names."""

    def register(counter: _Counter) -> _Counter:
        _counters_by_name.update(dict.fromkeys(((module, name) for name in names), counter))
        return counter

    return register


def counter_of(kind: type) -> _Counter | None:
    """Return a kind's closed form, or that of the class whose work it inherits; None where there is none."""
    for ancestor in kind.__mro__:
        if (ancestor.__module__, ancestor.__name__) in _counters_by_name:
            return _counters_by_name[ancestor.__module__, ancestor.__name__]
        if ancestor in _counters:
            return _counters[ancestor]
        methods = {name for name, value in vars(ancestor).items() if callable(value) and not name.startswith("__")}
        if methods - {"get_config", "from_config"}:  # it may do, or have, something else than the class above
            return None
    return None


def _spatial(layer: Any, shape: Shape) -> Shape:
    """Batch, height, width, ... of a shape, in either data format; a graph may put windows into the batch."""
    return shape[:1] + (shape[2:] if layer.data_format == "channels_first" else shape[1:-1])


def _channels(layer: Any, shape: Shape) -> int:
    return shape[1] if layer.data_format == "channels_first" else shape[-1]


def _options(layer: Any) -> str:
    """What a convolution does beside sliding its filters."""
    words = []
    if math.prod(layer.strides) > 1:
        words.append(f"stride {times(*layer.strides)}")
    if math.prod(layer.dilation_rate) > 1:
        words.append(f"dilation {times(*layer.dilation_rate)}")
    if getattr(layer, "groups", 1) > 1:
        words.append(f"{layer.groups} groups")
    return "".join(f", {word}" for word in [*words, f"padding {layer.padding}"])


@counts(layers.Conv1D, layers.Conv2D, layers.Conv3D)
def _convolution(call: Call) -> Count:
    layer, kernel = call.operation, tuple(call.operation.kernel_size)
    seen = _channels(layer, call.inputs[0]) // layer.groups
    parameters, formula = kernel_parameters((*kernel, seen), layer.filters, bias=layer.use_bias)
    multiplications = math.prod((*_spatial(layer, call.output_shapes[0]), *kernel, seen, layer.filters))
    return Count(f"{times(*kernel)} filter, {layer.filters} filters{_options(layer)}", parameters, formula,
                 multiplications)  # fmt: skip


@counts(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
def _transposed_convolution(call: Call) -> Count:
    # Each input element multiplies a whole filter: the convolution it is the transpose of, counted by its outputs.
    layer, kernel = call.operation, tuple(call.operation.kernel_size)
    inputs = _channels(layer, call.inputs[0])
    parameters, formula = kernel_parameters((*kernel, inputs), layer.filters, bias=layer.use_bias)
    multiplications = math.prod((*_spatial(layer, call.inputs[0]), *kernel, inputs, layer.filters))
    return Count(f"{times(*kernel)} filter transposed, {layer.filters} filters{_options(layer)}", parameters, formula,
                 multiplications)  # fmt: skip


def _is_run_at_every_position(layer: Any) -> bool:
    """Whether Keras computes more outputs than it keeps: TensorFlow has no strides beside gaps in such filters."""
    return math.prod(layer.strides) > 1 and math.prod(layer.dilation_rate) > 1


@counts(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
def _depthwise_convolution(call: Call) -> Count | None:
    layer, kernel = call.operation, tuple(call.operation.kernel_size)
    if _is_run_at_every_position(layer):
        return None
    filters = _channels(layer, call.inputs[0]) * layer.depth_multiplier
    parameters, formula = kernel_parameters(kernel, filters, bias=layer.use_bias)
    multiplications = math.prod((*_spatial(layer, call.output_shapes[0]), *kernel, filters))
    return Count(f"{times(*kernel)} filter for each channel{_options(layer)}", parameters, formula, multiplications)


@counts(layers.SeparableConv1D, layers.SeparableConv2D)
def _separable_convolution(call: Call) -> Count | None:
    layer, kernel = call.operation, tuple(call.operation.kernel_size)
    if _is_run_at_every_position(layer):
        return None
    depthwise = _channels(layer, call.inputs[0]) * layer.depth_multiplier
    _, first = kernel_parameters(kernel, depthwise, bias=False)
    _, second = kernel_parameters((depthwise,), layer.filters, bias=layer.use_bias)
    parameters = math.prod(kernel) * depthwise + (depthwise + layer.use_bias) * layer.filters
    formula = f"{first.partition(' =')[0]} + {second.partition(' =')[0]} = {parameters:,}"
    positions = math.prod(_spatial(layer, call.output_shapes[0]))
    multiplications = positions * (math.prod(kernel) * depthwise + depthwise * layer.filters)
    description = f"{times(*kernel)} filter for each channel, then {layer.filters} filters of 1{_options(layer)}"
    return Count(description, parameters, formula, multiplications)


@counts(layers.Dense)
def _dense(call: Call) -> Count:
    layer, inputs = call.operation, call.inputs[0]
    parameters, formula = kernel_parameters((inputs[-1],), layer.units, bias=layer.use_bias)
    return Count(f"{layer.units} units", parameters, formula, math.prod(inputs) * layer.units)


@counts(layers.EinsumDense)
def _einsum_dense(call: Call) -> Count:
    layer = call.operation
    kernel, bias = tuple(layer.kernel.shape), tuple(layer.bias.shape) if layer.bias is not None else ()
    parameters = math.prod(kernel) + (math.prod(bias) if bias else 0)
    formula = f"{times(*kernel)}{f' + {times(*bias)}' if bias else ''} = {parameters:,}"
    _, labels, output = layer.equation.replace("->", ",").split(",")
    summed = [side for label, side in zip(labels, kernel, strict=True) if label not in output]
    multiplications = math.prod(call.output_shapes[0]) * math.prod(summed) if summed else 0  # else element by element
    return Count(f"product {layer.equation}", parameters, formula, multiplications)


@counts(layers.Embedding)
def _embedding(call: Call) -> Count:
    layer = call.operation
    parameters = layer.input_dim * layer.output_dim
    formula = f"{times(layer.input_dim, layer.output_dim)} = {parameters:,}"
    return Count(f"{layer.input_dim} vectors of {layer.output_dim}", parameters, formula)


@counts(layers.ReversibleEmbedding)
def _reversible_embedding(call: Call) -> Count:
    layer = call.operation
    matrices = 1 if layer.tie_weights else 2
    parameters = matrices * layer.input_dim * layer.output_dim
    formula = f"{times(matrices, layer.input_dim, layer.output_dim).removeprefix('1 x ')} = {parameters:,}"
    args, kwargs = call.arguments
    if args[1] if len(args) > 1 else kwargs.get("reverse", False):
        multiplications = math.prod(call.inputs[0]) * layer.input_dim
        return Count(f"scores of {layer.input_dim} vectors", parameters, formula, multiplications)
    return Count(f"{layer.input_dim} vectors of {layer.output_dim}", parameters, formula)


@counts(layers.MultiHeadAttention)
def _multi_head_attention(call: Call) -> Count | None:
    layer = call.operation
    return _attention_heads(call, layer.num_heads, layer.num_heads, layer.key_dim, layer.value_dim, layer._use_bias)


@counts(layers.GroupQueryAttention)
def _group_query_attention(call: Call) -> Count | None:
    layer = call.operation
    if layer.use_gate:
        return None
    heads, pairs = layer.num_query_heads, layer.num_key_value_heads
    return _attention_heads(call, heads, pairs, layer.head_dim, layer.head_dim, layer.use_bias)


def _attention_heads(call: Call, heads: int, pairs: int, key: int, value: int, bias: bool) -> Count | None:
    """Projections to queries, keys and values, scores, weighted sums, projection of the heads to the output.

    Args:
        call: The call, on query, value and optionally key.
        heads: Query heads.
        pairs: Heads of keys and values.
        key: Size of a query and of a key.
        value: Size of a value.
        bias: Whether projections have biases.
    """
    args, kwargs = call.arguments
    named = dict(zip(("query", "value", "key"), args, strict=False)) | kwargs
    named["key"] = named["value"] if named.get("key") is None else named["key"]
    queries, values, keys = (named[name].shape for name in ("query", "value", "key"))
    axes = getattr(call.operation, "_attention_axes", None)
    whole = axes is None or tuple(axes) == tuple(range(1, len(queries) - 1))
    if not whole or len(call.output_shapes[0]) != len(queries) or queries[0] != 1:
        return None
    width = call.output_shapes[0][-1]
    projections = [(queries, heads * key), (keys, pairs * key), (values, pairs * value)]
    parameters = sum((shape[-1] + bias) * size for shape, size in projections) + (heads * value + bias) * width
    terms = [kernel_parameters((shape[-1],), size, bias=bias)[1].partition(" =")[0] for shape, size in projections]
    terms.append(kernel_parameters((heads * value,), width, bias=bias)[1].partition(" =")[0])
    length, seen = math.prod(queries[1:-1]), math.prod(values[1:-1])
    multiplications = sum(math.prod(shape[1:]) * size for shape, size in projections)
    multiplications += heads * length * seen * (key + value) + length * heads * value * width
    description = f"{heads} heads of {key} on {length} x {seen} positions"
    return Count(description, parameters, f"{' + '.join(terms)} = {parameters:,}", multiplications)


@counts(layers.Attention)
def _attention(call: Call) -> Count | None:
    layer, (queries, values, *_) = call.operation, call.inputs
    if layer.score_mode != "dot" or any(len(shape) != 3 or shape[0] != 1 for shape in call.inputs[:2]):
        return None
    multiplications = queries[1] * values[1] * (queries[-1] + values[-1])
    parameters = 1 if layer.use_scale else 0
    formula = "1 scale = 1" if layer.use_scale else ""
    return Count(f"dot products on {queries[1]} x {values[1]} positions", parameters, formula, multiplications)


@counts(layers.AdditiveAttention)
def _additive_attention(call: Call) -> Count | None:
    return None  # it inherits from Attention, and does something else


@counts(layers.Dot)
def _dot(call: Call) -> Count:
    axes = call.operation.axes
    axis = axes if isinstance(axes, int) else axes[0]
    return Count("inner product", multiplications=math.prod(call.output_shapes[0]) * call.inputs[0][axis])


@counts(layers.BatchNormalization)
def _batch_normalization(call: Call) -> Count:
    layer = call.operation
    channels = call.inputs[0][layer.axis]
    words = [
        "moving mean",
        "moving variance",
        *(["scale"] if layer.scale else []),
        *(["shift"] if layer.center else []),
        *(["moving deviation", "renormalisation's mean", "its deviation"] if layer.renorm else []),
    ]
    return _per_channel(f"batch normalisation: {', '.join(words)}", len(words), channels)


@counts(layers.GroupNormalization)
def _group_normalization(call: Call) -> Count:
    layer = call.operation
    return _per_channel(f"{layer.groups} groups", layer.scale + layer.center, call.inputs[0][layer.axis])


@counts(layers.LayerNormalization)
def _layer_normalization(call: Call) -> Count:
    layer = call.operation
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    vectors = 1 if layer.rms_scaling else layer.scale + layer.center
    return _per_channel("", vectors, math.prod(call.inputs[0][axis] for axis in axes))


@counts(layers.RMSNormalization)
def _rms_normalization(call: Call) -> Count:
    axes = call.operation.axis if isinstance(call.operation.axis, list | tuple) else [call.operation.axis]
    return _per_channel("", 1, math.prod(call.inputs[0][axis] for axis in axes))


@counts(layers.PReLU)
def _prelu(call: Call) -> Count:
    shared = call.operation.shared_axes or []
    sides = [side for axis, side in enumerate(call.inputs[0]) if axis and axis not in shared]
    return _per_channel("", 1, math.prod(sides))


@counts(layers.Normalization)
def _normalization(call: Call) -> Count:
    layer = call.operation
    if not layer.weights:
        return Count("mean and variance given")
    size = math.prod(layer.adapt_mean.shape)
    return Count("mean, variance and examples seen", 2 * size + 1, f"2 x {size} + 1 = {2 * size + 1}")


def _per_channel(description: str, vectors: int, channels: int) -> Count:
    parameters = vectors * channels
    formula = f"{vectors} x {channels:,} = {parameters:,}" if parameters else ""
    return Count(description, parameters, formula)


_POOLING = [f"{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (1, 2, 3)]


@counts(*(getattr(layers, name) for name in _POOLING))
def _pooling(call: Call) -> Count:
    layer = call.operation
    return Count(f"{times(*layer.pool_size)}, stride {times(*layer.strides)}, padding {layer.padding}")


@counts(layers.Activation)
def _activation(call: Call) -> Count:
    return Count(str(getattr(call.operation.activation, "__name__", "")))
