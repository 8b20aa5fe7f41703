from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keras import layers

from dlperf.accounting import alexnet, inception, receptive_field
from dlperf.accounting.layers import LayerTable
from dlperf.accounting.resnet import count_resnet
from dlperf.environment import cores
from dlperf.keras_accounting.compiled_program import count_compiled
from dlperf.keras_accounting.gradient_support import gradient_support, support_side
from dlperf.keras_accounting.layer_counts import Count, counts
from dlperf.keras_accounting.model_table import complete_inputs, layer_table
from dlperf.models import alexnet as alexnet_model
from dlperf.models import inception as inception_model
from dlperf.models.filter_stack import filter_stack
from dlperf.models.resnet import resnet
from dlperf.training.compiled_epoch import configure_runtime

# The layers below start the runtime, which tests of other files want configured.
configure_runtime(cores())


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What a test of large models has built is given back; to collect it takes a third of a second."""
    yield
    keras.backend.clear_session()


def assert_three_ways(model: keras.Model, *input_shape: int) -> LayerTable:
    """Closed form, Keras and the compiled program agree."""
    table = layer_table(model, input_shape)
    compiled = count_compiled(model, complete_inputs(model, input_shape))
    assert not table.not_counted
    assert table.parameters == model.count_params() == compiled.parameters + sum(compiled.not_read.values())
    assert table.multiplications == compiled.multiplications
    return table


def one(layer: Callable[..., Any], *shapes: tuple[int, ...]) -> keras.Model:
    inputs = [keras.Input(shape) for shape in shapes]
    return keras.Model(inputs, layer(*inputs))


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


@settings(max_examples=25, deadline=None)
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


@settings(max_examples=25, deadline=None)
@given(dilation=st.integers(1, 2), **CONVOLUTION)
def test_convolutions_counted_by_their_products(
    rank: int, sides: list[int], kernel: list[int], stride: int, dilation: int, groups: int, seen: int, filters: int
) -> None:
    """Without padding, so that every tap lies on a one; dilation too, which the compiled program does not show."""
    assume(stride == 1 or dilation == 1)
    assume(all((taps - 1) * dilation < side for taps, side in zip(kernel, sides, strict=True)))
    layer = getattr(layers, f"Conv{rank}D")(
        groups * filters, tuple(kernel[:rank]), strides=stride, dilation_rate=dilation, groups=groups, use_bias=False
    )
    model = one(layer, (*sides[:rank], groups * seen))
    table = layer_table(model)
    assert (table.parameters, table.multiplications) == (model.count_params(), products_of_ones(model))


@settings(max_examples=10, deadline=None)
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
    """TensorFlow compiles it on a CPU as space to batch, which pads, so that only the closed form is asked."""
    config = layer.get_config() | {"padding": padding}
    shape = (*[9] * len(layer.kernel_size), 4)
    dilated, plain = (one(type(layer).from_config(config | {"dilation_rate": rate}), shape) for rate in (2, 1))
    tables = layer_table(dilated), layer_table(plain)
    assert tables[0].parameters == tables[1].parameters == dilated.count_params()
    per_position = [table.multiplications / np.prod(table.rows[-1].output_shape[:-1]) for table in tables]
    assert per_position[0] == per_position[1]
    assert (tables[0].rows[-1].output_shape == tables[1].rows[-1].output_shape) == (padding == "same")
    assert count_compiled(dilated, complete_inputs(dilated)).multiplications is None


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


def test_attention_of_another_form_is_not_counted() -> None:
    concat = one(lambda q, v: layers.Attention(score_mode="concat")([q, v]), (7, 6), (9, 6))
    gated = one(lambda q: layers.GroupQueryAttention(4, 6, 3, use_gate=True)(q, q), (7, 6))
    for model in (concat, gated):
        table = layer_table(model)
        assert table.not_counted
        assert table.parameters == model.count_params()


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


@pytest.mark.parametrize("subscripts", ["...ij,...jk->...ik", "bij,bjk"])
def test_an_einsum_that_leaves_its_axes_open_is_not_counted(subscripts: str) -> None:
    assert layer_table(one(lambda a, b: keras.ops.einsum(subscripts, a, b), (4, 5), (5, 3))).not_counted


def test_embeddings_take_integers() -> None:
    inputs = keras.Input((12,), dtype="int32")
    table = assert_three_ways(keras.Model(inputs, layers.Dense(3)(layers.Embedding(50, 16)(inputs))))
    assert table.multiplications == 12 * 16 * 3


def test_nested_and_shared_layers_are_opened_and_counted_once() -> None:
    inner = keras.Sequential([keras.Input((None, 10)), layers.Dense(4), layers.ReLU()], name="inner")
    inputs = keras.Input((3, 10))
    x = inner(inputs)
    outputs = inner(layers.Dense(10)(x))
    table = assert_three_ways(keras.Model(inputs, outputs))
    names = [row.layer for row in table.rows]
    assert sum(name.startswith("inner/dense") for name in names) == 2
    shared = [row for row in table.rows if row.layer.startswith("inner/dense")]
    assert [row.parameters for row in shared] == [44, 0]
    assert [row.multiplications for row in shared] == [120, 120]
    assert shared[1].formula == "shared with its first call"


def test_a_model_called_twice_is_counted_like_its_layers() -> None:
    block = [layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization(), layers.PReLU(), layers.Dropout(0.5)]
    inner = keras.Sequential([keras.Input((8, 7, 3)), *block], name="block")
    inputs = keras.Input((8, 7, 3))
    once, twice = keras.Model(inputs, inner(inputs)), keras.Model(inputs, inner(inner(inputs)))
    tables = assert_three_ways(once), assert_three_ways(twice)
    assert tables[0].parameters == tables[1].parameters == 84 + 12 + 8 * 7 * 3
    assert 2 * tables[0].multiplications == tables[1].multiplications == 2 * 8 * 7 * 27 * 3


def test_models_are_opened_at_any_depth() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")], name="inmost")
    for name in ("middle", "outer"):
        inputs = keras.Input((4,))
        model = keras.Model(inputs, layers.Dense(4, name="dense")(model(inputs)), name=name)
    table = assert_three_ways(model)
    assert [row.layer for row in table.rows[-3:]] == ["middle/inmost/dense", "middle/dense", "dense"]
    assert table.multiplications == 12 + 12 + 16


def test_inputs_are_given_as_the_model_takes_them() -> None:
    a, b = keras.Input((4,), name="z"), keras.Input((5,), name="a")
    outputs = layers.Concatenate()([layers.Dense(2)(a), layers.Dense(3)(b)])
    for inputs in ({"z": a, "a": b}, [a, [b]], (b, a)):
        table = assert_three_ways(keras.Model(inputs, outputs))
        assert sorted(row.output_shape for row in table.rows if row.layer == "input") == [(4,), (5,)]
        assert table.multiplications == 4 * 2 + 5 * 3
    for inputs in ({"z": a}, [a], a):
        assert assert_three_ways(keras.Model(inputs, {"doubled": a * 2.0, "same": a})).activations == 4 + 4


def test_a_fixed_batch_is_counted_per_example() -> None:
    inputs = keras.Input(batch_shape=(8, 4))
    table = assert_three_ways(keras.Model(inputs, layers.Dense(3)(inputs)))
    assert (table.multiplications, table.activations) == (12, 4 + 3)


def test_half_precision_is_counted_alike() -> None:
    model = one(layers.Conv2D(3, 2, dtype="mixed_bfloat16"), (4, 4, 2))
    assert assert_three_ways(model).multiplications == 3 * 3 * 3 * 2 * 2 * 2


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("variant", alexnet.VARIANTS)
def test_alexnets_closed_form_is_its_keras_model(variant: alexnet.Variant) -> None:
    groups, bias = alexnet.VARIANTS[variant]
    model, closed = alexnet_model.alexnet(groups=groups, dense_bias=bias), alexnet.alexnet(variant)
    table = layer_table(model)
    kept = [row for row in table.rows if row.activations]
    assert [(row.output_shape, row.parameters, row.activations) for row in kept] == [
        (row.output_shape, row.parameters, row.activations) for row in closed.rows
    ]
    assert [row.formula for row in kept if row.layer.startswith("conv")] == [
        row.formula for row in closed.rows if row.layer.startswith("conv")
    ]
    assert table.multiplications == closed.multiplications


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("preset", inception.PRESETS)
def test_an_inception_modules_closed_form_is_its_keras_model(preset: str, reduced: bool) -> None:
    module = inception.PRESETS[preset]
    table = layer_table(inception_model.inception(module, reduced=reduced))
    closed = inception.inception(module, reduced=reduced)
    names = ("parameters", "activations", "multiplications")
    assert [getattr(table, name) for name in names] == [getattr(closed, name) for name in names]


def test_a_filter_stacks_closed_form_is_its_keras_model() -> None:
    for shape in ((3, 5, 32, 64), (1, 13, 32, 64), (2, 4, 9, 3)):
        table, closed = layer_table(filter_stack(*shape)), receptive_field.filter_stack(*shape)
        assert (table.parameters, table.activations) == (closed.parameters, closed.activations)
        assert table.multiplications == closed.multiplications


def test_a_resnet_layer_by_layer_is_its_closed_form() -> None:
    table, closed = layer_table(resnet(20, random_seed=0)), count_resnet(20)
    assert (table.parameters, table.multiplications) == (closed.num_params, closed.multiplications)


def test_layers_that_hand_on_add_no_activations() -> None:
    table = layer_table(one(lambda x: layers.Dropout(0.5)(layers.Flatten()(x)), (4, 5)))
    assert table.activations == 20
    assert [row.activations for row in table.rows] == [20, 0, 0]


def test_open_inputs_need_a_shape() -> None:
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layers.GlobalMaxPooling2D()(layers.Conv2D(4, 3)(inputs)))
    with pytest.raises(ValueError, match=r"takes inputs of \?x\?x3: give input_shape"):
        layer_table(model)
    with pytest.raises(ValueError, match=r"takes inputs of \?x\?x3, not of 8x8x4"):
        layer_table(model, (8, 8, 4))
    assert assert_three_ways(model, 8, 9, 3).multiplications == 6 * 7 * 27 * 4
    both = one(lambda a, b: a + b, (4,), (4,))
    with pytest.raises(ValueError, match="has 2 inputs"):
        layer_table(both, (4,))
    with pytest.raises(ValueError, match="is not built"):
        layer_table(keras.Sequential([layers.Dense(2)]))


@keras.saving.register_keras_serializable(package="tests")
class Doubled(layers.Layer):
    """Multiplies matrices on its own account, behind a layer that is known."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = layers.Dense(4)
        self.own = self.add_weight(shape=(4, 4), name="own")

    def call(self, inputs: Any) -> Any:
        return keras.ops.matmul(self.inner(inputs), self.own)


def test_what_is_not_known_is_listed_with_its_weights_and_never_zero() -> None:
    model = one(Doubled(), (3,))
    table = layer_table(model)
    (row,) = table.not_counted
    assert row.multiplications is None
    assert "not counted" in row.description
    assert row.parameters == 16
    assert table.parameters == model.count_params()


@pytest.mark.parametrize("layer", [layers.LSTM(4), layers.Lambda(lambda x: x * 2)], ids=["lstm", "lambda"])
def test_recurrent_layers_and_lambdas_are_not_counted(layer: layers.Layer) -> None:
    model = one(layer, (5, 3))
    table = layer_table(model)
    assert table.not_counted
    assert table.parameters == model.count_params()


def test_layers_inside_what_is_not_known_have_their_rows() -> None:
    """And their multiplications, though the sum is said to be incomplete."""
    model = one(lambda x: Doubled()(layers.Dense(3)(x)), (5, 3))
    rows = {row.description.partition(":")[0]: row for row in layer_table(model).rows if "input" not in row.layer}
    assert rows["Doubled"].multiplications is None
    assert "but for the layers inside it" in rows["Doubled"].description
    inside = [row for row in layer_table(model).rows if row.layer.startswith(f"{rows['Doubled'].layer}/")]
    assert [(row.parameters, row.multiplications) for row in inside] == [(3 * 4 + 4, 5 * 3 * 4)]


def test_a_model_of_its_own_class_is_not_counted_but_for_its_layers() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

    model = one(Own(), (4,))
    table = layer_table(model)
    assert [row.description for row in table.not_counted] == ["Own: not counted, but for the layers inside it"]
    assert (table.parameters, table.multiplications) == (model.count_params(), 12)


def test_wrappers_are_not_counted() -> None:
    for layer in (
        *(layers.TimeDistributed(layers.Dense(3)), layers.Bidirectional(layers.LSTM(3))),
        *(layers.SpectralNormalization(layers.Dense(3)), layers.GRU(3, return_sequences=True)),
    ):
        model = one(layer, (5, 4))
        table = layer_table(model)
        assert table.not_counted
        assert table.parameters == model.count_params()


# What the closed forms get wrong: the models' totals are those that Keras and the compiled program agree on.
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
    """Right, or not counted, and never wrong without a word."""
    model = WRONG[name]()
    table = layer_table(model)
    compiled = count_compiled(model, complete_inputs(model))
    assert table.parameters == model.count_params() == compiled.parameters
    assert table.not_counted or table.multiplications == compiled.multiplications


def test_a_closed_form_can_be_added() -> None:
    class Scaled(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    assert layer_table(one(Scaled(), (3,))).not_counted
    counts(Scaled)(lambda call: Count("twice"))
    assert not layer_table(one(Scaled(), (3,))).not_counted

    class Inherits(Scaled):
        pass

    class Overrides(Scaled):
        def call(self, inputs: Any) -> Any:
            return inputs @ keras.ops.transpose(inputs)

    assert not layer_table(one(Inherits(), (3,))).not_counted
    assert layer_table(one(Overrides(), (3,))).not_counted


@pytest.mark.parametrize(
    ("layers_", "kernel", "size"),
    [
        *((3, 5, 32), (1, 13, 32), (2, 3, 9), (4, 2, 7), (1, 1, 3), (20, 2, 21)),
        (30, 5, 121),
    ],
)
def test_what_a_stack_sees_measured(layers_: int, kernel: int, size: int) -> None:
    seen = support_side(gradient_support(filter_stack(layers_, kernel, size, 3)))
    assert seen == layers_ * kernel - layers_ + 1


def test_a_support_that_is_no_square_is_refused() -> None:
    square = np.zeros((6, 6), bool)
    with pytest.raises(ValueError, match="not a full square"):
        support_side(square)
    square[1:4, 2:5] = True
    assert support_side(square) == 3
    square[2, 3] = False
    with pytest.raises(ValueError, match="not a full square"):
        support_side(square)
    square[1:5, 2:5] = True
    with pytest.raises(ValueError, match="not a full square"):
        support_side(square)


# Parameters as Keras's documentation prints them. Multiplications: He et al. 2015, table 1 (3.8e9 of 3.858e9); Sandler
# et al. 2018, table 4 (300M); Tan and Le 2019, table 2 (0.39B); for the others torchvision's GFLOPS, which count these.
PUBLISHED = {
    "VGG19": (143_667_240, 19.632, 3),
    "ResNet50": (25_636_712, 3.858, 3),
    "MobileNetV2": (3_538_984, 0.30, 2),
    "EfficientNetB0": (5_330_571, 0.39, 2),
    "DenseNet121": (8_062_504, 2.834, 3),
    "InceptionV3": (23_851_784, 5.713, 3),
    "ConvNeXtTiny": (28_589_128, 4.456, 3),
}


@pytest.mark.slow
@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_totals(name: str) -> None:
    parameters, billions, digits = PUBLISHED[name]
    table = assert_three_ways(getattr(keras.applications, name)(weights=None))
    assert table.parameters == parameters
    assert round(table.multiplications / 1e9, digits) == billions
