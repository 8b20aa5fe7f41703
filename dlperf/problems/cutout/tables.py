"""Tables of the cutout problem: the assignment's, and the epochs' curves as rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from dlperf.problem import Deferred, Summary
from dlperf.problems import plots
from dlperf.problems.cutout import sentences
from dlperf.problems.cutout.budgets import budget_table
from dlperf.problems.cutout.figures import curve_figures
from dlperf.problems.cutout.parameters import CutoutParameters
from dlperf.trial import StoredTrial

Trials = Sequence[StoredTrial[CutoutParameters]]
COLUMNS = ("m", "random_seed", "epochs", "train_seconds", "final_validation_error", "test_error", "seconds_to_target")


def summary(trials: Trials) -> Summary:
    """Lay out a row per trial, and the epochs' curves as rows and figures."""
    trials = sorted(trials, key=lambda t: (t.parameters.m, t.parameters.random_seed))
    first = trials[0].parameters
    network = f"ResNet-{first.depth}" if first.depth else first.model.rpartition("/")[2].removeprefix("keras:")
    figures = curve_figures(
        lambda *names: epoch_table(trials, *names),
        f"{network} on {first.dataset}",
        lambda metric: plots.published_points("cutout", metric, trials, "m"),
    )
    curve_tables = {"epochs": lambda: epoch_table(trials, *trials[0].history)}
    if len({trial.parameters.m for trial in trials}) > 1:
        curve_tables["equal_budgets"] = lambda: budget_table(trials)
    return Summary(
        {"cutout": trial_table(trials)},
        Deferred(figures),
        Deferred(curve_tables),
        columns={"cutout": COLUMNS},
        sentences=Deferred({"cutout": lambda: sentences.of_trials(trials)}),
    )


def trial_table(trials: Trials) -> pd.DataFrame:
    """The assignment's table: time and error per trial."""
    return pd.DataFrame([_row(trial) for trial in trials])


def epoch_table(trials: Trials, *names: str) -> pd.DataFrame:
    """A row per trial and epoch with the values of the named metrics."""
    return pd.concat(
        pd.DataFrame(
            {
                "m": str(t.parameters.m),
                "random_seed": t.parameters.random_seed,
                "epoch": range(1, int(t.metrics["epochs_run"]) + 1),
                **{name: t.history[name] for name in names},
            }
        )
        for t in trials
    )


def _row(trial: StoredTrial[CutoutParameters]) -> dict[str, Any]:
    parameters, metrics = trial.parameters, trial.metrics
    return {
        "m": parameters.m,
        "random_seed": parameters.random_seed,
        "epochs": int(metrics["epochs_run"]),
        "train_seconds": metrics["train_seconds"],
        "seconds_per_epoch": metrics["train_seconds"] / metrics["epochs_run"],
        "best_validation_error": metrics["best_validation_error"],
        "final_validation_error": metrics["validation_error"],
        "test_error": metrics["test_error"],
        "epochs_to_target": metrics.get("epochs_to_target", math.nan),
        "seconds_to_target": metrics.get("seconds_to_target", math.nan),
    }
