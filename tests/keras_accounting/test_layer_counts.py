from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keras import layers

from dlperf.keras_accounting.layer_counts import Count, counts
from dlperf.keras_accounting.model_table import layer_table
from dlperf.processor import cores
from dlperf.training.compiled_epoch import configure_runtime
from tests.support.three_ways import assert_three_ways, one

# The layers below start the runtime, which tests of other files want configured.
configure_runtime(cores())


SINGLE = {
    "conv1d": (layers.Conv1D(6, 3, strides=2, padding="same"), (11, 4)),
    "conv1d causal": (layers.Conv1D(6, 3, padding="causal"), (11, 4)),
    "conv1d groups": (layers.Conv1D(6, 3, groups=2), (11, 4)),
    "conv3d groups": (layers.Conv3D(4, (2, 3, 1), groups=2, padding="same", strides=2), (5, 6, 7, 4)),
    "conv2d of a channel each": (layers.Conv2D(8, 3, groups=4, padding="same"), (9, 8, 4)),
    "conv2d groups": (layers.Conv2D(6, (3, 2), groups=2, use_bias=False), (9, 8, 4)),
    "conv3d": (layers.Conv3D(3, 2, strides=2), (5, 6, 7, 2)),
    "depthwise 1d": (layers.DepthwiseConv1D(3, depth_multiplier=2), (9, 4)),
    "depthwise 2d": (layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2), (9, 8, 4)),
    "depthwise 2d with strides and gaps": (layers.DepthwiseConv2D(3, strides=2, dilation_rate=2), (9, 8, 4)),
    "separable 2d with strides and gaps": (layers.SeparableConv2D(5, 3, strides=2, dilation_rate=2), (9, 8, 4)),
    "separable 1d": (layers.SeparableConv1D(5, 3, depth_multiplier=2), (9, 4)),
    "separable 2d": (layers.SeparableConv2D(5, 3, use_bias=False), (9, 8, 4)),
    "transposed 1d": (layers.Conv1DTranspose(5, 3, strides=2), (9, 4)),
    "transposed 2d": (layers.Conv2DTranspose(5, 3, strides=2, padding="same"), (9, 8, 4)),
    "transposed 2d stride 1": (layers.Conv2DTranspose(5, 3), (9, 8, 4)),
    "transposed 2d with gaps": (layers.Conv2DTranspose(5, 2, strides=3, use_bias=False), (4, 3, 4)),
    "transposed 2d dilated": (layers.Conv2DTranspose(5, 2, dilation_rate=2), (4, 3, 4)),
    "transposed 3d": (layers.Conv3DTranspose(2, 2, strides=2), (3, 4, 5, 2)),
    "dense": (layers.Dense(7), (5,)),
    "dense on sequences": (layers.Dense(7, use_bias=False), (4, 5)),
    "einsum dense": (layers.EinsumDense("abc,cde->abde", (None, 3, 4), bias_axes="de"), (5, 6)),
    "einsum dense with dots": (layers.EinsumDense("...x,xy->...y", output_shape=7), (3, 4, 5)),
    "einsum dense by position": (layers.EinsumDense("abc,bcd->abd", output_shape=(4, 7)), (4, 5)),
    "normalisation, adapted": (layers.Normalization(), (4, 5)),
    "normalisation, given": (layers.Normalization(mean=1.0, variance=2.0), (4, 5)),
    "batch norm axis 1": (layers.BatchNormalization(axis=1), (4, 5, 3)),
    "layer norm without scale": (layers.LayerNormalization(scale=False), (4, 3)),
    "instance norm": (layers.GroupNormalization(-1), (4, 4, 6)),
    "batch norm": (layers.BatchNormalization(), (4, 4, 3)),
    "batch norm bare": (layers.BatchNormalization(scale=False, center=False), (4, 4, 3)),
    "batch renormalisation": (layers.BatchNormalization(renorm=True), (4, 4, 3)),
    "layer norm": (layers.LayerNormalization(axis=(1, 2)), (4, 3)),
    "group norm": (layers.GroupNormalization(2), (4, 4, 6)),
    "rms norm": (layers.RMSNormalization(), (4, 3)),
    "unit norm": (layers.UnitNormalization(), (4, 3)),
    "prelu": (layers.PReLU(shared_axes=[1, 2]), (4, 4, 3)),
    "prelu of every element": (layers.PReLU(), (4, 3)),
    "relu": (layers.ReLU(), (4, 3)),
    "softmax": (layers.Softmax(), (4, 3)),
    "gelu": (layers.Activation("gelu"), (4, 3)),
    "cropping": (layers.Cropping2D(1), (4, 4, 3)),
    "reshaping": (layers.Reshape((6, 2)), (4, 3)),
    "permuting": (layers.Permute((2, 1)), (4, 3)),
    "max pooling 1d": (layers.MaxPooling1D(2), (9, 4)),
    "average pooling 1d": (layers.AveragePooling1D(2, padding="same"), (9, 4)),
    "average pooling 2d": (layers.AveragePooling2D(2), (9, 9, 4)),
    "max pooling 3d": (layers.MaxPooling3D(2), (4, 4, 4, 2)),
    "global maximum 1d": (layers.GlobalMaxPooling1D(), (9, 4)),
    "global average 3d": (layers.GlobalAveragePooling3D(keepdims=True), (4, 4, 4, 2)),
    "max pooling": (layers.MaxPooling2D(3, 2), (9, 9, 4)),
    "average pooling": (layers.AveragePooling3D(2), (4, 4, 4, 2)),
    "global pooling": (layers.GlobalAveragePooling2D(), (9, 9, 4)),
    "padding": (layers.ZeroPadding2D(2), (4, 4, 3)),
    "upsampling": (layers.UpSampling2D(2), (4, 4, 3)),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_layer_counted_three_ways(name: str) -> None:
    layer, shape = SINGLE[name]
    layer = type(layer).from_config(layer.get_config())
    assert_three_ways(one(layer, shape))


CONVOLUTION = {
    "rank": st.integers(1, 3),
    "sides": st.lists(st.integers(4, 7), min_size=3, max_size=3),
    "kernel": st.lists(st.integers(1, 3), min_size=3, max_size=3),
    "stride": st.integers(1, 3),
    "groups": st.integers(1, 3),
    "seen": st.integers(1, 2),
    "filters": st.integers(1, 2),
}


@settings(max_examples=25)
@given(padding=st.sampled_from(["valid", "same"]), bias=st.booleans(), **CONVOLUTION)
def test_convolutions_counted_three_ways(
    rank: int, sides: list[int], kernel: list[int], stride: int, groups: int, seen: int, filters: int, padding: str,
    bias: bool,
) -> None:  # fmt: skip
    layer = getattr(layers, f"Conv{rank}D")(
        groups * filters, tuple(kernel[:rank]), strides=stride, groups=groups, padding=padding, use_bias=bias
    )
    assert_three_ways(one(layer, (*sides[:rank], groups * seen)))


def products_of_ones(model: keras.Model) -> int:
    """Every product of a filter of ones that lies on an input of ones is a 1, and their sum is their number.

    Compiled by XLA: of TensorFlow's own kernels on a CPU only oneDNN's compute a dilated transposed convolution, and a
    user may have switched these off.
    """
    model.set_weights([np.ones_like(weight) for weight in model.get_weights()])
    (tensor,) = model.inputs
    compiled = tf.function(lambda ones: model(ones), jit_compile=True)
    return round(float(np.sum(compiled(np.ones((1, *tensor.shape[1:]), "float32")), dtype="float64")))


@settings(max_examples=25)
@given(dilation=st.integers(1, 2), **CONVOLUTION)
def test_convolutions_counted_by_their_products(
    rank: int, sides: list[int], kernel: list[int], stride: int, dilation: int, groups: int, seen: int, filters: int
) -> None:
    """Without padding, so that every tap lies on a one."""
    assume(stride == 1 or dilation == 1)
    assume(all((taps - 1) * dilation < side for taps, side in zip(kernel, sides, strict=True)))
    layer = getattr(layers, f"Conv{rank}D")(
        groups * filters, tuple(kernel[:rank]), strides=stride, dilation_rate=dilation, groups=groups, use_bias=False
    )
    model = one(layer, (*sides[:rank], groups * seen))
    table = layer_table(model)
    assert (table.parameters, table.multiplications) == (model.count_params(), products_of_ones(model))


@settings(max_examples=10)
@given(
    dilation=st.integers(1, 2), **{name: CONVOLUTION[name] for name in ("rank", "sides", "kernel", "stride", "seen")}
)
def test_transposed_convolutions_counted_by_their_products(
    rank: int, sides: list[int], kernel: list[int], stride: int, dilation: int, seen: int
) -> None:
    assume(stride == 1 or dilation == 1)
    layer = getattr(layers, f"Conv{rank}DTranspose")(
        3, tuple(kernel[:rank]), strides=stride, dilation_rate=dilation, use_bias=False
    )
    model = one(layer, (*sides[:rank], seen))
    assert layer_table(model).multiplications == products_of_ones(model)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    "layer",
    [
        *(layers.Conv1D(6, 3, dilation_rate=2), layers.Conv2D(6, 3, dilation_rate=2)),
        *(layers.Conv3D(6, 2, dilation_rate=2), layers.DepthwiseConv2D(3, dilation_rate=2)),
        layers.SeparableConv2D(6, 3, dilation_rate=2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_dilation_changes_the_output_and_not_the_filter(layer: layers.Layer, padding: str) -> None:
    """TensorFlow compiles it on a CPU as space to batch, which pads: of its products those that are kept count."""
    config = layer.get_config() | {"padding": padding}
    shape = (*[9] * len(layer.kernel_size), 4)
    dilated, plain = (one(type(layer).from_config(config | {"dilation_rate": rate}), shape) for rate in (2, 1))
    tables = assert_three_ways(dilated), assert_three_ways(plain)
    assert tables[0].parameters == tables[1].parameters
    per_position = [table.multiplications / np.prod(table.rows[-1].output_shape[:-1]) for table in tables]
    assert per_position[0] == per_position[1]
    assert (tables[0].rows[-1].output_shape == tables[1].rows[-1].output_shape) == (padding == "same")


@pytest.mark.parametrize(
    "layer",
    [
        *(layers.Conv1D(6, 3), layers.Conv2D(6, (3, 2), groups=2), layers.Conv3D(6, 2, strides=2)),
        *(layers.DepthwiseConv1D(3), layers.DepthwiseConv2D(3, depth_multiplier=2), layers.SeparableConv2D(5, 3)),
        *(layers.Conv1DTranspose(5, 3, strides=2), layers.Conv2DTranspose(5, 3), layers.MaxPooling2D(2)),
        layers.GlobalAveragePooling2D(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_channels_first_is_channels_last(layer: layers.Layer) -> None:
    sides = (9, 8, 7)[: int(type(layer).__name__.removesuffix("Transpose")[-2])]
    config = layer.get_config()
    last = assert_three_ways(one(type(layer).from_config(config), (*sides, 4)))
    first = assert_three_ways(one(type(layer).from_config(config | {"data_format": "channels_first"}), (4, *sides)))
    assert (first.parameters, first.multiplications) == (last.parameters, last.multiplications)
    *positions, channels = last.rows[-1].output_shape
    assert first.rows[-1].output_shape == (channels, *positions)


def test_attention_counted_three_ways() -> None:
    heads = layers.MultiHeadAttention(3, key_dim=4, value_dim=5)
    assert_three_ways(one(lambda q, v: heads(q, v), (7, 6), (9, 8)))
    grouped = layers.GroupQueryAttention(4, 6, 3)
    assert_three_ways(one(lambda q, v: grouped(q, v), (7, 6), (9, 6)))
    dot = layers.Attention(use_scale=True)
    assert_three_ways(one(lambda q, v: dot([q, v]), (7, 6), (9, 6)))
    assert_three_ways(one(lambda q, v, k: layers.Attention()([q, v, k]), (7, 6), (9, 5), (9, 6)))
    separate = layers.MultiHeadAttention(2, key_dim=4, output_shape=11, use_bias=False)
    assert_three_ways(one(lambda q, v, k: separate(q, v, k), (7, 6), (9, 5), (9, 3)))
    table = assert_three_ways(one(lambda q: layers.MultiHeadAttention(2, 4)(q, q, use_causal_mask=True), (7, 6)))
    assert table.parameters == 3 * (6 + 1) * 8 + (8 + 1) * 6
    assert table.multiplications == 3 * 7 * 6 * 8 + 2 * 7 * 7 * (4 + 4) + 7 * 8 * 6


def test_attention_in_two_dimensions_and_on_masked_positions() -> None:
    assert_three_ways(one(lambda q: layers.MultiHeadAttention(2, 4)(q, q), (3, 5, 6)))
    inputs = keras.Input((7,), dtype="int32")
    x = layers.Embedding(10, 6, mask_zero=True)(inputs)
    assert_three_ways(keras.Model(inputs, layers.MultiHeadAttention(2, 4)(x, x)))


def test_merging_and_graph_operations_counted_three_ways() -> None:
    assert_three_ways(one(lambda a, b: layers.Concatenate()([a, layers.Add()([a, b])]), (4, 6), (4, 6)))
    assert_three_ways(one(lambda a, b: layers.Dot(axes=2)([a, b]), (4, 6), (5, 6)))
    assert_three_ways(one(lambda a, b: layers.Dot(axes=(2, 1), normalize=True)([a, b]), (4, 6), (6, 5)))
    merging = [layers.Multiply(), layers.Subtract(), layers.Average(), layers.Maximum(), layers.Minimum()]
    for layer in merging:
        assert assert_three_ways(one(lambda a, b, layer=layer: layer([a, b]), (4, 6), (4, 6))).multiplications == 0
    assert assert_three_ways(one(lambda a, b: (a + b) * a - a / b, (4, 6), (4, 6))).multiplications == 0
    table = assert_three_ways(one(lambda a, b: keras.ops.matmul(a + 1.0, b) * 2.0, (4, 6), (6, 5)))
    assert table.multiplications == 4 * 6 * 5
    table = assert_three_ways(one(lambda a, b: keras.ops.einsum("bij,bkj->bik", a, b), (4, 6), (5, 6)))
    assert table.multiplications == 4 * 6 * 5


def test_embeddings_take_integers() -> None:
    inputs = keras.Input((12,), dtype="int32")
    table = assert_three_ways(keras.Model(inputs, layers.Dense(3)(layers.Embedding(50, 16)(inputs))))
    assert table.multiplications == 12 * 16 * 3


# What simple closed forms get wrong: the totals are those that Keras and the compiled program agree on.
WRONG = {
    "additive attention": lambda: one(lambda q, v: layers.AdditiveAttention()([q, v]), (7, 6), (9, 6)),
    "attention along one axis": lambda: one(
        lambda q: layers.MultiHeadAttention(2, 4, attention_axes=(2,))(q, q), (3, 5, 6)
    ),
    "attention with a mask": lambda: one(
        lambda q, m: layers.MultiHeadAttention(2, 4)(q, q, attention_mask=m), (7, 6), (7, 7)
    ),
    "grouped attention with a mask": lambda: one(
        lambda q, m: layers.GroupQueryAttention(4, 6, 3)(q, q, attention_mask=m), (7, 6), (7, 7)
    ),
    "attention with named arguments": lambda: one(
        lambda q, v, k: layers.MultiHeadAttention(2, 4)(query=q, value=v, key=k), (7, 6), (9, 5), (9, 3)
    ),
    "attention to several axes": lambda: one(
        lambda q: layers.MultiHeadAttention(2, 4, output_shape=(3, 5))(q, q), (7, 6)
    ),
    "windows in the batch": lambda: one(
        lambda x: layers.Dense(5)(keras.ops.reshape(x, (-1, 16, 3))), (8, 8, 3)
    ),
    "products across the batch": lambda: one(lambda x: keras.ops.matmul(keras.ops.transpose(x), x), (6,)),
    "an einsum with an axis of one factor": lambda: one(
        lambda a, b: keras.ops.einsum("bij,bk->bk", a, b), (4, 5), (3,)
    ),
    "layer norm by the root mean square": lambda: one(layers.LayerNormalization(rms_scaling=True), (4, 5)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_counted_is_not_counted_wrong(name: str) -> None:
    assert_three_ways(WRONG[name]())


def test_a_closed_form_can_be_added() -> None:
    class Scaled(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    counts(Scaled)(lambda call: Count("twice"))

    class Inherits(Scaled):
        pass

    class Overrides(Scaled):
        def call(self, inputs: Any) -> Any:
            return inputs @ keras.ops.transpose(inputs)

    described = [layer_table(one(kind(), (3,))).rows[-1].description for kind in (Scaled, Inherits, Overrides)]
    assert described == ["Scaled: twice", "Inherits: twice", "Overrides: measured"]


def test_an_activation_of_ones_own_is_not_taken_for_one_without_products() -> None:
    def mixing(x: Any) -> Any:
        return x @ np.ones((4, 4), "float32")

    table = assert_three_ways(one(layers.Dense(4, activation=mixing), (3,)))
    assert table.multiplications == 3 * 4 + 4 * 4
    assert assert_three_ways(one(layers.Activation(mixing), (4,))).multiplications == 4 * 4


NAMED_PRODUCTS = {
    "dot": (lambda a: keras.ops.dot(a, ones(6, 3)), (4, 6), 4 * 6 * 3),
    "dot with a number": (lambda a: keras.ops.dot(a, ones()), (4, 6), 0),
    "tensordot": (lambda a: keras.ops.tensordot(a, ones(6, 3), 1), (4, 6), 4 * 6 * 3),
    "tensordot along named axes": (lambda a: keras.ops.tensordot(a, ones(4, 3), [[1], [0]]), (4, 6), 4 * 6 * 3),
    "inner": (lambda a: keras.ops.inner(a, a), (6,), 6),
    "vdot": (lambda a: keras.ops.vdot(a, a), (6,), 6),
    "conv": (lambda a: keras.ops.conv(a, ones(3, 3, 4, 6), strides=2, padding="same"), (9, 8, 4), 5 * 4 * 36 * 6),
    "depthwise conv": (lambda a: keras.ops.depthwise_conv(a, ones(3, 3, 4, 2)), (9, 8, 4), 7 * 6 * 9 * 8),
    "separable conv": (
        *(lambda a: keras.ops.separable_conv(a, ones(3, 3, 4, 2), ones(1, 1, 8, 5)), (9, 8, 4)),
        7 * 6 * (9 * 8 + 8 * 5),
    ),
    "attention": (lambda a: keras.ops.dot_product_attention(a, a, a), (7, 3, 4), 3 * 7 * 7 * (4 + 4)),
}


def ones(*shape: int) -> Any:
    return np.ones(shape, "float32")


@pytest.mark.parametrize("name", NAMED_PRODUCTS)
def test_products_by_name_have_a_closed_form(name: str) -> None:
    function, shape, multiplications = NAMED_PRODUCTS[name]
    table = assert_three_ways(one(function, shape))
    assert table.multiplications == multiplications
    assert "measured" not in table.rows[-1].description


@pytest.mark.parametrize("tied", [False, True])
def test_an_embedding_read_backwards_scores_every_vector(tied: bool) -> None:
    layer, inputs = layers.ReversibleEmbedding(20, 8, tie_weights=tied), keras.Input((5,), dtype="int32")
    table = assert_three_ways(keras.Model(inputs, layer(layer(inputs), reverse=True)))
    assert [row.multiplications for row in table.rows] == [0, 0, 5 * 8 * 20]
    assert [row.parameters for row in table.rows] == [0, 20 * 8 * (1 if tied else 2), 0]
