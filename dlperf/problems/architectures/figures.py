"""Figures of the architectures problem: where the memory is, and where the work is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from dlperf.accounting.layers import LayerTable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_COLUMNS = ("parameters", "activations", "multiplications")
# Of a name beside its point, in points right and up: near ones first.
_PLACES = [(side * distance, up * distance) for distance in (8, 16, 24, 36, 48) for up in (0, 0.5, -0.5, 1, -1)
           for side in (1, -1)]  # fmt: skip
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
    """Draw multiplications against parameters, a point per counted network, on logarithmic scales; few have names."""
    names = _names(totals)
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(10, 7), layout="constrained")
        axes = figure.subplots()
    roots = np.sqrt(totals["activations"].to_numpy(float).clip(min=1))
    areas = 20 + 400 * roots / roots.max()
    points = totals[["num_params", "multiplications"]].to_numpy(float)
    axes.scatter(points[:, 0], points[:, 1], s=areas, alpha=0.5, color=sns.color_palette("colorblind")[0])
    axes.set(xscale="symlog", yscale="symlog", xlabel="parameters", ylabel="multiplications for one example")
    axes.set_title("Work against weights; the area of a point grows with the root of the activations", fontsize=11)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.yaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.margins(0.12)
    if len(names) <= _NAMED_ROWS:
        figure.draw_without_rendering()  # where points lie follows from the layout
        _name_points(axes, names, points, np.sqrt(areas) / 2 * figure.dpi / 72)
    return figure


def _name_points(axes: Axes, names: Sequence[str], points: np.ndarray, radii: np.ndarray) -> None:
    """Write each point's name beside it, at the nearest place where it covers neither a name nor a point.

    Args:
        axes: With limits and layout as they will be drawn.
        names: One for each point.
        points: In data coordinates (points, 2).
        radii: Of the points, in pixels.
    """
    centres = axes.transData.transform(points)
    covered = [Bbox([centre - radius, centre + radius]) for centre, radius in zip(centres, radii, strict=True)]
    line = {"arrowstyle": "-", "color": "grey", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0}
    for name, point in zip(names, points, strict=True):
        label = axes.annotate(name, point, xytext=(0, 0), textcoords="offset points", fontsize=8, va="center")
        for place in _PLACES:
            label.set(position=place, horizontalalignment="left" if place[0] > 0 else "right")
            box = label.get_window_extent()
            is_inside = axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max)
            if is_inside and not box.count_overlaps(covered):
                break
        covered.append(box)
        axes.annotate("", point, xytext=place, textcoords="offset points", arrowprops=line)


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
        if not bound:
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
