"""Models that users bring: what of them follows from the random seed, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from dlperf.errors import BadInput
from dlperf.models import model_file
from dlperf.models.own_model import check, plain, trainable
from dlperf.models.reference import ModelReference, OwnModel, digest, path_in
from dlperf.processor import cores
from dlperf.training.compiled_epoch import configure_runtime

configure_runtime(cores())
SHAPE, CLASSES = (8, 8, 3), 4
OWN_LAYERS = """
import keras, numpy

@keras.saving.register_keras_serializable(package="own")
class Noisy(keras.layers.Layer):
    def call(self, inputs, training=False):
        return inputs + keras.random.normal(keras.ops.shape(inputs)) if training else inputs

@keras.saving.register_keras_serializable(package="own")
class Fixed(keras.layers.Layer):
    def build(self, shape):
        seeded = keras.initializers.GlorotUniform(seed=5)
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), initializer=seeded, name="kernel")
    def call(self, inputs):
        return inputs @ self.kernel
"""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """The model that was loaded last is not taken for the next test's."""
    for cached in (model_file.loaded, check):
        cached.cache_clear()
    yield
    model_file.loaded.cache_clear()


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., OwnModel]:
    """Saves what a user might bring: layers one behind the other between an input and ten outputs."""

    def saved(*inside: Any, shape: tuple[int, ...] = SHAPE, outputs: Any = None, **options: Any) -> OwnModel:
        file = tmp_path / options.pop("name", "my.keras")
        last = outputs or layers.Dense(CLASSES, "softmax")
        keras.Sequential([keras.Input(shape), *inside, layers.Flatten(), last]).save(file)
        return own(f"keras:{file}", **options)

    return saved


def own(written: str, **options: Any) -> OwnModel:
    settings = {
        "custom": "",
        "keep_weights": False,
        "shape": SHAPE,
        "classes": CLASSES,
        "data": "dataset=some",
    }
    return OwnModel(ModelReference("model", written), **{**settings, **options})


def weights(own: OwnModel, random_seed: int) -> list[np.ndarray]:
    return [v.numpy() for v in trainable(own, random_seed).network.variables]


def equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_weights_and_random_layers_follow_from_the_seed_alone(save: Callable[..., OwnModel]) -> None:
    model = save(layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Dropout(0.5, seed=3))
    first = weights(model, 0)
    keras.layers.Dense(3).build((1, 2))  # draws from Keras's own seeds
    assert equal(first, weights(model, 0))
    other = weights(model, 1)
    assert not equal(first[:1], other[:1])
    generators = [[w for w in drawn if w.dtype != np.float32] for drawn in (first, other)]
    assert generators[0]
    assert not equal(*generators)
    assert check(model) == ()


def test_the_files_weights_are_kept_where_they_are_asked_for(save: Callable[..., OwnModel]) -> None:
    model = save(layers.Conv2D(4, 3, kernel_initializer="ones"), keep_weights=True)
    saved = model_file.loaded(model.reference).get_weights()
    assert equal(trainable(model, 5).network.get_weights(), saved)
    assert not equal(trainable(own(model.reference.written), 5).network.get_weights(), saved)
    assert digest(model.reference, with_weights=True) != digest(model.reference, with_weights=False)


def test_statistics_of_the_data_stay_with_fresh_weights(save: Callable[..., OwnModel]) -> None:
    adapted = layers.Normalization()
    adapted.adapt(np.random.default_rng(0).random((50, *SHAPE)) * 7)
    built = trainable(save(adapted), 0)
    inputs = np.ones((1, *SHAPE), "float32")
    normalised = next(layer for layer in built.network._flatten_layers() if isinstance(layer, layers.Normalization))
    assert np.allclose(normalised(inputs), adapted(inputs))
    assert built.scales_inputs


def test_softmax_is_taken_off_and_put_back(save: Callable[..., OwnModel]) -> None:
    inputs = np.random.default_rng(0).random((5, *SHAPE), np.float32)
    ends = {
        "activation": (layers.Dense(CLASSES, "softmax"), "softmax"),
        "layer": (keras.Sequential([layers.Dense(CLASSES), layers.Softmax()]), "softmax"),
        "inner": (keras.Sequential([layers.Dense(CLASSES), layers.Dense(CLASSES, "softmax")]), "softmax"),
        "logits": (layers.Dense(CLASSES), "logits"),
    }
    for name, (last, kind) in ends.items():
        model = save(outputs=last, name=f"{name}.keras")
        built = trainable(model, 0)
        whole = plain(model, built.network)
        assert built.outputs == kind, name
        logits, outputs = np.asarray(built.network(inputs)), np.asarray(whole(inputs))
        expected = np.asarray(keras.ops.softmax(logits)) if kind == "softmax" else logits
        assert np.allclose(outputs, expected, rtol=1e-5, atol=1e-6), name


def test_images_come_to_a_model_of_vectors_as_vectors(save: Callable[..., OwnModel]) -> None:
    model = save(shape=(8 * 8 * 3,))
    built = trainable(model, 0)
    inputs = np.random.default_rng(0).random((5, *SHAPE), np.float32)
    assert built.network.input_shape == (None, *SHAPE)
    assert np.asarray(plain(model, built.network)(inputs)).shape == (5, CLASSES)
    assert not built.scales_inputs


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"shape": (9, 9, 3)}, "takes inputs of 9 x 9 x 3, but dataset=some has 8 x 8 x 3"),
        ({"outputs": layers.Dense(7)}, "has outputs of 7, but dataset=some has 4 classes"),
        ({"outputs": layers.Dense(1, "sigmoid")}, "has outputs of 1, but dataset=some has 4 classes"),
        ({"outputs": layers.Dense(CLASSES, "sigmoid")}, "ends in sigmoid, must end in softmax, or in logits"),
        ({"outputs": keras.Sequential([layers.Dense(CLASSES), layers.ReLU()])}, "ends in relu, must end in softmax"),
        ({"outputs": layers.Dense(CLASSES, trainable=False)}, "has no weights to train: they are frozen"),
        ({"outputs": layers.Dense(CLASSES, dtype="float64")}, "has weights of float64, must be float32"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(save: Callable[..., OwnModel], given: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as raised:
        check(save(**given))
    assert str(raised.value).startswith("model=keras:")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_several_inputs_or_outputs_are_refused(tmp_path: Path) -> None:
    inputs = keras.Input(SHAPE)
    flat = layers.Flatten()(inputs)
    two = keras.Model(inputs, [layers.Dense(CLASSES)(flat), layers.Dense(CLASSES)(flat)])
    two.save(tmp_path / "two.keras")
    keras.Model([inputs, keras.Input(SHAPE)], layers.Dense(CLASSES)(flat)).save(tmp_path / "inputs.keras")
    for name, words in (("two", "has 2 outputs, must have one"), ("inputs", "has 2 inputs, must have one")):
        with pytest.raises(BadInput, match=words):
            check(own(f"keras:{tmp_path}/{name}.keras"))


def test_seeds_of_its_own_are_named(save: Callable[..., OwnModel]) -> None:
    seeded = layers.Conv2D(4, 3, kernel_initializer=keras.initializers.HeNormal(seed=42), name="first")
    model = save(seeded, layers.Dense(5, trainable=False, name="still"))
    assert check(model) == (
        "the seed 42 of first's HeNormal is replaced by one that follows from random_seed",
        "still is frozen at fresh weights: weights=file keeps the file's",
    )
    assert not equal(weights(model, 0)[:1], weights(model, 1)[:1])


def test_layers_of_ones_own_that_cannot_be_repeated_or_start_alike_are_named(tmp_path: Path) -> None:
    module = tmp_path / "own_layers.py"
    module.write_text(OWN_LAYERS)
    made = model_file._imported(str(module))
    for name in ("Noisy", "Fixed"):
        layer = getattr(made, name)(name=name.lower())
        model = keras.Sequential([keras.Input(SHAPE), layer, layers.Flatten(), layers.Dense(CLASSES)])
        model.save(tmp_path / f"{name}.keras")
    with pytest.raises(BadInput, match=r"layer noisy draws random numbers from elsewhere"):
        check(own(f"keras:{tmp_path}/Noisy.keras", custom=str(module)))
    (note,) = check(own(f"keras:{tmp_path}/Fixed.keras", custom=str(module)))
    assert note.endswith("fixed/kernel starts alike with every random_seed: its seed is in the class's code")


def test_code_in_a_file_is_not_run(save: Callable[..., OwnModel]) -> None:
    with pytest.raises(BadInput, match="has a Lambda layer that is Python code in the file, which is not run"):
        check(save(layers.Lambda(lambda x: x * 2, output_shape=SHAPE)))


@pytest.mark.slow
def test_a_model_of_keras_applications() -> None:
    model = own("keras:MobileNet", shape=(32, 32, 3))
    assert check(model) == ()


def test_an_application_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(BadInput, match=r"keras\.applications has no such model; did you mean keras:MobileNetV2"):
        check(own("keras:MobilNetV2"))
    with pytest.raises(BadInput, match=r"cannot be built for dataset=some: .*at least"):
        check(own("keras:InceptionV3"))


def test_the_digest_is_of_the_architecture_wherever_it_lies(save: Callable[..., OwnModel], tmp_path: Path) -> None:
    first = save(layers.Conv2D(4, 3, name="a"), layers.Dropout(0.5, name="b"), outputs=layers.Dense(4, name="c"))
    reference = first.reference
    assert reference.file
    before = digest(reference, with_weights=False)
    moved = tmp_path / "other.keras"
    moved.write_bytes(reference.file.read_bytes())
    assert digest(ModelReference("model", f"keras:{moved}"), with_weights=False) == before
    trained = keras.models.load_model(moved)
    trained.compile("adam", "mse")
    trained.set_weights([w + 1 for w in trained.get_weights()])
    trained.save(moved)
    os.utime(moved, (0, 0))
    assert digest(ModelReference("model", f"keras:{moved}"), with_weights=False) == before
    assert digest(ModelReference("model", f"keras:{moved}"), with_weights=True) != before
    trained.save(tmp_path / "old.h5")
    old = ModelReference("model", f"keras:{tmp_path}/old.h5")
    assert len({digest(old, with_weights=False), digest(old, with_weights=True), before}) == 3
    assert path_in(reference.written) == str(reference.file)
    assert path_in("keras:ResNet50") == path_in("course") == ""
