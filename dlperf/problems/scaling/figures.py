"""Figures of the scaling problem: throughput, time and cost against workers, strong and weak in the same pictures."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlperf.problem import Deferred

_PICTURES = {
    "images_per_second": "images per second",
    "epochs_seconds": "training seconds",
    "cost": "cost",
    "efficiency": "efficiency",
}


def worker_figures(measured: pd.DataFrame) -> Deferred[Figure]:
    """Draw every quantity against workers, a line per mode and strategy, the ideal dashed."""
    figures: dict[str, Callable[[], Figure]] = {}
    for column in _PICTURES:
        if column in measured:
            name = "throughput" if column == "images_per_second" else column
            figures[name] = functools.partial(_against_workers, measured, column)
    distributed = measured[measured["strategy"] != "none"]
    if distributed.groupby(["mode", "workers"])["strategy"].nunique().max() > 1:
        figures["variants"] = lambda: _variants(distributed)
    return Deferred(figures)


def _variants(measured: pd.DataFrame) -> Figure:
    """Draw the throughput by way to reduce, mode and number of workers."""
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.subplots()
    kinds = measured.assign(place=measured["mode"] + ", " + measured["workers"].astype(str) + " workers")
    palette = sns.color_palette("colorblind", kinds["strategy"].nunique())
    sns.barplot(kinds, x="place", y="images_per_second", hue="strategy", palette=palette, errorbar=None, ax=axes)
    axes.set(title="images per second by way to reduce", xlabel="", ylabel="images per second")
    _say_emulated(axes, measured)
    axes.legend(fontsize=8, title="", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _against_workers(measured: pd.DataFrame, column: str) -> Figure:
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.subplots()
    colours = dict(zip(("strong", "weak"), sns.color_palette("colorblind", 2), strict=True))
    groups: dict[Any, pd.DataFrame] = dict(list(measured.groupby(["mode", "strategy"], sort=False)))
    for (mode, strategy), rows in groups.items():
        points = rows.groupby("workers")[column].mean()
        marker = "x" if strategy == "none" else "o"
        label = f"{mode}, plain loop" if strategy == "none" else f"{mode}, {strategy}"
        axes.plot(points.index, points.to_numpy(), marker=marker, color=colours[mode], label=label)
        if strategy != "none" and 1 in points.index and len(points) > 1:
            ideal = _ideal(column, mode, points.index.to_series(), points.loc[1])
            axes.plot(ideal.index, ideal.to_numpy(), linestyle="--", linewidth=1, color=colours[mode], alpha=0.5)
    counts = sorted(set(measured["workers"]))
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
    label, epochs = _PICTURES[column], ""
    if column in ("epochs_seconds", "cost"):
        epochs = f" ({measured['epochs'].iloc[0]} epochs)"
    axes.set(title=f"{label}{epochs} against workers", xlabel="workers", ylabel=label)
    _say_emulated(axes, measured)
    axes.legend(fontsize=8)
    return figure


def _ideal(column: str, mode: str, workers: pd.Series, one: float) -> pd.Series:
    """Return what the column would be if adding workers cost nothing."""
    if column == "images_per_second":
        return workers * one
    if column == "epochs_seconds":
        return one / workers
    return workers * 0 + one


def _say_emulated(axes: Axes, measured: pd.DataFrame) -> None:
    if "note" in measured:
        notes = sorted({note for note in measured["note"] if note})
        axes.set_title(f"{axes.get_title()}\nemulated: {'; '.join(notes)}", fontsize=10)
