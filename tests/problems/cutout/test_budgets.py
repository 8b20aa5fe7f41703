"""The same budget for every m: epochs, updates or seconds, against a count by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dlperf.problems.cutout.budgets import budget_table, budgets
from tests.support.trials import stored


def trial(m: int, errors: list[float], seconds: float, **parameters: Any) -> Any:
    made = stored("cutout", 0, m=m, **parameters)
    history = {"validation_error": errors, "epoch_seconds": [seconds] * len(errors)}
    return replace(made, run_id=f"m{m}", history=history)


def errors_by_budget(trials: list[Any]) -> dict[str, dict[str, float]]:
    return {b.name: {rival.name: rival.mean.mean for rival in b.result.rivals} for b in budgets(trials)}


def test_copies_in_the_epoch_are_more_updates() -> None:
    """Four epochs of one copy: as many updates as two of m=2, and as much time as the first of m=4."""
    made = [
        trial(0, [0.8, 0.7, 0.6, 0.5], 1.0, copies_in="epoch"),
        trial(2, [0.75, 0.55, 0.45, 0.4], 2.0, copies_in="epoch"),
        trial(4, [0.65, 0.35, 0.3, 0.2], 4.0, copies_in="epoch"),
    ]
    assert errors_by_budget(made) == {
        "epochs": {"m=4": 0.2, "m=2": 0.4, "m=0": 0.5},
        "updates": {"m=0": 0.5, "m=2": 0.55, "m=4": 0.65},
        "seconds": {"m=0": 0.5, "m=2": 0.55, "m=4": 0.65},
    }


def test_copies_in_the_batch_are_as_many_updates() -> None:
    made = [trial(m, [0.8, 0.5 - m / 16], 1.0 + m, copies_in="batch") for m in (0, 4)]
    by_budget = errors_by_budget(made)
    assert by_budget["updates"] == by_budget["epochs"] == {"m=0": 0.5, "m=4": 0.25}
    assert by_budget["seconds"] == {"m=0": 0.5}  # not one epoch of m=4 fits into two of m=0


def test_a_row_per_budget_and_m() -> None:
    made = [trial(m, [0.8, 0.6], 1.0, copies_in="batch") for m in (0, 4)]
    table = budget_table(made)
    assert list(table["equal"].unique()) == ["2 epochs", "2 epochs' worth of updates", "2 s of training"]
    assert len(table) == 6
    assert table["validation_error"].to_list() == pytest.approx([0.6] * 6)
