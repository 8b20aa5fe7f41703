"""Figures of the optimizers problem."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from dlperf.parameters import defining
from dlperf.problems import plots
from dlperf.problems.optimizers.sentences import network
from dlperf.trial import StoredTrial

if TYPE_CHECKING:
    from dlperf.problems.optimizers.parameters import OptimizersParameters

Trials = Sequence[StoredTrial["OptimizersParameters"]]

_CURVES = {
    "train_loss": "training loss (penalty included)",
    "train_cross_entropy": "training cross-entropy",
    "train_subset_cross_entropy": "cross-entropy on the training subset, in inference mode",
    "validation_cross_entropy": "validation cross-entropy",
}

_ENDINGS: dict[bool | str, str] = {False: "_without_dropout", True: "_with_dropout", "as built": ""}
"""The end of a figure's name, by whether the network drops units."""


def curves(trials: Trials) -> dict[str, Callable[[], Figure]]:
    """Return functions that draw the metrics over the epochs, a line per optimizer, without and with dropout.

    The training losses are the notebook's two figures.
    """
    figures: dict[str, Callable[[], Figure]] = {}
    for metric, name in _CURVES.items():
        for dropout, ending in _ENDINGS.items():
            plotted = [t for t in trials if t.parameters.drops == dropout and metric in t.history]
            if plotted:
                title = f"{name} per optimizer, {_title(plotted, dropout)}"
                figures[metric + ending] = functools.partial(_curve, plotted, metric, title)
    return figures


def _title(trials: Trials, dropout: bool | str) -> str:
    """Say which network was trained, of a user's own its name."""
    own = next((t.parameters for t in trials if t.parameters.drops == dropout and t.parameters.own_model), None)
    return defining(own)["model"] if own else network(dropout)


def comparisons(rows: pd.DataFrame) -> dict[str, Callable[[], Figure]]:
    """Return functions that draw test accuracy and time per epoch by optimizer: mean and deviation over seeds."""
    return {
        "test_accuracy": lambda: _by_optimizer(rows, "test_accuracy", "test accuracy after the last epoch"),
        "seconds_per_epoch": lambda: _by_optimizer(rows, "seconds_per_epoch", "training seconds per epoch"),
    }


def learning_rates(trials: Trials, table: pd.DataFrame) -> Figure:
    """Draw the validation cross-entropy against the learning rates that trials tried, without and with dropout."""
    kinds = sorted(set(table["dropout"]), key=str)
    optimizers = list(dict.fromkeys(table["optimizer"]))
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(5.5 * len(kinds), 4.5), layout="constrained")
        panels = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for axes, dropout in zip(panels, kinds, strict=True):
        sns.lineplot(
            table[table["dropout"] == dropout], x="learning_rate", y="validation_cross_entropy", hue="optimizer",
            hue_order=optimizers, palette=sns.color_palette("colorblind", len(optimizers)), marker="o", ax=axes,
        )  # fmt: skip
        # A network that learned nothing stays near ln 10; a rate that ends far above only hides the others.
        axes.set_ylim(top=min(2.6, table["validation_cross_entropy"].max() * 1.05))
        axes.set(
            xscale="log",
            title=_title(trials, dropout),
            xlabel="learning rate",
            ylabel="validation cross-entropy after the search's epochs",
        )
    return figure


def _curve(trials: Trials, metric: str, title: str) -> Figure:
    epochs = pd.DataFrame(
        {"epoch": epoch, "optimizer": t.parameters.optimizer, metric: value}
        for t in trials
        for epoch, value in enumerate(t.history[metric], 1)
    )
    published = plots.published_points("optimizers", metric, trials, "optimizer")
    return plots.epoch_curves(epochs, metric, "optimizer", title=title, published=published)


def _by_optimizer(rows: pd.DataFrame, column: str, label: str) -> Figure:
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
    kinds = rows.assign(dropout=rows["dropout"].map(network))
    order = [name for name in map(network, _ENDINGS) if name in set(kinds["dropout"])]
    shared = {"x": "optimizer", "y": column, "hue": "dropout", "hue_order": order, "ax": axes}
    palette = sns.color_palette("colorblind", len(order))
    sns.barplot(kinds, **shared, palette=palette, errorbar="sd" if rows["random_seed"].nunique() > 1 else None)
    axes.set(title=label, xlabel="", ylabel=label)
    axes.legend(title="", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
