"""What the tables of the approximators problem say, in a sentence each."""

from __future__ import annotations

import pandas as pd

from dlperf.analysis.wording import seeds
from dlperf.problems.approximators.parameters import ApproximatorsParameters
from dlperf.tables import cell
from dlperf.trial import StoredTrial


def of_network(trial: StoredTrial[ApproximatorsParameters]) -> str:
    """Say what one network reached."""
    metrics = trial.metrics
    reached = f"a test RMSE of {cell(metrics['test_rmse'])} (R squared {cell(metrics['r_squared'])})"
    trained = f"after {int(metrics['epochs_run'])} epochs, the best of which was number {int(metrics['best_epoch'])}"
    return f"Hidden layers of {trial.parameters.units} units: {reached} {trained}."


def of_times(time_to_rmse: pd.DataFrame) -> str:
    """Say how long the trials of each depth took to the levels of RMSE."""
    said = []
    for level, rows in time_to_rmse.groupby("rmse", sort=False):
        times = [
            f"{row['reached']} of {row['trials']} with {seeds(row['num_layers'], 'layer')}"
            + (f" (median {cell(row['median_seconds'])} seconds)" if pd.notna(row["median_seconds"]) else "")
            for row in rows.to_dict("records")
        ]
        said.append(f"An RMSE of {cell(level)} was reached by {', '.join(times)}.")
    return " ".join(said)
