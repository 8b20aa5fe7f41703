"""Archived trials, made by hand."""

from __future__ import annotations

from typing import Any

from dlperf.archive.parts import ArchivedTrial


def archived(run_id: str = "a1", **changes: Any) -> ArchivedTrial:
    """A finished trial of problem 4."""
    facts = {"tags": {"dlperf.version": "0.2.0"}, "metrics": {"test_error": 0.1}, "curves": {"train_loss": {1: 2.0}}}
    times = {"started": 1, "ended": 2}
    common = {"name": "cutout m=0", "problem": "cutout", "sweep": "5" * 32, "params": {"m": "0"}}
    return ArchivedTrial(run_id=run_id, **{**common, **times, **facts, **changes})
