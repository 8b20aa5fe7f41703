from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from dlperf.accounting.layers import LayerTable
from dlperf.compiled_count import count_compiled
from dlperf.gradient_support import gradient_support, support_side
from dlperf.keras_accounting.layer_counts import Count, counts
from dlperf.keras_accounting.model_table import complete_inputs, layer_table
from dlperf.models.filter_stack import filter_stack


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
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
    "conv2d groups": (layers.Conv2D(6, (3, 2), groups=2, use_bias=False), (9, 8, 4)),
    "conv3d": (layers.Conv3D(3, 2, strides=2), (5, 6, 7, 2)),
    "depthwise 1d": (layers.DepthwiseConv1D(3, depth_multiplier=2), (9, 4)),
    "depthwise 2d": (layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2), (9, 8, 4)),
    "separable 1d": (layers.SeparableConv1D(5, 3, depth_multiplier=2), (9, 4)),
    "separable 2d": (layers.SeparableConv2D(5, 3, use_bias=False), (9, 8, 4)),
    "transposed 1d": (layers.Conv1DTranspose(5, 3, strides=2), (9, 4)),
    "transposed 2d": (layers.Conv2DTranspose(5, 3, strides=2, padding="same"), (9, 8, 4)),
    "transposed 2d stride 1": (layers.Conv2DTranspose(5, 3), (9, 8, 4)),
    "transposed 3d": (layers.Conv3DTranspose(2, 2, strides=2), (3, 4, 5, 2)),
    "dense": (layers.Dense(7), (5,)),
    "dense on sequences": (layers.Dense(7, use_bias=False), (4, 5)),
    "einsum dense": (layers.EinsumDense("abc,cde->abde", (None, 3, 4), bias_axes="de"), (5, 6)),
    "batch norm": (layers.BatchNormalization(), (4, 4, 3)),
    "batch norm bare": (layers.BatchNormalization(scale=False, center=False), (4, 4, 3)),
    "layer norm": (layers.LayerNormalization(axis=(1, 2)), (4, 3)),
    "group norm": (layers.GroupNormalization(2), (4, 4, 6)),
    "rms norm": (layers.RMSNormalization(), (4, 3)),
    "unit norm": (layers.UnitNormalization(), (4, 3)),
    "prelu": (layers.PReLU(shared_axes=[1, 2]), (4, 4, 3)),
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


@settings(max_examples=15, deadline=None)
@given(
    size=st.integers(5, 9), kernel=st.integers(1, 3), stride=st.integers(1, 2), groups=st.integers(1, 2),
    seen=st.integers(1, 3), filters=st.integers(1, 3), padding=st.sampled_from(["valid", "same"]), bias=st.booleans(),
)  # fmt: skip
def test_convolutions_counted_three_ways(
    size: int, kernel: int, stride: int, groups: int, seen: int, filters: int, padding: str, bias: bool
) -> None:
    options = {"strides": stride, "groups": groups, "padding": padding, "use_bias": bias}
    assert_three_ways(one(layers.Conv2D(groups * filters, kernel, **options), (size, size + 1, groups * seen)))


def test_dilation_changes_the_output_and_not_the_filter() -> None:
    """TensorFlow compiles it on a CPU as space to batch, which pads, so that only the closed form is asked."""
    model = one(layers.Conv2D(6, 3, dilation_rate=2), (9, 8, 4))
    table = layer_table(model)
    assert table.rows[-1].output_shape == (5, 4, 6)
    assert (table.parameters, table.multiplications) == (model.count_params(), 5 * 4 * 6 * 3 * 3 * 4)
    assert count_compiled(model, complete_inputs(model)).multiplications is None


def test_channels_first_is_channels_last() -> None:
    """TensorFlow convolves channels first on GPUs only, so that only the closed form is asked."""
    last = layer_table(one(layers.Conv2D(6, 3, groups=2), (9, 8, 4)))
    inputs = keras.Input((4, 9, 8))
    layer = layers.Conv2D(6, 3, groups=2, data_format="channels_first")
    first = layer_table(keras.Model(inputs, layer(inputs)))
    assert (first.parameters, first.multiplications) == (last.parameters, last.multiplications)
    assert first.rows[-1].output_shape == (6, 7, 6)


def test_attention_counted_three_ways() -> None:
    heads = layers.MultiHeadAttention(3, key_dim=4, value_dim=5)
    assert_three_ways(one(lambda q, v: heads(q, v), (7, 6), (9, 8)))
    grouped = layers.GroupQueryAttention(4, 6, 3)
    assert_three_ways(one(lambda q, v: grouped(q, v), (7, 6), (9, 6)))
    dot = layers.Attention(use_scale=True)
    assert_three_ways(one(lambda q, v: dot([q, v]), (7, 6), (9, 6)))


def test_merging_and_graph_operations_counted_three_ways() -> None:
    assert_three_ways(one(lambda a, b: layers.Concatenate()([a, layers.Add()([a, b])]), (4, 6), (4, 6)))
    assert_three_ways(one(lambda a, b: layers.Dot(axes=2)([a, b]), (4, 6), (5, 6)))
    table = assert_three_ways(one(lambda a, b: keras.ops.matmul(a + 1.0, b) * 2.0, (4, 6), (6, 5)))
    assert table.multiplications == 4 * 6 * 5
    table = assert_three_ways(one(lambda a, b: keras.ops.einsum("bij,bkj->bik", a, b), (4, 6), (5, 6)))
    assert table.multiplications == 4 * 6 * 5


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


@pytest.mark.parametrize(("layers_", "kernel", "size"), [(3, 5, 32), (1, 13, 32), (2, 3, 9), (4, 2, 7)])
def test_what_a_stack_sees_measured(layers_: int, kernel: int, size: int) -> None:
    seen = support_side(gradient_support(filter_stack(layers_, kernel, size, 3)))
    assert seen == layers_ * kernel - layers_ + 1


# Parameters as Keras's documentation prints them. Multiplications: He et al. 2015, table 1 (3.8e9); Sandler et al.
# 2018, table 4 (300M); Tan and Le 2019, table 2 (0.39B); for the others torchvision's GFLOPS, which count these.
PUBLISHED = {
    "VGG19": (143_667_240, 19.632, 3),
    "ResNet50": (25_636_712, 3.9, 1),
    "MobileNetV2": (3_538_984, 0.30, 2),
    "EfficientNetB0": (5_330_571, 0.39, 2),
    "DenseNet121": (8_062_504, 2.834, 3),
    "InceptionV3": (23_851_784, 5.713, 3),
    "ConvNeXtTiny": (28_589_128, 4.456, 3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_totals(name: str) -> None:
    parameters, billions, digits = PUBLISHED[name]
    table = assert_three_ways(getattr(keras.applications, name)(weights=None))
    assert table.parameters == parameters
    assert round(table.multiplications / 1e9, digits) == billions
