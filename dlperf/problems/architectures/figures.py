"""Figures of the architectures problem: where the memory is, and where the work is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from dlperf.accounting.layers import LayerTable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

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
        if few:
            axes.barh(positions, values, height=0.8, color=colour)
        else:  # one shape: hundreds of bars take seconds to draw
            axes.stairs(values, np.arange(len(rows) + 1) - 0.5, orientation="horizontal", fill=True, color=colour)
        bound = "at least " if column in table.at_least else ""
        axes.set_title(f"{column}: {bound}{getattr(table, column):,}", fontsize=11)
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
    names = _names(totals)
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(12, 1.5 + 0.3 * len(names)), layout="constrained")
        panels = figure.subplots(1, 3, sharey=True)
    columns = ("num_params", "activations", "multiplications")
    for axes, column, colour in zip(panels, columns, sns.color_palette("colorblind"), strict=False):
        axes.scatter(totals[column], names, color=colour, s=60)  # a bar has no natural start on a logarithmic scale
        scale = "log" if (totals[column] > 0).all() else "symlog"
        axes.set(title=column.replace("num_params", "parameters"), xscale=scale)
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    panels[0].invert_yaxis()
    return figure


def work_figure(totals: pd.DataFrame) -> Figure:
    """Draw multiplications against parameters, a point per counted network with its name, on logarithmic scales."""
    names = _names(totals)
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(10, 7), layout="constrained")
        axes = figure.subplots()
    sizes = np.sqrt(totals["activations"].astype(float).clip(lower=1))
    axes.scatter(
        totals["num_params"], totals["multiplications"], s=20 + 400 * sizes / sizes.max(), alpha=0.5,
        color=sns.color_palette("colorblind")[0],
    )  # fmt: skip
    for name, x, y in zip(names, totals["num_params"], totals["multiplications"], strict=True):
        axes.annotate(name, (x, y), xytext=(6, 4), textcoords="offset points", fontsize=8)
    axes.set(xscale="symlog", yscale="symlog", xlabel="parameters", ylabel="multiplications for one example")
    axes.set_title("Work against weights; the area of a point grows with the root of the activations", fontsize=11)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.yaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.margins(0.12)
    return figure


def network_figure(table: LayerTable) -> Figure:
    """Draw parameters, activations, multiplications and what an output sees along the network, input to the left."""
    rows = table.rows
    seen = [row.receptive_field for row in rows]
    has_fields = sum(field is not None for field in seen) > 1
    count = 4 if has_fields else 3
    with sns.axes_style("ticks"):
        figure = Figure(figsize=(12, 2.1 * count + 1), layout="constrained")
        panels = figure.subplots(count, 1, sharex=True)
    positions = np.arange(len(rows))
    for axes, column, colour in zip(panels, _COLUMNS, sns.color_palette("colorblind"), strict=False):
        values = [getattr(row, column) or 0 for row in rows]
        if len(rows) <= _NAMED_ROWS:
            axes.bar(positions, values, width=0.85, color=colour)
        else:
            axes.stairs(values, np.arange(len(rows) + 1) - 0.5, fill=True, color=colour)
        bound = "at least " if column in table.at_least else ""
        axes.set_title(f"{column}: {bound}{getattr(table, column):,}", fontsize=11, loc="left")
        axes.margins(x=0.01, y=0.25)
        _name_the_largest(axes, values, [row.layer for row in rows])
    if has_fields:
        known = [(position, field) for position, field in enumerate(seen) if field is not None]
        panels[3].step(*zip(*known, strict=True), where="mid", color=sns.color_palette("colorblind")[7])
        panels[3].set_title("receptive field, pixels along a side", fontsize=11, loc="left")
        panels[3].margins(x=0.01, y=0.1)
    for axes in panels:
        axes.yaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    shown = positions if len(rows) <= _NAMED_ROWS else positions[:: -(-len(rows) // _NAMED_ROWS)]
    panels[-1].set_xticks(shown, [rows[position].layer for position in shown], rotation=90, fontsize=7)
    sns.despine(figure)
    figure.suptitle(f"{table.title}: along the network, for one example")
    return figure


def _name_the_largest(axes: Axes, values: Sequence[int], names: Sequence[str]) -> None:
    """Write beside the largest bar what it is and its share; the others are read off."""
    total = sum(values)
    if total:
        largest = max(range(len(values)), key=values.__getitem__)
        share = f"{names[largest]}: {100 * values[largest] / total:.0f} %"
        side = "right" if largest > len(values) / 2 else "left"
        axes.annotate(share, (largest, values[largest]), xytext=(0, 3), textcoords="offset points", ha=side, fontsize=9)


def _names(totals: pd.DataFrame) -> list[str]:
    """Name each counted network: "vgg19, with_biases", "ResNet50"."""
    pairs = zip(totals["subject"].astype(str), totals["account"].astype(str), strict=True)
    return [f"{subject.removeprefix('keras:')}, {account}".removesuffix(", model") for subject, account in pairs]
