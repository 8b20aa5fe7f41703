"""Figures that two or more problems draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")  # before seaborn, which imports pyplot

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dlperf.analysis.measures import fact, matches
from dlperf.claims import ledger
from dlperf.claims.verdicts import own_files
from dlperf.trial import StoredTrial

Published = Mapping[str, Sequence[tuple[int, float]]]
"""Published points of a metric, (epoch, value), by group."""

_MOST_POINTS = 300
_MOST_CURVES = 60
_FEW_EPOCHS = 30


def epoch_curves(
    epochs: pd.DataFrame,
    metric: str,
    group: str,
    *,
    title: str,
    log: bool = False,
    published: Published | None = None,
) -> Figure:
    """Draw a metric over the epochs, a line per group; over several random seeds the mean and standard deviation.

    At most 300 epochs are drawn, and of more than 60 groups the quantiles.

    Args:
        epochs: One row per trial and epoch with the columns "epoch", `metric` and `group`.
        metric: Column to draw.
        group: Column that tells the lines apart; its order of appearance is kept.
        title: Title of the figure.
        log: Logarithmic vertical axis.
        published: Published points (epoch, value) by group, drawn beside.
    """
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
    names = list(dict.fromkeys(epochs[group]))
    last = int(epochs["epoch"].max())
    if last > _MOST_POINTS:
        drawn = np.unique(np.linspace(1, last, _MOST_POINTS).round().astype(int))
        epochs = epochs[epochs["epoch"].isin(drawn)]
    if len(names) > _MOST_CURVES:
        _draw_quantiles(axes, epochs, metric, len(names))
    else:
        palette = dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))
        sns.lineplot(
            epochs, x="epoch", y=metric, hue=group, style=group, palette=palette, errorbar="sd", markers=True,
            markevery=1 if last <= _FEW_EPOCHS else 0.1, markersize=6, dashes=False, ax=axes,
        )  # fmt: skip
        _draw_published(axes, published or {}, palette, last)
    axes.set(title=title, xlabel="epoch", ylabel=metric.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if log:
        axes.set_yscale("log")
    return figure


def published_points(
    problem: str, metric: str, trials: Sequence[StoredTrial[Any]], group: str
) -> dict[str, list[tuple[int, float]]]:
    """Return the notebook's points of a metric of epochs, (epoch, value), by the value of what tells trials apart.

    Args:
        problem: The problem.
        metric: A metric of epochs; of an error those of the accuracy are taken too.
        trials: The trials that are drawn; a claim about none of them gives no point.
        group: The parameter that tells them apart.
    """
    points: dict[str, list[tuple[int, float]]] = {}
    accuracy = metric.replace("error", "accuracy")
    for claim in ledger.claims(problem):
        name, _, at = claim.measure.partition("@")
        epoch = int(at) if at else claim.needs.get("epochs")
        about = next((trial for trial in trials if matches(trial, claim.where)), None)
        if claim.source != "notebook" or claim.published is None or not isinstance(epoch, int) or about is None:
            continue
        conditions = {name: claim.needs[name] for name in ("protocol", "dataset") if name in claim.needs}
        if own_files(about) or not matches(about, conditions):
            continue
        if name == metric:
            value = claim.published
        elif name == accuracy:
            value = 1 - claim.published
        else:
            continue
        points.setdefault(str(fact(about, group)), []).append((epoch, value))
    return {name: sorted(of_group) for name, of_group in points.items()}


def _draw_published(axes: Axes, published: Published, palette: Mapping[Any, Any], last: int) -> None:
    """Draw published points; those of later epochs than were run stand at the right edge, and the label says so."""
    for name, points in published.items():
        colour = next((shade for group, shade in palette.items() if str(group) == name), "black")
        for epoch, value in points:
            axes.plot(
                [min(epoch, last)], [value], marker="X", markersize=9, color=colour, markeredgecolor="black",
                linestyle="none", label="_published", zorder=4, clip_on=False,
            )  # fmt: skip
    if any(published.values()):
        longer = any(epoch > last for points in published.values() for epoch, _ in points)
        beyond = ", of longer trainings at the right edge" if longer else ""
        axes.plot([], [], marker="X", color="black", linestyle="none", label=f"published{beyond}")
        axes.legend(fontsize=9)


def _draw_quantiles(axes: Axes, epochs: pd.DataFrame, metric: str, curves: int) -> None:
    quantiles = epochs.groupby("epoch")[metric].quantile(np.array([0.05, 0.25, 0.5, 0.75, 0.95])).unstack()
    colour = sns.color_palette("colorblind")[0]
    axes.plot(quantiles.index, quantiles[0.5], color=colour, label=f"median of {curves} curves")
    for low, high, share in ((0.25, 0.75, "half"), (0.05, 0.95, "nine tenths")):
        axes.fill_between(
            quantiles.index, quantiles[low], quantiles[high], color=colour, alpha=0.2, linewidth=0, label=share
        )
    axes.legend()


def image_grid(rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> Figure:
    """Show titled images, float32 (H, W, 3) or (H, W, 1) in [0, 1], in rows."""
    figure = Figure(figsize=(3 * len(rows[0]), 3.2 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for axes, (title, image) in zip(grid.flat, (cell for row in rows for cell in row), strict=True):
        axes.imshow(image, interpolation="nearest", cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, fontsize=10)
        axes.axis("off")
    return figure
