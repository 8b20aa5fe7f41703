"""Trials as the tracking store gives them back, made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dlperf.metric_names import best, has_best


def told_at_the_end(history: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The metrics that a run has of its curves: MLflow gives the last value of each, and the best ones are logged."""
    last = {name: float(curve[-1]) for name, curve in history.items()}
    return last | {f"best_{name}": best(name, list(curve)) for name, curve in history.items() if has_best(name)}
