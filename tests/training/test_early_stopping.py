"""Early stopping and the schedule, against Keras's own callback."""

from __future__ import annotations

import json
from types import SimpleNamespace

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlperf.training.early_stopping import Schedule
from dlperf.training.loop import Training

accuracies = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), min_size=1, max_size=30)


def replay(values: list[float], schedule: Schedule) -> Training:
    training = Training(schedule)
    for value in values:
        training.update({schedule.monitor: value})
        if training.stopping.stopped:
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
    assert training.stopping.stopped == (stopped is not None)
    assert training.epoch == (stopped or len(values))
    assert training.stopping.best_epoch == callback.best_epoch + 1


@given(accuracies, st.integers(1, 5))
def test_an_error_is_steered_by_as_an_accuracy_is(values: list[float], patience: int) -> None:
    accuracy = replay(values, Schedule(len(values), lambda _: 0.1, patience=patience))
    rmse = replay([1 - v for v in values], Schedule(len(values), lambda _: 0.1, "validation_rmse", patience))
    assert (rmse.epoch, rmse.stopping.best_epoch) == (accuracy.epoch, accuracy.stopping.best_epoch)
    assert rmse.first_reaching(1 - 0.3, "validation_rmse") == accuracy.first_reaching(0.3, "validation_accuracy")


@given(accuracies, st.integers(1, 5))
def test_never_stops_across_a_plateau(values: list[float], patience: int) -> None:
    drop = len(values) // 2
    schedule = Schedule(len(values), lambda e: 0.1 if e <= drop else 0.01, patience=patience, only_last_plateau=True)
    training = replay(values, schedule)
    if training.stopping.stopped:
        assert training.epoch >= drop + patience
        last = values[training.epoch - patience : training.epoch]
        assert max(last) <= max(values[: training.epoch - patience])


@given(accuracies, st.integers(1, 5), st.integers(1, 30))
def test_a_training_taken_up_again_stops_where_a_whole_one_does(values: list[float], patience: int, at: int) -> None:
    schedule = Schedule(len(values), lambda _: 0.1, patience=patience)
    whole = replay(values, schedule)
    resumed = Training(schedule, json.loads(json.dumps(replay(values[:at], schedule).record())))
    while not resumed.ended:
        resumed.update({"validation_accuracy": values[resumed.epoch]})
    assert resumed.record() == whole.record()


def test_a_state_of_version_0_1_is_taken_up() -> None:
    """The record as `asdict` of that version's Training wrote it."""
    record = {"history": [{"validation_accuracy": v} for v in (0.2, 0.5, 0.4)], "best_epoch": 2, "waited": 1}
    training = Training(Schedule(9, lambda _: 0.1, patience=2), {**record, "stopped_early": False})
    assert (training.epoch, training.stopping.best, training.ended) == (3, 0.5, False)
    training.update({"validation_accuracy": 0.5})
    assert training.ended


@given(accuracies)
def test_no_patience_never_stops(values: list[float]) -> None:
    training = replay(values, Schedule(len(values), lambda _: 0.1))
    assert not training.stopping.stopped
    assert training.epoch == len(values)
    assert training.history[training.stopping.best_epoch - 1]["validation_accuracy"] == max(values)


def test_first_reaching_a_target() -> None:
    training = replay([0.2, 0.5, 0.4, 0.5], Schedule(4, lambda _: 0.1))
    assert training.first_reaching(0.5, "validation_accuracy") == 2
    assert training.first_reaching(0.1, "validation_accuracy") == 1
    assert training.first_reaching(0.6, "validation_accuracy") is None


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_constant_rate_is_one_plateau(epochs: int) -> None:
    schedule = Schedule(epochs, lambda _: 0.1, only_last_plateau=True)
    assert all(schedule.counts_patience(epoch) for epoch in range(1, epochs + 1))
