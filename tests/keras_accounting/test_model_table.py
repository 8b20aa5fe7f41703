"""Whole models, layer by layer: nested and shared ones, published totals, and what is not counted."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest
from keras import layers

from dlperf.accounting import alexnet, inception, receptive_field
from dlperf.accounting.resnet import count_resnet
from dlperf.keras_accounting.model_table import layer_table
from dlperf.models import alexnet as alexnet_model
from dlperf.models import inception as inception_model
from dlperf.models.filter_stack import filter_stack
from dlperf.models.resnet import resnet
from dlperf.processor import cores
from dlperf.training.compiled_epoch import configure_runtime
from tests.support.three_ways import assert_three_ways, one

# The layers below start the runtime, which tests of other files want configured.
configure_runtime(cores())


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What a test of large models has built is given back; to collect it takes a third of a second."""
    yield
    keras.backend.clear_session()


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
    model, closed = alexnet_model.alexnet(**alexnet.VARIANTS[variant]._asdict()), alexnet.alexnet(variant)
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
    with pytest.raises(ValueError, match=r"does not say what it takes: save keras.Model\(inputs, model\(inputs\)\)"):
        layer_table(keras.Sequential([layers.Dense(2)]))


def test_a_model_of_a_class_of_its_own_is_counted_on_what_it_was_built_on() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.recurrent = layers.Dense(3), layers.LSTM(2)

        def call(self, inputs: dict[str, keras.KerasTensor]) -> keras.KerasTensor:
            return self.recurrent(self.dense(inputs["texts"])) + inputs["more"]

    model = Own()
    model({"texts": np.ones((8, 7, 4)), "more": np.ones((8, 2))})
    table = assert_three_ways(model)
    assert table.multiplications == 7 * 4 * 3 + 7 * (3 + 2) * 2 * 4
    assert [row.output_shape for row in table.rows[:2]] == [(2,), (7, 4)]


def test_a_deep_network_of_products_of_activations_is_counted_at_once() -> None:
    """What a factor comes from is looked at once, though there are 2^40 ways through forty additions."""

    def network(x: keras.KerasTensor) -> keras.KerasTensor:
        for _ in range(40):
            x = x + keras.ops.relu(x)
        return keras.ops.matmul(x, x)

    assert assert_three_ways(one(network, (4, 4))).multiplications == 4 * 4 * 4


def test_several_open_inputs_get_their_shapes_by_name() -> None:
    encoder, decoder = keras.Input((None, 6), name="encoder"), keras.Input((None, 6), name="decoder")
    fixed = keras.Input((6,), name="fixed")
    outputs = layers.Dot(axes=2)([encoder, decoder])
    model = keras.Model([encoder, decoder, fixed], [outputs, layers.Dense(2)(fixed)])
    advice = "encoder:20x6;decoder:20x6"
    with pytest.raises(ValueError, match=rf"for encoder inputs of \?x6: give input_shape by name, as {advice}$"):
        layer_table(model)
    with pytest.raises(ValueError, match=rf"has 3 inputs: give input_shape by name, as {advice}$"):
        layer_table(model, (20, 6))
    with pytest.raises(ValueError, match="takes for decoder inputs of"):
        layer_table(model, {"encoder": (20, 6)})
    with pytest.raises(
        ValueError, match=r"has no input enkoder; did you mean encoder\? \(inputs: encoder, decoder, fixed"
    ):
        layer_table(model, {"encoder": (20, 6), "decoder": (10, 6), "enkoder": (1, 6)})
    with pytest.raises(ValueError, match=r"takes for fixed inputs of 6, not of 7"):
        layer_table(model, {"encoder": (20, 6), "decoder": (10, 6), "fixed": (7,)})
    table = layer_table(model, {"encoder": (20, 6), "decoder": (10, 6)})
    assert table.multiplications == 20 * 10 * 6 + 6 * 2
    named = one(lambda x: layers.Dense(2)(x), (None, 4))
    assert layer_table(named, {named.inputs[0].name: (5, 4)}).multiplications == 5 * 4 * 2


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


# Araujo, Norris and Sim 2019, "Computing receptive fields of convolutional neural networks", table 1.
RECEPTIVE_FIELDS = {"VGG16": 212, "ResNet50": 483, "MobileNet": 315, "InceptionV3": 1311}


@pytest.mark.slow
@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("name", RECEPTIVE_FIELDS)
def test_published_receptive_fields(name: str) -> None:
    table = layer_table(getattr(keras.applications, name)(weights=None))
    assert [row.receptive_field for row in table.rows if row.receptive_field][-1] == RECEPTIVE_FIELDS[name]


def test_receptive_fields_follow_windows_and_end_where_positions_are_mixed() -> None:
    def network(x: keras.KerasTensor) -> keras.KerasTensor:
        x = layers.Conv2D(4, (1, 3), padding="same")(x)
        wide = layers.Conv2D(4, 3, dilation_rate=2, padding="same")(x)
        x = layers.Add()([x, layers.ReLU()(layers.BatchNormalization()(wide))])
        x = layers.MaxPooling2D(2)(x)
        x = layers.Dense(5)(layers.Dropout(0.5)(x))
        x = layers.Conv2D(4, 3)(x)
        return layers.Dense(2)(layers.Flatten()(x))

    table = layer_table(one(network, (16, 16, 3)))
    known = [row.receptive_field for row in table.rows]
    assert known == [None, 3, 7, 7, 7, 7, 8, 8, 8, 12, None, None]
    assert [row.receptive_field for row in layer_table(filter_stack(3, 5, 32, 4)).rows][1:] == [5, 9, 13]
    reshaped = one(lambda x: layers.Conv2D(1, 3)(layers.Reshape((4, 16, 1))(layers.Conv2D(1, 3)(x))), (10, 10, 1))
    assert [row.receptive_field for row in layer_table(reshaped).rows] == [None, 3, None, None]
