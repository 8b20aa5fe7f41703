"""Closed forms of products that are no public layer: operations of a functional graph, and a layer of an application.

Operations without products (`x + y`, `keras.ops.reshape`) need none: what they do is read off the graph they make.
"""

from __future__ import annotations

import math

import keras

from dlperf.accounting.layers import Shape
from dlperf.keras_accounting.calls import Call
from dlperf.keras_accounting.layer_counts import Count, counts_named


@counts_named("keras.src.ops.numpy", "Matmul", "Inner")
def _product_over_the_last_axis(call: Call) -> Count:
    return Count("product", multiplications=math.prod(call.output_shapes[0]) * call.inputs[0][-1])


@counts_named("keras.src.ops.numpy", "Dot")
def _dot(call: Call) -> Count | None:
    if len(call.inputs) != 2 or () in call.inputs:
        return None
    return _product_over_the_last_axis(call)


@counts_named("keras.src.ops.numpy", "Vdot")
def _vdot(call: Call) -> Count:
    return Count("inner product", multiplications=math.prod(call.inputs[0]))


@counts_named("keras.src.ops.numpy", "Tensordot")
def _tensordot(call: Call) -> Count | None:
    axes, shape = call.operation.axes, call.inputs[0]
    if isinstance(axes, int):
        summed = shape[len(shape) - axes :] if axes else ()
    else:
        first = axes[0] if isinstance(axes[0], list | tuple) else [axes[0]]
        summed = tuple(shape[axis] for axis in first)
    # Without an axis that is summed over it is an outer product.
    return Count("product", multiplications=math.prod(call.output_shapes[0]) * math.prod(summed)) if summed else None


@counts_named("keras.src.ops.numpy", "Einsum")
def _einsum(call: Call) -> Count | None:
    subscripts = call.operation.subscripts.replace(" ", "")
    if "." in subscripts or "->" not in subscripts or len(call.inputs) != 2:
        return None  # of three operands and more, the multiplications depend on the order of the products
    labels = "".join(subscripts.partition("->")[0].split(","))
    output = subscripts.partition("->")[2]
    if any(labels.count(label) == 1 and label not in output for label in labels):
        return None  # one operand is summed by itself, before or after the product
    if all(label in output for label in labels):
        return Count(subscripts)  # element by element: nothing is summed
    sides = dict(zip(labels, (side for shape in call.inputs for side in shape), strict=True))
    return Count(subscripts, multiplications=math.prod(sides.values()))


def _positions(call: Call, shape: Shape) -> int:
    """Places of a feature map, batch included."""
    data_format = call.operation.data_format or keras.config.image_data_format()
    return math.prod(shape[:1] + (shape[2:] if data_format == "channels_first" else shape[1:-1]))


@counts_named("keras.src.ops.nn", "Conv", "DepthwiseConv", "SeparableConv")
def _convolution(call: Call) -> Count:
    kernels = [math.prod(shape) for shape in call.inputs[1:]]
    return Count("convolution", multiplications=_positions(call, call.output_shapes[0]) * sum(kernels))


@counts_named("keras.src.ops.nn", "DotProductAttention")
def _dot_product_attention(call: Call) -> Count:
    args, kwargs = call.arguments
    named = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
    batch, queries, heads, size = named["query"].shape
    values, width = named["value"].shape[1], named["value"].shape[-1]
    description = f"{heads} heads of {size} on {queries} x {values} positions"
    return Count(description, multiplications=batch * heads * queries * values * (size + width))


@counts_named("keras.src.applications.convnext", "LayerScale")
def _layer_scale(call: Call) -> Count:
    size = call.operation.projection_dim
    return Count("a factor for each channel", size, f"1 x {size} = {size}")
