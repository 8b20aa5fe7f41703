"""Models composed at random, and what their built layers' shapes say of them: neither closed forms nor programs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from hypothesis import strategies as st
from keras import layers

Draw = Callable[[st.SearchStrategy[Any]], Any]

_HANDING_ON = (layers.Dropout, layers.Flatten, layers.Reshape, layers.Permute, layers.GaussianNoise, layers.Identity)


def random_model(draw: Draw) -> keras.Model:
    """Compose a model of images or sequences, with branches, nested and shared parts, wrappers and recurrent layers."""
    if draw(st.booleans()):
        inputs = keras.Input((draw(st.integers(4, 7)), draw(st.integers(4, 7)), draw(st.integers(1, 4))))
        x = _chain(draw, inputs, _image_block)
    else:
        inputs = keras.Input((draw(st.integers(2, 6)), draw(st.integers(1, 5))))
        x = _chain(draw, inputs, _sequence_block)
    if draw(st.booleans()):
        x = layers.Dense(draw(st.integers(1, 4)))(layers.Flatten()(x))
    return keras.Model(inputs, x)


def _chain(draw: Draw, x: Any, block: Callable[[Draw, Any, int], Any], depth: int = 0) -> Any:
    for _ in range(draw(st.integers(1, 2 if depth else 3))):
        x = block(draw, x, depth)
    return x


def _image_block(draw: Draw, x: Any, depth: int) -> Any:
    kind = draw(st.sampled_from(_IMAGE_LAYERS if depth > 1 else [*_IMAGE_LAYERS, *_COMPOSED]))
    return _composed(draw, x, kind, _image_block, depth) if isinstance(kind, str) else kind(draw)(x)


def _sequence_block(draw: Draw, x: Any, depth: int) -> Any:
    kind = draw(st.sampled_from(_SEQUENCE_LAYERS if depth > 1 else [*_SEQUENCE_LAYERS, *_COMPOSED, "attention"]))
    return _composed(draw, x, kind, _sequence_block, depth) if isinstance(kind, str) else kind(draw)(x)


def _composed(draw: Draw, x: Any, kind: str, block: Callable[[Draw, Any, int], Any], depth: int) -> Any:
    if kind == "branches":
        width = draw(st.integers(1, 3))
        parts = [layers.Dense(width)(x), layers.Dense(width, use_bias=False)(x)]
        return draw(st.sampled_from([layers.Concatenate, layers.Add, layers.Multiply]))()(parts)
    if kind == "attention":
        return layers.Attention()([x, x])
    if kind == "operators":
        return keras.ops.relu(x * 2.0 - x) + 1.0
    shape = tuple(x.shape[1:])
    if kind == "shared":  # called twice on its own output, so that shapes fit
        layer = layers.Dense(shape[-1])
        return layer(layer(x))
    inside = keras.Input(shape)
    nested = keras.Model(inside, _chain(draw, inside, block, depth + 1))
    y = nested(x)
    return nested(y) if tuple(y.shape) == tuple(x.shape) and draw(st.booleans()) else y


_COMPOSED = ("branches", "operators", "shared", "nested", "nested")


def _size(draw: Draw) -> int:
    return draw(st.integers(1, 3))


_IMAGE_LAYERS: list[Callable[[Draw], layers.Layer]] = [
    lambda draw: layers.Conv2D(
        _size(draw), _size(draw), strides=draw(st.integers(1, 2)), padding="same", use_bias=draw(st.booleans())
    ),
    lambda draw: layers.Conv2D(_size(draw), _size(draw), dilation_rate=2, padding="same"),
    lambda draw: layers.DepthwiseConv2D(_size(draw), padding="same", depth_multiplier=draw(st.integers(1, 2))),
    lambda draw: layers.SeparableConv2D(_size(draw), _size(draw), padding="same"),
    lambda draw: layers.Conv2DTranspose(_size(draw), _size(draw), strides=draw(st.integers(1, 2)), padding="same"),
    lambda draw: layers.Dense(_size(draw)),
    lambda draw: layers.MaxPooling2D(2, padding="same"),
    lambda draw: layers.AveragePooling2D(2, padding="same"),
    lambda draw: layers.BatchNormalization(),
    lambda draw: layers.UpSampling2D(2, interpolation=draw(st.sampled_from(["nearest", "bilinear"]))),
    lambda draw: layers.ZeroPadding2D(_size(draw)),
    lambda draw: layers.Dropout(0.5),
    lambda draw: layers.PReLU(),
    lambda draw: layers.Activation(draw(st.sampled_from(["relu", "gelu", "softmax"]))),
    lambda draw: layers.TimeDistributed(layers.Dense(_size(draw))),
]
_SEQUENCE_LAYERS: list[Callable[[Draw], layers.Layer]] = [
    lambda draw: layers.Conv1D(_size(draw), _size(draw), padding=draw(st.sampled_from(["same", "causal"]))),
    lambda draw: layers.Dense(_size(draw), activation="relu"),
    lambda draw: layers.SimpleRNN(_size(draw), return_sequences=True, unroll=draw(st.integers(0, 3)) > 0),
    lambda draw: layers.LayerNormalization(),
    lambda draw: layers.GroupNormalization(-1),
    lambda draw: layers.GaussianNoise(0.1),
    lambda draw: layers.Permute((2, 1)),
    lambda draw: layers.TimeDistributed(layers.Dense(_size(draw), use_bias=False)),
    lambda draw: layers.AveragePooling1D(2, padding="same"),
    lambda draw: layers.UpSampling1D(2),
]


def by_built_shapes(model: keras.Model) -> tuple[int, int]:
    """Return activations and multiplications by the shapes of a built model's tensors and kernels."""
    activations = sum(math.prod(tensor.shape[1:]) for tensor in model.inputs)
    inner_activations, multiplications = _inside(model)
    return activations + inner_activations, multiplications


def _inside(model: keras.Model) -> tuple[int, int]:
    activations = multiplications = 0
    for node in [node for nodes in model._nodes_by_depth.values() for node in nodes]:
        operation = node.operation
        if isinstance(operation, keras.Model):
            inside = _inside(operation)
            activations, multiplications = activations + inside[0], multiplications + inside[1]
        elif not isinstance(operation, layers.InputLayer):
            out = math.prod(node.outputs[0].shape[1:])
            activations += 0 if isinstance(operation, _HANDING_ON) else out
            multiplications += _products(operation, node.input_tensors[0].shape[1:], out)
    return activations, multiplications


def _products(operation: Any, inputs: tuple[int, ...], out: int) -> int:
    if isinstance(operation, layers.Attention):
        return 2 * inputs[0] * inputs[0] * inputs[1]
    layer = operation.layer if isinstance(operation, layers.TimeDistributed) else operation
    shapes = [tuple(weight.shape) for weight in getattr(layer, "weights", []) if "kernel" in weight.name]
    if not shapes:
        return 0
    if isinstance(layer, layers.SimpleRNN):
        return inputs[0] * sum(map(math.prod, shapes))
    if isinstance(layer, layers.Conv2DTranspose):
        return math.prod(inputs) * math.prod(shapes[0][:-1])
    if isinstance(layer, layers.DepthwiseConv2D):
        return out * math.prod(shapes[0][:2])
    if isinstance(layer, layers.SeparableConv2D):
        return out // shapes[1][-1] * sum(map(math.prod, shapes))
    return out * math.prod(shapes[0][:-1])
