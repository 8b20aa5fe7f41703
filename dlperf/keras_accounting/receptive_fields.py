"""How many pixels of the input each layer's outputs see: along convolutions, poolings and what works on each position.

Araujo, Norris and Sim 2019, "Computing receptive fields of convolutional neural networks", section 2: a layer with
filters of k and stride s on outputs that see r pixels, j apart, sees r + (k - 1) j, and its outputs are j s apart;
where branches meet, the largest counts. What mixes all positions (global pooling, attention, a dense layer on flattened
images) has none.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from dlperf.keras_accounting.calls import Call, TensorArgument

_Sides = tuple[int, ...]

_WINDOWS = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    *(layers.SeparableConv1D, layers.SeparableConv2D, layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D),
    *(layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D),
)
# TensorFlow operations that give a position only what its inputs have at that position, or shift all alike.
_BY_POSITION = frozenset(
    {"Add", "AddN", "AddV2", "Sub", "Mul", "RealDiv", "Div", "Maximum", "Minimum", "Relu", "Relu6", "LeakyRelu", "Elu",
     "Selu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Exp", "Erf", "Erfc", "Neg", "Square", "Sqrt", "Rsqrt", "Pow",
     "Select", "SelectV2", "Greater", "GreaterEqual", "Less", "ZerosLike", "OnesLike", "Cast", "Identity", "IdentityN",
     "Const", "ReadVariableOp", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "BiasAdd", "ConcatV2", "Pad",
     "PadV2", "StopGradient", "Shape", "Reshape", "NoOp", "Placeholder", "SquaredDifference", "Pack", "Squeeze"}
)  # fmt: skip


class ReceptiveFields:
    """Follows the receptive field through a traced model, call by call."""

    def __init__(self, inputs: list[TensorArgument]) -> None:
        """Begin at the model's inputs: a pixel sees itself."""
        # By where elements come from: pixels seen and pixels between neighbours, for each axis, and the shape in which
        # that holds.
        self._known: dict[Any, tuple[_Sides, _Sides, tuple[Any, ...]]] = {}
        for tensor in inputs:
            if axes := len(tensor.shape) - 2:
                self._known[tensor.source] = ((1,) * axes, (1,) * axes, tensor.shape)

    def __call__(self, call: Call) -> int | None:
        """Return what a call's output sees, in pixels along the longest side; None where it is not defined."""
        tensors = [tensor for tensor in call.tensors if tensor.is_traced]
        fields = [self._known.get(tensor.source) for tensor in tensors]
        known = [field for field in fields if field]
        if not tensors or None in fields or len({len(field[0]) for field in known}) > 1:
            return None
        if any(field[2] != tensor.shape for field, tensor in zip(known, tensors, strict=True)):
            return None  # reshaped: neighbours are others now
        seen, apart = (tuple(map(max, zip(*(field[which] for field in known), strict=True))) for which in (0, 1))
        window = _window(call, len(seen))
        if window is None or any(len(output.shape) - 2 != len(seen) for output in call.outputs):
            return None
        if any(output.shape != tensor.shape for output in call.outputs for tensor in tensors
               if output.source == tensor.source):  # fmt: skip
            return None  # reshaped here
        seen = tuple(r + (k - 1) * j for r, k, j in zip(seen, window[0], apart, strict=True))
        apart = tuple(j * s for j, s in zip(apart, window[1], strict=True))
        for output in call.outputs:
            self._known[output.source] = (seen, apart, output.shape)
        return max(seen)


def _window(call: Call, axes: int) -> tuple[_Sides, _Sides] | None:
    """Return sides and strides of a layer's window, gaps included; ones for what stays at its position."""
    layer = call.operation
    if isinstance(layer, _WINDOWS):
        sides = layer.pool_size if hasattr(layer, "pool_size") else layer.kernel_size
        dilation = getattr(layer, "dilation_rate", (1,) * len(sides))
        return tuple((side - 1) * rate + 1 for side, rate in zip(sides, dilation, strict=True)), tuple(layer.strides)
    if isinstance(layer, keras.layers.Dense) or _stays_at_its_position(call):
        return (1,) * axes, (1,) * axes
    return None


def _stays_at_its_position(call: Call) -> bool:
    return call.graph_types <= _BY_POSITION and all(map(_stays_at_its_position, call.inner))
