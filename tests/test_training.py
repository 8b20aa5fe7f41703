"""Early stopping and the schedule, against Keras's own callback."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlperf.training.loop import Monitor, Schedule, Training

accuracies = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), min_size=1, max_size=30)


def replay(values: list[float], schedule: Schedule) -> Training:
    training = Training()
    for value in values:
        training.update({"validation_accuracy": value}, schedule)
        if training.stopped_early:
            break
    return training


@given(accuracies, st.integers(1, 5))
def test_stops_when_keras_does(values: list[float], patience: int) -> None:
    callback = keras.callbacks.EarlyStopping(monitor="val_accuracy", mode="max", patience=patience)
    callback.set_model(SimpleNamespace(stop_training=False, get_weights=lambda: None))
    callback.on_train_begin()
    stopped = None
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"val_accuracy": value})
        if callback.model.stop_training:
            stopped = epoch + 1
            break
    training = replay(values, Schedule(len(values), lambda _: 0.1, patience=patience))
    assert training.stopped_early == (stopped is not None)
    assert training.epoch == (stopped or len(values))
    assert training.best_epoch == callback.best_epoch + 1


@given(accuracies, st.integers(1, 5))
def test_an_error_is_steered_by_as_an_accuracy_is(values: list[float], patience: int) -> None:
    accuracy = replay(values, Schedule(len(values), lambda _: 0.1, patience=patience))
    rmse = Monitor("validation_rmse", lower_is_better=True)
    training = Training()
    for value in values:
        training.update({"validation_rmse": 1 - value}, Schedule(len(values), lambda _: 0.1, rmse, patience))
        if training.stopped_early:
            break
    assert (training.epoch, training.best_epoch) == (accuracy.epoch, accuracy.best_epoch)
    assert training.first_reaching(1 - 0.3, rmse) == accuracy.first_reaching(0.3, Monitor())


@given(accuracies, st.integers(1, 5))
def test_never_stops_across_a_plateau(values: list[float], patience: int) -> None:
    drop = len(values) // 2
    schedule = Schedule(len(values), lambda e: 0.1 if e <= drop else 0.01, patience=patience, only_last_plateau=True)
    training = replay(values, schedule)
    if training.stopped_early:
        assert training.epoch >= drop + patience
        last = values[training.epoch - patience : training.epoch]
        assert max(last) <= max(values[: training.epoch - patience])


@given(accuracies)
def test_no_patience_never_stops(values: list[float]) -> None:
    training = replay(values, Schedule(len(values), lambda _: 0.1))
    assert not training.stopped_early
    assert training.epoch == len(values)
    assert training.history[training.best_epoch - 1]["validation_accuracy"] == max(values)


def test_first_reaching_a_target() -> None:
    training = replay([0.2, 0.5, 0.4, 0.5], Schedule(4, lambda _: 0.1))
    assert training.first_reaching(0.5, Monitor()) == 2
    assert training.first_reaching(0.1, Monitor()) == 1
    assert training.first_reaching(0.6, Monitor()) is None


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_constant_rate_is_one_plateau(epochs: int) -> None:
    schedule = Schedule(epochs, lambda _: 0.1, only_last_plateau=True)
    assert all(schedule.counts_patience(epoch) for epoch in range(1, epochs + 1))
