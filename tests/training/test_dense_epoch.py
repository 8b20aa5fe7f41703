"""The compiled epoch of dense networks against Keras's `fit`, the notebook's way."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
import pytest

from dlperf.data.dataset import aligned_empty
from dlperf.models.mlp import classifying_mlp, regression_mlp
from dlperf.processor import cores
from dlperf.training import compiled_epoch
from dlperf.training.dense_epoch import DenseEpoch
from dlperf.training.dense_graph_epoch import DenseGraphEpoch
from dlperf.training.objectives import Classification, Regression
from tests.support.rounding import assert_trained_alike, tolerance

compiled_epoch.configure_runtime(cores())
RNG = np.random.default_rng(0)
INPUTS = RNG.uniform(-512, 512, (1050, 2)).astype("float32")
BATCH = 100  # the longest sums: of gradients, over the rows of a batch
TARGETS = (INPUTS[:, 0] * np.sin(INPUTS[:, 1] / 50)).astype("float32")


def network(units: tuple[int, ...] = (16, 8, 4), batch_norm: str = "between", fast: bool = True) -> keras.Model:
    return regression_mlp(units, random_seed=5, batch_norm=batch_norm, fast_gradient=fast)  # type: ignore[arg-type]


def dense_epoch(optimizer: keras.optimizers.Optimizer, batch_size: int = 100, unit: float = 1.0) -> DenseEpoch:
    return DenseEpoch(
        network(), optimizer, INPUTS, TARGETS, objective=Regression(unit), batch_size=batch_size, random_seed=3
    )


def permutation(epoch: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=[3, epoch])).permutation(len(INPUTS))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nadam", "nesterov"])
def test_trains_the_network_that_fit_trains(name: str) -> None:
    """Same initial weights, same batches, the last one of 50 included: same weights, training and validation RMSE."""

    def optimizer() -> keras.optimizers.Optimizer:
        return keras.optimizers.Nadam() if name == "nadam" else keras.optimizers.SGD(1e-7, 0.9, nesterov=True)

    ours, theirs = dense_epoch(optimizer()), network(fast=False)
    start = theirs.get_weights()
    relative = tolerance(BATCH, steps=3 * 11)
    theirs.compile(optimizer(), "mse", metrics=[keras.metrics.RootMeanSquaredError("rmse")], jit_compile=False)
    held = ours.to_device(INPUTS[:333], TARGETS[:333])
    ours.compile()
    for epoch in (1, 2, 3):
        order = permutation(epoch)
        history = theirs.fit(
            *(INPUTS[order], TARGETS[order]), batch_size=100, shuffle=False, verbose=0,
            validation_data=(INPUTS[:333], TARGETS[:333]),
        ).history  # fmt: skip
        trained = list(ours.train_epoch(epoch))[-1].sums.metrics("train")
        validated = list(ours.evaluate(held))[-1].sums.metrics("validation")
        assert trained["train_rmse"] == pytest.approx(history["rmse"][0], rel=relative)
        assert trained["train_loss"] == pytest.approx(history["loss"][0], rel=relative)
        assert validated["validation_rmse"] == pytest.approx(history["val_rmse"][0], rel=relative)
    assert_trained_alike(ours.model.get_weights(), theirs.get_weights(), start, terms=BATCH, steps=3 * 11)


def test_the_rmse_is_told_in_original_units() -> None:
    ours = dense_epoch(keras.optimizers.SGD(0.0), unit=100.0)
    sums = list(ours.train_epoch(1))[-1].sums
    assert sums.metrics("train")["train_rmse"] == pytest.approx(100 * sums.mean_loss**0.5)


@pytest.mark.slow
def test_equal_to_the_bit_however_an_epoch_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    ours = dense_epoch(keras.optimizers.Nadam())
    start = copied(ours.state())
    ours.compile()
    assert all(np.array_equal(start[name], array) for name, array in ours.state().items())
    for seconds in (0.0, 1000.0):
        monkeypatch.setattr(compiled_epoch, "_SEGMENT_SECONDS", seconds)
        ours.restore(start)
        assert [len(list(ours.train_epoch(epoch))) for epoch in (1, 2)] == ([11, 11] if seconds == 0 else [2, 2])
        states.append(copied(ours.state()))
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


def copied(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in state.items()}


def test_where_batch_normalisation_stands() -> None:
    def norms(units: tuple[int, ...], batch_norm: str) -> list[bool]:
        layers = network(units, batch_norm).layers[1:]
        return [isinstance(layer, keras.layers.BatchNormalization) for layer in layers]

    assert norms((16,), "between") == [False, False]
    assert norms((16, 8, 4), "between") == [False, True, False, True, False, False]
    assert norms((16, 8), "everywhere") == [True, False, True, False, True, False]
    assert norms((16, 8), "nowhere") == [False, False, False]
    assert network((16,)).count_params() == 65
    assert network((128, 256, 128)).count_params() == 67_969


PIXELS = aligned_empty((530, 48))
PIXELS[:] = RNG.integers(0, 256, PIXELS.shape)
LABELS = (PIXELS[:, :10].argmax(-1)).astype("int32")


def classifier(*, own: bool = True, dropout: bool = False, step: object = None) -> keras.Model:
    penalty = {"l2": 0.01} if own else {}
    return classifying_mlp(
        (32, 16), random_seed=4, features=48, classes=10, dropout=(0.2, 0.5) if dropout else None, step=step, **penalty
    )  # type: ignore[arg-type]


# Whole epochs of XLA's, and TensorFlow's products with XLA's updates.
both = pytest.mark.parametrize("compiled", [DenseEpoch, DenseGraphEpoch])


def image_epoch(
    compiled: type[DenseEpoch],
    optimizer: keras.optimizers.Optimizer,
    *,
    dropout: bool = False,
    rows: np.ndarray | None = None,
) -> DenseEpoch:
    return compiled(
        classifier(dropout=dropout, step=lambda: optimizer.iterations),
        optimizer,
        PIXELS,
        LABELS,
        objective=Classification(),
        batch_size=100,
        random_seed=3,
        prepare=lambda pixels: keras.ops.cast(pixels, "float32") / 255.0,
        rows=rows,
    )


@pytest.mark.slow
@both
def test_trains_the_classifier_that_fit_trains_and_tells_the_penalty_apart(compiled: type[DenseEpoch]) -> None:
    """On 430 of 530 rows, the last batch of 30 included; Keras's own L2 on kernels and biases."""
    rows = np.arange(50, 480, dtype=np.int32)
    ours = image_epoch(compiled, keras.optimizers.Adam(0.01, epsilon=1e-3), rows=rows)
    theirs = classifier(own=False)
    for layer in theirs.layers[1:-1]:
        layer.kernel_regularizer = layer.bias_regularizer = keras.regularizers.L2(0.01)
    theirs = keras.models.clone_model(theirs)
    start = ours.model.get_weights()
    theirs.set_weights(start)
    relative = tolerance(BATCH, steps=3 * 5)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    theirs.compile(keras.optimizers.Adam(0.01, epsilon=1e-3), cross_entropy, metrics=["accuracy"], jit_compile=False)
    inputs = PIXELS.astype("float32") / 255
    held = ours.to_device(PIXELS[:330], LABELS[:330])
    ours.compile()
    for epoch in (1, 2, 3):
        order = rows[np.random.Generator(np.random.Philox(key=[3, epoch])).permutation(len(rows))]
        history = theirs.fit(inputs[order], LABELS[order], batch_size=100, shuffle=False, verbose=0).history
        trained = list(ours.train_epoch(epoch))[-1].sums.metrics("train")
        assert trained["train_loss"] == pytest.approx(history["loss"][0], rel=relative)
        assert trained["train_accuracy"] == pytest.approx(history["accuracy"][0])
        assert trained["train_loss"] == pytest.approx(
            trained["train_cross_entropy"] + trained["train_penalty"], rel=tolerance(BATCH)
        )
        validated = list(ours.evaluate(held))[-1].sums.metrics("validation")
        loss, accuracy = theirs.evaluate(inputs[:330], LABELS[:330], verbose=0)
        assert validated["validation_loss"] == pytest.approx(loss, rel=relative)
        assert validated["validation_accuracy"] == pytest.approx(accuracy)
        outputs = theirs.predict(inputs[:330], verbose=0)
        assert validated["validation_cross_entropy"] == pytest.approx(
            float(cross_entropy(LABELS[:330], outputs)), rel=relative
        )
    assert_trained_alike(ours.model.get_weights(), theirs.get_weights(), start, terms=BATCH, steps=3 * 5)


@pytest.mark.slow
@both
def test_dropout_is_equal_to_the_bit_however_an_epoch_is_cut_and_after_a_resumption(
    monkeypatch: pytest.MonkeyPatch, compiled: type[DenseEpoch]
) -> None:
    """The masks follow from the optimizer's step, which the state holds."""
    states = []
    first, second = (image_epoch(compiled, keras.optimizers.Adam(), dropout=True) for _ in range(2))
    start = copied(first.state())
    for seconds, last in ((0.0, second), (1000.0, first)):
        monkeypatch.setattr(compiled_epoch, "_SEGMENT_SECONDS", seconds)
        first.restore(start)
        list(first.train_epoch(1))
        if last is second:  # another program goes on
            second.restore(copied(first.state()))
        list(last.train_epoch(2))
        states.append(copied(last.state()))
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.slow
def test_dropout_drops_the_same_units_whatever_compiles() -> None:
    """One step of SGD from the same weights: other masks would part by far more than rounding."""
    trained = []
    for compiled in (DenseEpoch, DenseGraphEpoch):
        ours = image_epoch(compiled, keras.optimizers.SGD(0.1), dropout=True, rows=np.arange(100, dtype=np.int32))
        start = ours.model.get_weights()
        list(ours.train_epoch(1))
        trained.append(ours.model.get_weights())
    assert_trained_alike(*trained, start, terms=BATCH, steps=1)


def test_a_penalty_that_the_update_does_not_know_is_refused() -> None:
    network = classifier(own=False)
    network.layers[1].kernel_regularizer = keras.regularizers.L1(0.1)
    with pytest.raises(TypeError, match="a penalty of another kind than SquaredPenalty"):
        DenseGraphEpoch(
            *(network, keras.optimizers.SGD(), PIXELS, LABELS),
            **{"objective": Classification(), "batch_size": 100, "random_seed": 3},
        )


@pytest.mark.slow
@both
def test_a_trained_network_leaves_no_memory_behind(compiled: type[DenseEpoch]) -> None:
    """TensorFlow's reduction over replicas would keep every traced program, and what it captured."""
    import gc

    from tensorflow.python.framework.func_graph import FuncGraph

    def graphs() -> int:
        gc.collect()
        return sum(isinstance(each, FuncGraph) for each in gc.get_objects())

    before = graphs()
    ours = image_epoch(compiled, keras.optimizers.Adam(), dropout=True)
    ours.compile()
    assert graphs() > before
    del ours
    keras.utils.clear_session()
    assert graphs() == before


def test_arrays_on_the_device() -> None:
    shared = compiled_epoch.on_device(PIXELS)
    assert np.frombuffer(memoryview(shared), np.uint8).ctypes.data == PIXELS.ctypes.data
    for array in (PIXELS[1:, 1:], INPUTS, PIXELS[:0]):
        assert np.array_equal(compiled_epoch.on_device(array).numpy(), array)
