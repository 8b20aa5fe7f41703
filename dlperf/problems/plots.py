"""Figures that two or more problems draw."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")  # before seaborn, which imports pyplot

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def epoch_curves(epochs: pd.DataFrame, metric: str, group: str, *, title: str, log: bool = False) -> Figure:
    """Draw a metric over the epochs, a line per group; over several random seeds the mean and standard deviation.

    Args:
        epochs: One row per trial and epoch with the columns "epoch", `metric` and `group`.
        metric: Column to draw.
        group: Column that tells the lines apart; its order of appearance is kept.
        title: Title of the figure.
        log: Logarithmic vertical axis.
    """
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
    groups = epochs[group].nunique()
    marker = "o" if epochs["epoch"].max() <= 30 else None
    sns.lineplot(
        epochs, x="epoch", y=metric, hue=group, style=group, palette=sns.color_palette("colorblind", groups),
        errorbar="sd", marker=marker, dashes=False, ax=axes,
    )  # fmt: skip
    axes.set(title=title, xlabel="epoch", ylabel=metric.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if log:
        axes.set_yscale("log")
    return figure


def image_grid(rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> Figure:
    """Show titled images, float32 (H, W, 3) or (H, W, 1) in [0, 1], in rows."""
    figure = Figure(figsize=(3 * len(rows[0]), 3.2 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for axes, (title, image) in zip(grid.flat, (cell for row in rows for cell in row), strict=True):
        axes.imshow(image, interpolation="nearest", cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, fontsize=10)
        axes.axis("off")
    return figure
