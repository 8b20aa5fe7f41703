"""What the tables of the approximators problem say, in a sentence each."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from dlperf.analysis.inference import mean_effect
from dlperf.analysis.wording import is_shown, seeds, why_not_shown
from dlperf.problems.approximators.parameters import ApproximatorsParameters
from dlperf.tables import cell
from dlperf.trial import StoredTrial


def of_network(trial: StoredTrial[ApproximatorsParameters]) -> str:
    """Say what one network reached."""
    metrics = trial.metrics
    reached = f"a test RMSE of {cell(metrics['test_rmse'])} (R squared {cell(metrics['r_squared'])})"
    trained = f"after {int(metrics['epochs_run'])} epochs, the best of which was number {int(metrics['best_epoch'])}"
    return f"Hidden layers of {trial.parameters.units} units: {reached} {trained}."


def of_depth(by_total_units: pd.DataFrame) -> str:
    """Say what a further layer does at equal total units: the geometric mean of the ratios of RMSE."""
    rmse = by_total_units.pivot(index="total_units", columns="num_layers", values="mean_rmse")
    said = []
    for fewer, more in pairwise(rmse.columns):
        ratios = (rmse[more] / rmse[fewer]).dropna()
        if ratios.empty:
            continue
        effect = mean_effect(list(np.log(ratios)))
        times = f"{more} layers have {cell(np.exp(effect.value))} times the RMSE of {fewer}"
        totals = "number of total units"
        if is_shown(effect):
            interval = f"95 % interval {cell(np.exp(effect.low))} to {cell(np.exp(effect.high))}"
            said.append(f"{times} ({interval}, {seeds(effect.n, totals)})")
        else:
            said.append(f"{times} ({why_not_shown(effect, totals)})")
    if not said:
        return "No networks of different depth have equal total units, so nothing is said of depth against width."
    return f"At equal total units {'; '.join(said)}."


def of_times(time_to_rmse: pd.DataFrame) -> str:
    """Say how long the networks of each depth took to the levels of RMSE."""
    said = []
    for level, rows in time_to_rmse.groupby("rmse", sort=False):
        times = [
            f"{row.reached} of {row.networks} with {seeds(int(str(row.num_layers)), 'layer')}"
            + (f" (median {cell(row.median_seconds)} seconds)" if row.reached else "")
            for row in rows.itertuples()
        ]
        said.append(f"An RMSE of {cell(level)} was reached by {', '.join(times)}.")
    return " ".join(said)
