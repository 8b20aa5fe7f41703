"""Tables of the approximators problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from dlperf.trial import StoredTrial, Summary

if TYPE_CHECKING:
    from dlperf.problems.approximators import ApproximatorsParameters


def summary(trials: Sequence[StoredTrial[ApproximatorsParameters]]) -> Summary:
    """Lay out the networks."""
    return Summary({"networks": network_table(trials)}, {})


def network_table(trials: Sequence[StoredTrial[ApproximatorsParameters]]) -> pd.DataFrame:
    """The notebook's table: a row per network and random seed."""
    return pd.DataFrame(
        {
            "units": trial.parameters.units,
            "random_seed": trial.parameters.random_seed,
            "total_units": sum(trial.parameters.layers),
            "num_layers": len(trial.parameters.layers),
            "num_params": int(trial.metrics["num_params"]),
            "epochs": int(trial.metrics["epochs_run"]),
            "best_epoch": int(trial.metrics["best_epoch"]),
            "train_seconds": trial.metrics["train_seconds"],
            "validation_rmse": trial.metrics["best_validation_rmse"],
            "test_rmse": trial.metrics["test_rmse"],
            "r_squared": trial.metrics["r_squared"],
        }
        for trial in trials
    )
