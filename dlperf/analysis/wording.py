"""Phrases of sentences on repetitions."""

from __future__ import annotations

from collections.abc import Sequence

from dlperf.tables import cell


def seeds(count: int, independent: str = "random seed") -> str:
    """Return "1 random seed", "3 random seeds", "2 numbers of total units"."""
    noun, of, whole = independent.partition(" of ")
    return f"{count} {noun}{'' if count == 1 else 's'}{of}{whole}"


def span(values: Sequence[float]) -> str:
    """Return the lowest and the highest of some values, "0.2 to 0.4", or the value that all have."""
    low, high = cell(min(values)), cell(max(values))
    return low if low == high else f"{low} to {high}"
