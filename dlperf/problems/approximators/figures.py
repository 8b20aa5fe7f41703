"""Figures of the approximators problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlperf.claims import ledger
from dlperf.data.eggholder import NOISE_STD
from dlperf.problems import plots
from dlperf.problems.approximators.parameters import EGGHOLDER
from dlperf.trial import StoredTrial

if TYPE_CHECKING:
    from dlperf.problems.approximators.parameters import ApproximatorsParameters


def curves(trial: StoredTrial[ApproximatorsParameters]) -> Figure:
    """Draw training and validation RMSE over the epochs of one network."""
    epochs = pd.DataFrame(
        {"epoch": epoch, "split": split, "rmse": value}
        for split in ("train", "validation")
        for epoch, value in enumerate(trial.history[f"{split}_rmse"], 1)
    )
    return plots.epoch_curves(epochs, "rmse", "split", title=f"units {trial.parameters.units}: RMSE", log=True)


def comparisons(
    networks: pd.DataFrame, averaged: pd.DataFrame, dataset: str, *, with_published: bool
) -> dict[str, Callable[[], Figure]]:
    """Return functions that draw the notebook's three figures: a point per trial, mean and deviation by depth.

    Args:
        networks: A row per network and random seed.
        averaged: A row per network, with its means over random seeds: the deviations are those of networks.
        dataset: The function that they approximate.
        with_published: Draw the notebook's published rows too.
    """
    return {
        "rmse_by_total_units": lambda: _rmse_figure(
            networks, averaged, dataset, "total_units", _published_rows() if with_published else None
        ),
        "rmse_by_num_params": lambda: _rmse_figure(networks, averaged, dataset, "num_params", None),
        "train_seconds_by_num_params": lambda: _seconds_figure(averaged, dataset),
    }


def _published_rows() -> pd.DataFrame:
    """Return the rows of the notebook's table that it published: total units, layers, RMSE."""
    rows = [
        (claim.where["units"].split(","), claim.published)
        for claim in ledger.claims("approximators")
        if claim.measure == "best_validation_rmse" and isinstance(claim.where.get("units"), str)
    ]
    return pd.DataFrame(
        {"total_units": sum(map(int, units)), "num_layers": len(units), "test_rmse": rmse} for units, rmse in rows
    )


def _rmse_figure(
    networks: pd.DataFrame, averaged: pd.DataFrame, dataset: str, quantity: str, published: pd.DataFrame | None
) -> Figure:
    figure, axes = _curves_by_depth(networks, averaged, quantity, "test_rmse")
    if published is not None:
        sns.scatterplot(
            published, x=quantity, y="test_rmse", hue="num_layers", palette=_palette(), marker="x", s=45,
            linewidth=1.5, legend=False, zorder=3, ax=axes,
        )  # fmt: skip
        axes.scatter([], [], marker="x", color="black", label="the notebook's published rows")
    if dataset == EGGHOLDER:
        axes.axhline(NOISE_STD, color="black", linestyle=":", label=f"noise floor, {NOISE_STD}")
    # Standard deviation of the test targets, recovered from the networks' R^2 and RMSE.
    spread = float((networks["test_rmse"] / np.sqrt(1.0 - networks["r_squared"])).mean())
    axes.axhline(spread, color="black", linestyle="--", label="predicting the mean")
    axes.set_ylim(0, max(spread, networks["test_rmse"].max()) * 1.05)

    def r_squared(rmse: Any) -> Any:
        return 1 - (rmse / spread) ** 2

    def rmse(r_squared: Any) -> Any:
        return spread * np.sqrt(np.clip(1 - r_squared, 0, None))

    right = axes.secondary_yaxis("right", functions=(r_squared, rmse))
    right.set_ylabel("R²")
    right.set_yticks([1.0, 0.95, 0.9, 0.8, 0.6, 0.4, 0.2, 0.0])
    name = {"total_units": "hidden units in all", "num_params": "parameters"}[quantity]
    axes.set(title=f"{dataset}: test RMSE against {name}", xlabel=name, ylabel="RMSE on the test set")
    axes.legend(fontsize=8)
    return figure


def _seconds_figure(averaged: pd.DataFrame, dataset: str) -> Figure:
    figure, axes = _curves_by_depth(averaged, averaged, "num_params", "train_seconds")
    axes.set(
        title=f"{dataset}: training time until stopped", xlabel="parameters", ylabel="training seconds", yscale="log"
    )
    axes.legend(fontsize=8)
    return figure


def _curves_by_depth(points: pd.DataFrame, averaged: pd.DataFrame, x: str, y: str) -> tuple[Figure, Axes]:
    """Draw points, and per depth a curve of means over networks with a band of one standard deviation."""
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
    for depth in sorted(set(averaged["num_layers"])):
        drawn, at_depth = (table[table["num_layers"] == depth] for table in (points, averaged))
        colour = _palette()[depth]
        axes.scatter(drawn[x], drawn[y], s=10, alpha=0.35, color=colour)
        # Several networks share a total of units; parameter counts all differ, so they are grouped by powers of two.
        place = at_depth[x] if x == "total_units" else np.floor(np.log2(at_depth[x]))
        mean, sd = (at_depth.groupby(place)[[x, y]].agg(how) for how in ("mean", "std"))
        label = f"{depth} hidden layer{'s' if depth != 1 else ''}: mean and standard deviation"
        axes.plot(mean[x], mean[y], marker="o", markersize=4, color=colour, label=label)
        band = sd[y].fillna(0.0)
        axes.fill_between(mean[x], mean[y] - band, mean[y] + band, alpha=0.15, color=colour, linewidth=0)
    axes.set_xscale("log", base=2 if x == "total_units" else 10)
    return figure, axes


def _palette() -> dict[int, tuple[float, float, float]]:
    return dict(enumerate(sns.color_palette("colorblind", 8), 1))
