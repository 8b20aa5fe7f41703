"""How far single runs of one kind of trial lie apart, by its random seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dlperf.analysis.inference import FEWEST, prediction_half_width, prediction_p
from dlperf.analysis.statistics import mean_of


@dataclass(frozen=True)
class Spread:
    """How far single runs lie apart.

    Attributes:
        ways: Standard deviation and degrees of freedom: within machines, and with what differs between them. A further
            run may be on any of the machines, so the wider one decides.
        mean: Of the runs.
        of: Which trials these are, in words.
    """

    ways: tuple[tuple[float, int], ...]
    mean: float
    of: str = ""

    def half_width(self, n: int) -> float:
        """Return how far from the mean of `n` runs a further one lies in 95 of 100 cases, at most."""
        return max(prediction_half_width(n, sd, df) for sd, df in self.ways)

    def excluded_p(self, distance: float, n: int) -> float:
        """Return how often a further run lies so far from the mean of `n`, or farther."""
        return max(prediction_p(distance, n, sd, df) for sd, df in self.ways)

    def borrowed_half_width(self, value: float) -> float:
        """Return the half width about a single run of another kind, of which the value is known.

        Noise mostly grows with what it is in: it is scaled up where the other's value is larger, and never down.
        """
        return self.half_width(1) * (max(1.0, value / self.mean) if self.mean > 0 else 1.0)


def spread_of(runs: Mapping[tuple[Any, str], float], of: str = "") -> Spread | None:
    """Return how far runs lie apart, given by random seed and machine; None where they do not tell."""
    values = list(runs.values())
    if not values:
        return None
    within, apart = mean_of(values, [machine for _, machine in runs]), mean_of(values)
    if within.n <= within.blocks or (apart.sd == 0 and apart.n < FEWEST):
        return None
    return Spread(((within.sd, within.n - within.blocks), (apart.sd, apart.n - 1)), apart.mean, of)
