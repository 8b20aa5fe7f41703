"""Trials as the tracking store gives them back, made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dlperf import entry_points
from dlperf.metric_names import best, has_best
from dlperf.parameters import from_texts
from dlperf.trial import StoredTrial
from tests.support.made_trials import made


def told_at_the_end(history: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The metrics that a run has of its curves: MLflow gives the last value of each, and the best ones are logged."""
    last = {name: float(curve[-1]) for name, curve in history.items()}
    return last | {f"best_{name}": best(name, list(curve)) for name, curve in history.items() if has_best(name)}


def stored(problem: str, number: int = 0, tags: dict[str, str] | None = None, **given: Any) -> StoredTrial[Any]:
    """Trial `number` of the made ones; `metrics` and `history` replace or add to its own."""
    metrics, history = given.pop("metrics", {}), given.pop("history", {})
    trial = made(problem, number, **given)
    return StoredTrial(
        f"{problem}-{number}-{sorted(given.items())}",
        from_texts(entry_points.load_problem(problem).parameters, trial.params),
        trial.params,
        {**trial.metrics, **metrics},
        {**trial.history, **history},
        {**trial.tags, **(tags or {})},
        trial.started,
    )
