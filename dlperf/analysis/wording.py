"""Phrases of sentences on repetitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlperf.analysis.settings import undisturbed
from dlperf.tables import cell
from dlperf.trial import StoredTrial


def seeds(count: int, independent: str = "random seed") -> str:
    """Return "1 random seed", "3 random seeds", "2 numbers of total units"."""
    noun, of, whole = independent.partition(" of ")
    return f"{count} {noun}{'' if count == 1 else 's'}{of}{whole}"


def span(values: Sequence[float]) -> str:
    """Return the lowest and the highest of some values, "0.2 to 0.4", or the value that all have."""
    low, high = cell(min(values)), cell(max(values))
    return low if low == high else f"{low} to {high}"


def beside_others(trials: Sequence[StoredTrial[Any]]) -> str:
    """Say, as a further sentence, how many trials are not timed since other programs ran beside; "" if none."""
    left_out = len(trials) - len(undisturbed(trials))
    if not left_out:
        return ""
    return f" Other programs ran beside {left_out} of the {seeds(len(trials), 'trial')}, whose times take no part."
