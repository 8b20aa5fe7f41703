"""What has no closed form: recurrent layers, wrappers, preprocessing, adapters, quantised layers and a user's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from dlperf.accounting.layers import LayerTable
from dlperf.keras_accounting.calls import Call, traced
from dlperf.keras_accounting.compiled_program import count_compiled
from dlperf.keras_accounting.measured import may_have_products
from dlperf.keras_accounting.model_table import complete_inputs, layer_table
from tests.support.three_ways import assert_three_ways, one

GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("name", GATES)
def test_a_recurrent_layer_counts_every_step_and_what_it_puts_out(name: str, sequences: bool) -> None:
    table = assert_three_ways(one(getattr(layers, name)(5, return_sequences=sequences), (70, 12)))
    assert table.multiplications == 70 * (12 + 5) * 5 * GATES[name]
    assert table.activations == 70 * 12 + (70 * 5 if sequences else 5)  # LSTM: 1,190 and 845
    assert table.rows[-1].description == f"{name}: measured"


def test_states_that_are_put_out_count() -> None:
    def with_states(x: Any) -> Any:
        return layers.LSTM(5, return_state=True)(x)

    assert layer_table(one(with_states, (7, 4))).activations == 7 * 4 + 3 * 5


RECURRENT: dict[str, tuple[Callable[[], Any], tuple[int, ...], int]] = {
    "backwards and unrolled": (
        lambda: layers.SimpleRNN(5, go_backwards=True, unroll=True),
        (7, 3),
        7 * (3 + 5) * 5,
    ),
    "both ways": (lambda: layers.Bidirectional(layers.GRU(4)), (9, 5), 2 * 9 * (5 + 4) * 4 * 3),
    "cells on cells": (
        lambda: layers.RNN(layers.StackedRNNCells([layers.LSTMCell(3), layers.GRUCell(4)])),
        (6, 5),
        6 * ((5 + 3) * 3 * 4 + (3 + 4) * 4 * 3),
    ),
    "convolutions": (
        lambda: layers.ConvLSTM2D(3, 3),
        (5, 8, 8, 2),
        5 * 6 * 6 * 9 * (2 + 3) * 12,
    ),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrence_of_every_kind(name: str) -> None:
    layer, shape, multiplications = RECURRENT[name]
    assert assert_three_ways(one(layer(), shape)).multiplications == multiplications


def test_a_mask_changes_no_count() -> None:
    masked = one(lambda x: layers.LSTM(5)(layers.Masking()(x)), (7, 12))
    assert assert_three_ways(masked).multiplications == 7 * (12 + 5) * 20


def test_a_layer_at_every_step() -> None:
    table = assert_three_ways(one(layers.TimeDistributed(layers.Dense(5)), (7, 12)))
    assert (table.multiplications, table.activations) == (420, 7 * 12 + 7 * 5)
    convolution = layers.TimeDistributed(layers.Conv2D(3, 3, padding="same"))
    assert assert_three_ways(one(convolution, (4, 6, 5, 2))).multiplications == 4 * 6 * 5 * 9 * 2 * 3


def test_wrappers_have_their_weights_and_products() -> None:
    table = assert_three_ways(one(layers.SpectralNormalization(layers.Dense(3)), (5, 4)))
    assert (table.multiplications, table.parameters) == (5 * 4 * 3, 4 * 3 + 3 + 3)


def test_functions_between_layers_need_no_entry() -> None:
    activations = ("relu", "softmax", "silu", "gelu", "tanh", "hard_sigmoid", "elu", "leaky_relu")
    for name in activations:
        table = assert_three_ways(
            one(lambda x, name=name: layers.Dense(3)(getattr(keras.activations, name)(x)), (7, 12))
        )
        assert table.multiplications == 7 * 12 * 3
    elementwise = (keras.ops.sin, keras.ops.cumsum, keras.ops.sort, keras.ops.argmax, keras.ops.isnan, keras.ops.flip,
                   keras.ops.logsumexp, keras.ops.sign, keras.ops.std)  # fmt: skip
    for function in elementwise:
        assert assert_three_ways(one(function, (7, 12))).multiplications == 0


@pytest.mark.parametrize("how", ["nearest", "bilinear"])
def test_interpolation_is_no_product_of_weights(how: str) -> None:
    def enlarged(x: Any) -> Any:
        return layers.Conv2D(3, 3, padding="same")(layers.UpSampling2D(2, interpolation=how)(x))

    assert assert_three_ways(one(enlarged, (8, 8, 4))).multiplications == 27_648
    assert assert_three_ways(one(layers.Resizing(5, 7, interpolation=how), (8, 8, 4))).multiplications == 0


def test_interpolation_that_xla_cannot_compile_has_no_products_either() -> None:
    table = layer_table(one(layers.UpSampling2D(2, interpolation="bicubic"), (8, 8, 4)))
    assert (table.multiplications, table.at_least) == (0, ())


def test_random_layers_hand_on_at_inference() -> None:
    random = [layers.RandomFlip(), layers.RandomRotation(0.1), layers.RandomZoom(0.1)]
    rest = [layers.Conv2D(10, 3), layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(10)]
    model = keras.Sequential([keras.Input((32, 32, 3)), *random, *rest])
    table = assert_three_ways(model)
    assert [row.activations for row in table.rows[1:4]] == [0, 0, 0]
    assert table.activations == 32 * 32 * 3 + 30 * 30 * 10 + 15 * 15 * 10 + 10
    for layer in (layers.GaussianNoise(0.1), layers.AlphaDropout(0.1), layers.SpatialDropout2D(0.1)):
        assert layer_table(one(layer, (4, 4, 3))).activations == 4 * 4 * 3


def test_text_is_counted_with_the_rest() -> None:
    vectorized = layers.TextVectorization(2000, output_sequence_length=500)
    vectorized.adapt(["to be or not to be"])
    rest = [
        *(layers.Embedding(2000, 128), layers.Conv1D(128, 7, strides=3), layers.Conv1D(128, 7, strides=3)),
        *(layers.GlobalMaxPooling1D(), layers.Dense(128), layers.Dense(1)),
    ]
    model = keras.Sequential([keras.Input((), dtype="string"), vectorized, *rest])
    table = layer_table(model)
    assert (table.multiplications, table.activations) == (25_018_496, 92_662)
    assert table.parameters == model.count_params()
    assert not table.at_least
    with pytest.raises(ValueError, match=r"^XLA cannot compile it: .+$"):  # strings are no part of its programs
        count_compiled(traced(model, complete_inputs(model)))


def test_what_only_the_data_say_is_not_known_and_the_sum_is_at_least() -> None:
    vectorized = layers.TextVectorization(20)  # as long as the longest text
    vectorized.adapt(["to be"])
    rest = [layers.Embedding(20, 8), layers.Conv1D(4, 3), layers.GlobalMaxPooling1D(), layers.Dense(3)]
    table = layer_table(keras.Sequential([keras.Input((), dtype="string"), vectorized, *rest]))
    assert table.at_least == ("activations", "multiplications")
    assert [row.activations for row in table.rows] == [1, None, None, None, 4, 3]
    assert [row.multiplications for row in table.rows] == [0, 0, 0, None, 0, 4 * 3]
    assert (table.activations, table.multiplications) == (8, 12)


def test_adapters_are_counted_beside_the_plain_layer() -> None:
    dense = layers.Dense(16)
    model = keras.Sequential([keras.Input((8,)), dense, layers.Dense(4)])
    dense.enable_lora(2)
    table = assert_three_ways(model)
    assert (table.parameters, table.altered) == (260, 48)
    assert table.multiplications == 8 * 16 + 8 * 2 * 16 + 16 * 4
    assert table.rows[1].description == "Dense: LoRA of rank 2 (+48 parameters), measured"


@pytest.mark.parametrize(
    ("layer", "shape", "dtype"),
    [
        (lambda: layers.Conv2D(6, 3), (8, 8, 4), None),
        (lambda: layers.EinsumDense("abc,cd->abd", (None, 7)), (5, 6), None),
        (lambda: layers.Embedding(20, 8), (5,), "int32"),
    ],
    ids=["conv", "einsum", "embedding"],
)
def test_adapters_of_other_layers(layer: Callable[[], Any], shape: tuple[int, ...], dtype: str | None) -> None:
    adapted = layer()
    model = keras.Sequential([keras.Input(shape, dtype=dtype), adapted])
    plain = model.count_params()
    adapted.enable_lora(2)
    table = assert_three_ways(model)
    assert table.altered == model.count_params() - plain > 0


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_quantised_layers_have_the_weights_that_keras_counts(mode: str) -> None:
    plain = (8 + 1) * 16 + (16 + 1) * 4
    model = keras.Sequential([keras.Input((8,)), layers.Dense(16), layers.Dense(4)])
    model.quantize(mode)
    table = assert_three_ways(model)
    assert table.altered == model.count_params() - plain != 0
    assert table.multiplications == 8 * 16 + 16 * 4
    assert mode in table.rows[1].description


def test_what_quantisation_changed_is_told_of_layers_in_wrappers_too() -> None:
    inside = keras.Sequential([layers.Dense(6), layers.Dense(4)])
    model = one(lambda x: layers.TimeDistributed(inside)(layers.TimeDistributed(layers.Dense(8))(x)), (5, 16))
    plain = model.count_params()
    model.quantize("int8")
    assert assert_three_ways(model).altered == model.count_params() - plain != 0


def test_a_weight_that_two_layers_share_counts_once() -> None:
    embedding = layers.Embedding(20, 8)
    inputs = keras.Input((5,), dtype="int32")

    class Scores(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = embedding

        def call(self, x: Any) -> Any:
            return x @ keras.ops.transpose(self.embedding.embeddings)

    model = keras.Model(inputs, Scores()(embedding(inputs)))
    assert assert_three_ways(model).parameters == model.count_params() == 20 * 8


@keras.saving.register_keras_serializable(package="tests")
class Doubled(layers.Layer):
    """Multiplies matrices on its own account, behind a layer that is known."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = layers.Dense(4)
        self.own = self.add_weight(shape=(4, 4), name="own")

    def call(self, inputs: Any) -> Any:
        return keras.ops.matmul(self.inner(inputs), self.own)


def test_a_users_layer_is_opened_and_its_own_part_measured() -> None:
    table = assert_three_ways(one(lambda x: Doubled()(layers.Dense(3)(x)), (5, 3)))
    own, inside = table.rows[2:]
    assert own.description == "Doubled: without the layers inside it, which follow, measured"
    assert (own.parameters, own.activations, own.multiplications) == (16, 5 * 4, 5 * 4 * 4)
    assert inside.layer.startswith(f"{own.layer}/")
    assert (inside.parameters, inside.activations, inside.multiplications) == (3 * 4 + 4, 5 * 4, 5 * 3 * 4)


def test_an_operation_of_ones_own_inside_a_layer_is_part_of_it() -> None:
    class Squared(keras.Operation):
        def call(self, x: Any) -> Any:
            return x @ x

    class Both(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.squared = layers.Dense(5), Squared()

        def call(self, inputs: Any) -> Any:
            return self.squared(self.dense(inputs))

    table = assert_three_ways(one(lambda x: Both()(x), (5, 3)))
    assert [row.multiplications for row in table.rows] == [0, 5 * 5 * 5, 5 * 3 * 5]


def test_a_model_of_its_own_class_is_its_layers() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

    table = assert_three_ways(one(Own(), (4,)))
    assert [(row.activations, row.multiplications) for row in table.rows] == [(4, 0), (0, 0), (3, 12)]


class Loop(layers.Layer):
    """Calls a layer in a loop, as often as a function of Keras says."""

    def __init__(self, loop: Callable[[Callable[[Any], Any], Any], Any]) -> None:
        super().__init__()
        self.loop, self.dense = loop, layers.Dense(4)

    def build(self, shape: Any) -> None:
        self.dense.build(shape)
        super().build(shape)

    def call(self, inputs: Any) -> Any:
        return self.loop(self.dense, inputs)


LOOPS: dict[str, tuple[Callable[[Any, Any], Any], int | None]] = {
    "counted": (lambda step, x: keras.ops.fori_loop(0, 3, lambda i, h: step(h), x), 3 * 16),
    "until the data say so": (
        lambda step, x: keras.ops.while_loop(lambda h: keras.ops.sum(h) < 3, lambda h: (step(h),), (x,))[0],
        None,
    ),
    "over nothing": (lambda step, x: keras.ops.fori_loop(0, 0, lambda i, h: step(h), x), 0),
    "in a loop": (
        lambda step, x: keras.ops.fori_loop(0, 3, lambda i, h: keras.ops.fori_loop(0, 2, lambda j, g: step(g), h), x),
        6 * 16,
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_counts_its_turns_where_they_follow_from_shapes(name: str) -> None:
    loop, multiplications = LOOPS[name]
    model = one(Loop(loop), (4,))
    table = layer_table(model)
    assert table.rows[-1].multiplications == multiplications
    assert table.parameters == model.count_params() == 20
    assert count_compiled(traced(model, complete_inputs(model))).multiplications == multiplications


@pytest.mark.parametrize(
    "function",
    [lambda x: keras.ops.fft((x, x))[0], lambda x: keras.ops.linalg.inv(x), lambda x: keras.ops.linalg.cholesky(x)],
    ids=["transform", "inverse", "factors"],
)
def test_solvers_and_transforms_are_not_known(function: Callable[[Any], Any]) -> None:
    table = layer_table(one(function, (4, 4)))
    assert table.at_least == ("multiplications",)
    assert "not known" in table.rows[-1].description


def test_code_that_xla_cannot_see_is_not_known() -> None:
    import tensorflow as tf

    def hidden(x: Any) -> Any:
        result = tf.numpy_function(lambda a: a @ np.ones((4, 4), "float32"), [x], tf.float32)
        result.set_shape((1, 4))
        return result

    table = layer_table(one(layers.Lambda(hidden, output_shape=(4,)), (4,)))
    assert (table.rows[-1].multiplications, table.activations) == (None, 8)


def test_inference_that_fails_is_said_in_one_line() -> None:
    class Fails(layers.Layer):
        def call(self, inputs: Any) -> Any:
            if not isinstance(inputs, keras.KerasTensor) and inputs.shape[0] == 1:
                raise RuntimeError("no single examples")
            return inputs

    with pytest.raises(ValueError, match=r"^cannot be called on one example: .*no single examples") as raised:
        layer_table(one(Fails(), (4,)))
    assert "\n" not in str(raised.value)


def test_every_operation_of_tensorflow_that_multiplies_matrices_may_have_products() -> None:
    """By their names in its registry: a new one with a usual name is not taken for one without."""
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session

    registry = op_def_pb2.OpList()
    registry.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    names = {operation.name for operation in registry.op}
    assert len(names) > 1_000
    multiplying = re.compile(
        r"mat_?mul|einsum|conv\dd|conv(olution)?$|dot$|rnn|lstm|cholesky|fft|solve|pyfunc|while", re.I
    )
    for name in names:
        call = Call(None, ((), {}), graph_types=frozenset([name]))
        assert may_have_products(call) or not multiplying.search(name), name
    common = ("Relu", "AddV2", "Mean", "ConcatV2", "GatherV2", "FusedBatchNormV3", "ResizeBilinear", "Cast", "TopKV2",
              "StringSplitV2", "LookupTableFindV2", "Softmax", "MaxPool", "Igamma", "CumulativeLogsumexp")  # fmt: skip
    assert set(common) < names
    assert not may_have_products(Call(None, ((), {}), graph_types=frozenset(common)))


def total(table: LayerTable) -> tuple[int, int, int]:
    return table.parameters, table.activations, table.multiplications


def test_a_layer_that_is_called_on_other_shapes_is_measured_for_each() -> None:
    layer = layers.LSTM(3)
    model = one(lambda a, b: layer(a) + layer(b), (5, 4), (9, 4))
    assert assert_three_ways(model).multiplications == (5 + 9) * (4 + 3) * 12
    assert total(layer_table(model)) == ((4 + 3 + 1) * 12, 5 * 4 + 9 * 4 + 3 * 3, 14 * 7 * 12)
