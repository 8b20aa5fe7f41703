"""Figures of the architectures problem: where the memory is, and where the work is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from dlperf.accounting.layers import LayerTable

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("parameters", "activations", "multiplications")
_NAMED_ROWS = 45  # more names than this cannot be read


def layer_figure(table: LayerTable) -> Figure:
    """Draw parameters, activations and multiplications per layer side by side, the layers from top to bottom."""
    rows = [row for row in table.rows if row.parameters or row.multiplications or row.activations]
    few = len(rows) <= _NAMED_ROWS
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(12, 1.5 + 0.24 * len(rows) if few else 9), layout="constrained")
        panels = figure.subplots(1, 3, sharey=True)
    positions = np.arange(len(rows))
    for axes, column, colour in zip(panels, _COLUMNS, sns.color_palette("colorblind"), strict=False):
        values = [getattr(row, column) or 0 for row in rows]
        axes.barh(positions, values, height=0.8 if few else 1.0, color=colour)
        axes.set_title(f"{column}: {getattr(table, column):,}", fontsize=11)
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y", visible=False)
        axes.margins(y=0.01)
    panels[0].invert_yaxis()
    if few:
        panels[0].set_yticks(positions, [row.layer for row in rows])
    else:
        panels[0].set_ylabel("layer, in order of its call")
    figure.suptitle(f"{table.title}: per layer, for one example")
    return figure


def subject_figure(totals: pd.DataFrame) -> Figure:
    """Draw the totals of all counted networks, on logarithmic scales."""
    pairs = zip(totals["subject"].astype(str), totals["account"].astype(str), strict=True)
    names = [f"{subject.removeprefix('keras:')}, {account}".removesuffix(", model") for subject, account in pairs]
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(12, 1.5 + 0.3 * len(names)), layout="constrained")
        panels = figure.subplots(1, 3, sharey=True)
    columns = ("num_params", "activations", "multiplications")
    for axes, column, colour in zip(panels, columns, sns.color_palette("colorblind"), strict=False):
        axes.scatter(totals[column], names, color=colour, s=60)  # a bar has no natural start on a logarithmic scale
        axes.set(title=column.replace("num_params", "parameters"), xscale="log")
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    panels[0].invert_yaxis()
    return figure
