"""Tables of the approximators problem."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import pandas as pd

from dlperf.analysis.measures import has_learned
from dlperf.analysis.settings import DISTURBED, timed
from dlperf.problem import Deferred, Summary
from dlperf.problems.approximators import questions, sentences
from dlperf.problems.approximators.figures import comparisons, curves
from dlperf.problems.approximators.parameters import ApproximatorsParameters
from dlperf.trial import StoredTrial

Trials = Sequence[StoredTrial[ApproximatorsParameters]]
NETWORK_COLUMNS = ("units", "num_params", "epochs", "best_epoch", "train_seconds", "test_rmse", "r_squared")


def summary(trials: Trials) -> Summary:
    """Lay out the networks, their means by total units and depth, and times to a common RMSE."""
    networks = network_table(trials)
    if len(trials) == 1:
        return Summary(
            {"networks": networks},
            Deferred({"rmse": lambda: curves(trials[0])}),
            columns={"networks": NETWORK_COLUMNS},
            sentences=Deferred({"networks": lambda: sentences.of_network(trials[0])}),
        )
    averaged = over_seeds(networks, timed(trials)[0])
    tables = {"networks": networks, "by_total_units": by_total_units(averaged)}
    times = {"time_to_rmse": lambda: time_to_rmse(trials)}
    first = trials[0].parameters
    figures = comparisons(networks, averaged, first.dataset, with_published=first.notebook)
    curve_tables = Deferred(times)
    said = {
        "by_total_units": lambda: _of_depth(trials),
        "time_to_rmse": lambda: sentences.of_times(curve_tables["time_to_rmse"]),
    }
    return Summary(tables, Deferred(figures), curve_tables, shown=tuple(said), sentences=Deferred(said))


def _of_depth(trials: Trials) -> str:
    answer = questions.rmse_by_depth(trials)
    return answer.sentence if answer else "No networks of different depth have equal units: nothing is said of depth."


def network_table(trials: Trials) -> pd.DataFrame:
    """The notebook's table: a row per network and random seed, RMSE in the target's units.

    Where other programs ran beside a trial, a column says so of its seconds.
    """
    table = pd.DataFrame(
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
            "disturbed": trial.tags.get(DISTURBED, ""),
        }
        for trial in trials
    )
    return table if table["disturbed"].any() else table.drop(columns="disturbed")


def over_seeds(networks: pd.DataFrame, of_times: Trials) -> pd.DataFrame:
    """A row per network: its means over random seeds.

    Args:
        networks: The table of networks.
        of_times: The trials over which training seconds are averaged.
    """
    by_network = networks.groupby(["units", "total_units", "num_layers", "num_params"], sort=False)
    means = by_network.mean(numeric_only=True).drop(columns="random_seed").reset_index().set_index("units")
    seconds = network_table(of_times).groupby("units")["train_seconds"].mean()
    return means.assign(train_seconds=seconds).reset_index()


def by_total_units(networks: pd.DataFrame) -> pd.DataFrame:
    """The notebook's second table: means over the networks of equal total units and depth, with their spread.

    Args:
        networks: A row per network, with its means over random seeds.
    """
    return (
        networks.groupby(["total_units", "num_layers"])
        .agg(
            networks=("test_rmse", "size"),
            mean_rmse=("test_rmse", "mean"),
            sd_rmse=("test_rmse", "std"),
            mean_r_squared=("r_squared", "mean"),
            mean_epochs=("epochs", "mean"),
            mean_train_seconds=("train_seconds", "mean"),
        )
        .reset_index()
    )


def common_rmse(trials: Trials) -> float:
    """Return the lowest validation RMSE that every network reached which learned more than the mean of the targets.

    What others reach is near what predicting the mean gives, and tells nothing apart; NaN where none has learned.
    """
    return max((t.metrics["best_validation_rmse"] for t in trials if has_learned(t)), default=np.nan)


def reached(trials: Trials, level: float) -> pd.DataFrame:
    """Every trial's epochs and training seconds until its validation RMSE was at most `level`; NaN if never.

    Seconds of trials beside which other programs ran are NaN too, unless there are no others.
    """
    rows = []
    quiet = {trial.run_id for trial in timed(trials)[0]}
    for trial in trials:
        took = trial.history["epoch_seconds"]
        seconds = accumulate(took if trial.run_id in quiet else [np.nan] * len(took))
        passed = zip(trial.history["validation_rmse"], seconds, strict=True)
        first = next(((epoch, at) for epoch, (rmse, at) in enumerate(passed, 1) if rmse <= level), (np.nan, np.nan))
        layers = trial.parameters.layers
        rows.append((level, sum(layers), len(layers), *first))
    return pd.DataFrame(rows, columns=["rmse", "total_units", "num_layers", "epochs", "seconds"])


def time_to_rmse(trials: Trials) -> pd.DataFrame:
    """Median epochs and seconds by depth to the common RMSE and to a target, over those that reached it."""
    levels = [reached(trials, level) for level in _levels(trials)] or [reached([], np.nan)]
    return pd.concat(map(_by_depth, levels), ignore_index=True)


def _levels(trials: Trials) -> list[float]:
    target = trials[0].parameters.target_rmse
    common = common_rmse(trials)
    return sorted({*([common] if common == common else []), *([target] if target else [])}, reverse=True)


def _by_depth(times: pd.DataFrame) -> pd.DataFrame:
    grouped = times.groupby(["rmse", "num_layers"])
    return grouped.agg(
        trials=("epochs", "size"),
        reached=("epochs", "count"),
        median_epochs=("epochs", "median"),
        median_seconds=("seconds", "median"),
    ).reset_index()
