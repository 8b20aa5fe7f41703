"""Tables of the approximators problem, and tests of what the notebook's text claims."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from dlperf.problems import approximator_figures, approximator_published
from dlperf.trial import StoredTrial, Summary

if TYPE_CHECKING:
    from dlperf.problems.approximators import ApproximatorsParameters

_SIGNIFICANCE = 0.05
Trials = Sequence[StoredTrial["ApproximatorsParameters"]]


def summary(trials: Trials) -> Summary:
    """Lay out the networks, their means by total units and depth, times to a common RMSE, and the claims."""
    networks = network_table(trials)
    if len(trials) == 1:
        return Summary({"networks": networks}, {"rmse": approximator_figures.curves(trials[0])})
    grouped = by_total_units(networks)
    times = reached(trials, common_rmse(trials))
    tables = {
        "networks": networks,
        "by_total_units": grouped,
        "time_to_rmse": pd.concat([_by_depth(reached(trials, level)) for level in _levels(trials)], ignore_index=True),
        "claims": claims(networks, times),
    }
    first = trials[0].parameters
    if first.notebook and (published := beside_published(networks)) is not None:
        tables["beside_notebook"] = published
    figures = approximator_figures.comparisons(networks, with_published=first.notebook)
    return Summary(tables, figures, shown=("by_total_units", "time_to_rmse", "claims"))


def network_table(trials: Trials) -> pd.DataFrame:
    """The notebook's table: a row per network and random seed, RMSE in the target's units."""
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


def by_total_units(networks: pd.DataFrame) -> pd.DataFrame:
    """The notebook's second table: means over the networks of equal total units and depth, with their spread."""
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
    """Return the lowest validation RMSE that every network reached."""
    return max(trial.metrics["best_validation_rmse"] for trial in trials)


def reached(trials: Trials, level: float) -> pd.DataFrame:
    """Epochs and training seconds of each network until its validation RMSE was at most `level`; missing if never."""
    rows = []
    for trial in trials:
        seconds = accumulate(trial.history["epoch_seconds"])
        passed = zip(trial.history["validation_rmse"], seconds, strict=True)
        first = next(((epoch, at) for epoch, (rmse, at) in enumerate(passed, 1) if rmse <= level), (np.nan, np.nan))
        layers = trial.parameters.layers
        rows.append((level, sum(layers), len(layers), *first))
    return pd.DataFrame(rows, columns=["rmse", "total_units", "num_layers", "epochs", "seconds"])


def claims(networks: pd.DataFrame, times: pd.DataFrame) -> pd.DataFrame:
    """Test the sentences of the notebook's conclusion, one-sided at 5 %.

    "Falls" and "rises" are Kendall's tau over networks, each averaged over its random seeds; deeper against
    shallower is Wilcoxon's signed-rank test over pairs of means at equal total units.

    Args:
        networks: As `network_table`.
        times: Epochs and seconds to the RMSE that every network reaches, as `reached`.
    """
    rows = []
    # A network's random seeds are no further networks: counted as such they would make any trend significant.
    averaged = networks.groupby(["units", "num_layers"], as_index=False).mean(numeric_only=True)
    for depth, own in averaged.groupby("num_layers"):
        for quantity in ("total_units", "num_params"):
            claim = f"{depth} layer{'s' if depth != 1 else ''}: RMSE falls with {quantity.replace('_', ' ')}"
            rows.append(_trend(claim, own[quantity], own["test_rmse"]))
    level = f"RMSE {times['rmse'].iloc[0]:.4g}"
    for shallow, deep in ((1, 2), (2, 3)):
        for frame, quantity, what in (
            (networks, "test_rmse", "has the lower RMSE"),
            (networks, "train_seconds", "trains in less time until it stops"),
            (times, "epochs", f"needs fewer epochs to {level}"),
            (times, "seconds", f"needs fewer seconds to {level}"),
        ):
            rows.append(_pairs(f"{deep} layers against {shallow}: {what}", frame, quantity, shallow, deep))
    return pd.DataFrame([row for row in rows if row])


def beside_published(networks: pd.DataFrame) -> pd.DataFrame | None:
    """The notebook's published rows beside the means over our random seeds; None without a network in common."""
    means = networks.groupby("units")[["test_rmse", "train_seconds"]].mean()
    ours: dict[Any, Any] = means.to_dict("index")
    rows = [
        {
            "units": units,
            "notebook_rmse": rmse,
            "rmse": ours[units]["test_rmse"],
            "difference": ours[units]["test_rmse"] - rmse,
            "notebook_seconds": seconds,
            "train_seconds": ours[units]["train_seconds"],
        }
        for units, (seconds, rmse) in approximator_published.ROWS.items()
        if units in ours
    ]
    return pd.DataFrame(rows) if rows else None


def _levels(trials: Trials) -> list[float]:
    return sorted({common_rmse(trials), trials[0].parameters.target_rmse}, reverse=True)


def _by_depth(times: pd.DataFrame) -> pd.DataFrame:
    grouped = times.groupby(["rmse", "num_layers"])
    return grouped.agg(
        networks=("epochs", "size"),
        reached=("epochs", "count"),
        median_epochs=("epochs", "median"),
        median_seconds=("seconds", "median"),
    ).reset_index()


def _trend(claim: str, x: pd.Series, y: pd.Series) -> dict[str, Any] | None:
    if x.nunique() < 3:
        return None
    falls = stats.kendalltau(x, y, alternative="less")
    rises = stats.kendalltau(x, y, alternative="greater")
    return _verdict(claim, len(x), "Kendall's tau", falls.statistic, falls.pvalue, rises.pvalue)


def _pairs(claim: str, frame: pd.DataFrame, quantity: str, shallow: int, deep: int) -> dict[str, Any] | None:
    means = frame.groupby(["total_units", "num_layers"])[quantity].mean().unstack()
    if not {shallow, deep} <= set(means.columns):
        return None
    both = means[[shallow, deep]].dropna()
    difference = (both[deep] - both[shallow]).to_numpy()
    if np.count_nonzero(difference) < 3:
        return None
    lower = stats.wilcoxon(difference, alternative="less")
    higher = stats.wilcoxon(difference, alternative="greater")
    ratio = float((both[deep] / both[shallow]).median())
    return _verdict(claim, len(both), "median ratio", ratio, lower.pvalue, higher.pvalue)


def _verdict(claim: str, count: int, measure: str, value: float, p: float, p_opposite: float) -> dict[str, Any]:
    verdict = "not shown"
    if p < _SIGNIFICANCE:
        verdict = "holds"
    elif p_opposite < _SIGNIFICANCE:
        verdict = "the opposite holds"
    return {"claim": claim, "n": count, "measure": measure, "value": value, "p_value": p, "verdict": verdict}
