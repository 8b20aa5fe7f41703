"""What limits a step of several workers, and what to do about it."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from dlperf.analysis.wording import seeds
from dlperf.tables import cell

COMPUTE, INPUT, ALL_REDUCE = "compute", "input", "all-reduce"
_DO = {
    COMPUTE: "more workers, or stronger ones, shorten it",
    INPUT: "examples that are smaller, or prepared beforehand, shorten it more than further workers do",
    ALL_REDUCE: "a larger batch for each worker, or a link of more bandwidth, shortens it more than further workers do",
}


def limit(parts: Any) -> tuple[str, float]:
    """Return what takes the largest part of a step, and its share of the three.

    Waiting for other workers counts as all-reduce, in which it is done. Where compute was not measured by itself, it is
    what the others leave of the step.

    Args:
        parts: `step_ms`, `compute_ms`, `input_ms`, `all_reduce_ms` and `wait_ms` by name, as the table of steps has
            them; NaN for what was not measured.
    """
    together = _known(parts["all_reduce_ms"]) + max(0.0, _known(parts["wait_ms"]))
    loading = _known(parts["input_ms"])
    compute = parts["compute_ms"]
    if math.isnan(compute):
        compute = max(0.0, parts["step_ms"] - loading - together)
    shares = {COMPUTE: max(0.0, compute), INPUT: loading, ALL_REDUCE: together}
    largest = max(shares, key=lambda name: shares[name])
    return largest, shares[largest] / (sum(shares.values()) or 1.0)


def advice(steps: pd.DataFrame, measured: pd.DataFrame) -> str:
    """Say of the most workers of each mode what limits them and what to do, and which number is cheapest.

    Emulated measurements say nothing about devices and are left out.

    Args:
        steps: The table of the parts of a step.
        measured: The table of measurements, whose rows are the same.
    """
    kept = measured if "note" not in measured else measured[measured["note"] == ""]
    said = []
    for mode, rows in kept.groupby("mode", sort=False):
        most: Any = rows["workers"].to_numpy().argmax()
        largest, share = limit(steps.loc[rows.index[most]])
        workers = seeds(int(rows["workers"].iloc[most]), "worker")
        text = f"{mode} scaling to {workers} is limited by {largest} ({share:.0%} of a step): {_DO[largest]}"
        by_cost = rows.groupby("workers")["cost"].min()
        if len(by_cost) > 1 and by_cost.max() > 0:
            text += f"; cheapest is {by_cost.idxmin()}, at {cell(by_cost.min())} for the epochs"
        said.append(text)
    sentence = ". ".join(f"{text[:1].upper()}{text[1:]}" for text in said)
    return f"{sentence}." if sentence else ""


def _known(value: float) -> float:
    return 0.0 if math.isnan(value) else float(value)
