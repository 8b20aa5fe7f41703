"""The audit of early stopping: replayed curves, what patiences cost, and the notebook's baseline."""

from __future__ import annotations

from typing import Any

import pytest

from dlperf import entry_points
from dlperf.analysis.settings import settings
from dlperf.page.audit import audit, replay
from tests.support.trials import stored


@pytest.mark.parametrize(("metric", "sign"), [("validation_accuracy", 1), ("validation_loss", -1)])
def test_a_replay_stops_by_the_metrics_own_direction(metric: str, sign: int) -> None:
    curve = [sign * value for value in (0.1, 0.5, 0.4, 0.4, 0.9)]
    stop = replay(metric, curve, 2)
    assert (stop.epoch, stop.best_epoch, stop.stopped) == (4, 2, True)
    whole = replay(metric, curve, 0)
    assert (whole.epoch, whole.best_epoch, whole.stopped) == (5, 5, False)


def baseline(accuracies: list[float], **metrics: float) -> Any:
    history = {"validation_accuracy": accuracies, "epoch_seconds": [2.0] * len(accuracies)}
    return stored("cutout", 0, history=history, metrics=metrics)


def table(*trials: Any, patience: tuple[int, ...] = (2, 5)) -> Any:
    (setting,) = settings(entry_points.load_problem("cutout"), list(trials))
    return audit(setting, "validation_accuracy", ["m"], patience).set_index("patience")


def test_what_a_patience_costs() -> None:
    """Accuracy 0.5, 0.6, then two worse ones, then 0.9: patience 2 stops after epoch 4 and misses 0.9."""
    found = table(baseline([0.5, 0.6, 0.55, 0.5, 0.9, 0.8]))
    assert (found.loc[2, "stopped"], found.loc[2, "epoch"], found.loc[2, "seconds_saved"]) == (1, 4, 4.0)
    assert found.loc[2, "cost_last"] == pytest.approx(0.4)
    assert found.loc[2, "cost_restored"] == pytest.approx(0.3)
    assert (found.loc[5, "stopped"], found.loc[5, "cost_restored"]) == (0, 0.0)
    assert found.loc[0, "cost_last"] == pytest.approx(0.1)  # never stopped, but without the best weights


def test_the_notebooks_baseline_stopped_before_the_first_drop() -> None:
    """Best at epoch 46, nothing better for 20: it ends at 66, and its learning rate first drops at 82."""
    accuracies = [0.3 + 0.012 * epoch for epoch in range(1, 47)] + [0.8] * 20
    found = table(baseline(accuracies, stopped_early=1.0), patience=(20,))
    assert (found.loc[20, "epoch"], found.loc[20, "before_first_drop"]) == (66, 1)
    assert (found.loc[20, "stopped"], found.loc[20, "cut"]) == (1, 0)
    beyond = table(baseline(accuracies, stopped_early=1.0), patience=(40,))
    assert (beyond.loc[40, "stopped"], beyond.loc[40, "cut"]) == (0, 1)  # what would have followed is not known
    longer = accuracies + [0.8] * 15 + [0.93] * 20
    told = table(baseline(longer), patience=(20, 40)).loc
    assert (told[20, "epoch"], told[20, "before_first_drop"], told[40, "before_first_drop"]) == (66, 1, 0)
    assert told[20, "cost_restored"] == pytest.approx(0.93 - accuracies[45])


def test_random_seeds_are_averaged() -> None:
    curves = ([0.5, 0.4, 0.4, 0.4], [0.5, 0.4, 0.4, 0.7])
    trials = [
        stored("cutout", 6 * seed, history={"validation_accuracy": curve, "epoch_seconds": [1.0] * 4})
        for seed, curve in enumerate(curves)
    ]
    row = table(*trials, patience=(2,)).loc[2]
    assert (row["trials"], row["stopped"], row["cost_restored"]) == (2, 2, pytest.approx(0.1))
