"""Closed forms for what is not a public layer.

These are the operations of a functional graph (`x + y`, `keras.ops.matmul`), and the private layers of
keras.applications.
"""

from __future__ import annotations

import math

from dlperf.keras_accounting.calls import Call
from dlperf.keras_accounting.layer_counts import Count, counts_named

_WITHOUT_PRODUCTS = {
    "keras.src.ops.numpy": (
        *("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Negative", "Absolute", "Power", "Square", "Sqrt"),
        *("Maximum", "Minimum", "Clip", "Exp", "Log", "Tanh", "Mean", "Sum", "Max", "Min", "Concatenate", "Stack"),
        *("Pad", "Repeat", "Tile", "BroadcastTo", "Roll", "Where", "GetItem", "Split", "Take"),
    ),
    "keras.src.ops.nn": (
        *("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Gelu", "Silu", "HardSilu", "Sigmoid", "HardSigmoid"),
        *("Softmax", "LogSoftmax", "Softplus", "Softsign", "MaxPool", "AveragePool", "OneHot"),
    ),
    "keras.src.ops.math": ("Rsqrt", "Erf"),
    "keras.src.applications.inception_resnet_v2": ("CustomScaleLayer",),
}
_HANDING_ON = {
    "keras.src.ops.numpy": ("Reshape", "Transpose", "Squeeze", "ExpandDims", "Ravel", "Swapaxes", "Moveaxis"),
    "keras.src.ops.core": ("Cast", "StopGradient"),
    "keras.src.applications.convnext": ("StochasticDepth",),  # it drops whole branches, in training only
}


def _without_products(call: Call) -> Count:
    return Count()


def _handing_on(call: Call) -> Count:
    return Count(hands_on=True)


for module, names in _WITHOUT_PRODUCTS.items():
    counts_named(module, *names)(_without_products)
for module, names in _HANDING_ON.items():
    counts_named(module, *names)(_handing_on)


@counts_named("keras.src.ops.numpy", "Matmul")
def _matmul(call: Call) -> Count:
    return Count("matrix product", multiplications=math.prod(call.outputs[0]) * call.inputs[0][-1])


@counts_named("keras.src.ops.numpy", "Einsum")
def _einsum(call: Call) -> Count | None:
    subscripts = call.operation.subscripts.replace(" ", "")
    if "." in subscripts or "->" not in subscripts:
        return None
    labels = "".join(subscripts.partition("->")[0].split(","))
    output = subscripts.partition("->")[2]
    if any(labels.count(label) == 1 and label not in output for label in labels):
        return None  # one operand is summed by itself, before or after the product
    sides = dict(zip(labels, (side for shape in call.inputs for side in shape), strict=True))
    # With three operands and more, the multiplications depend on the order of the products.
    return Count(subscripts, multiplications=math.prod(sides.values())) if len(call.inputs) == 2 else None


@counts_named("keras.src.applications.convnext", "LayerScale")
def _layer_scale(call: Call) -> Count:
    size = call.operation.projection_dim
    return Count("a factor for each channel", size, f"1 x {size} = {size}")
