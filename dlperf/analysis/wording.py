"""Phrases of sentences on repetitions."""

from __future__ import annotations

from collections.abc import Sequence

from dlperf.analysis.inference import FEWEST, LEVEL, Effect
from dlperf.tables import cell


def is_shown(effect: Effect) -> bool:
    """Whether so many independent values show that an effect is there."""
    return effect.n >= FEWEST and effect.p < LEVEL


def why_not_shown(effect: Effect, independent: str = "random seed") -> str:
    """Say why no difference is shown: too few independent values, or an interval that holds zero."""
    if effect.n < FEWEST:
        return f"{seeds(effect.n, independent)}, and fewer than {FEWEST} show no difference"
    interval = f"95 % interval {cell(effect.low)} to {cell(effect.high)}"
    return f"no difference is shown ({interval}, {seeds(effect.n, independent)})"


def seeds(count: int, independent: str = "random seed") -> str:
    """Return "1 random seed", "3 random seeds", "2 numbers of total units"."""
    noun, of, whole = independent.partition(" of ")
    return f"{count} {noun}{'' if count == 1 else 's'}{of}{whole}"


def span(values: Sequence[float]) -> str:
    """Return the lowest and the highest of some values, "0.2 to 0.4", or the value that all have."""
    low, high = cell(min(values)), cell(max(values))
    return low if low == high else f"{low} to {high}"
