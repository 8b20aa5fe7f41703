"""Means with intervals, and median times to a target that some repetitions never reach."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mean:
    """A mean over repetitions.

    Attributes:
        n: Number of values.
        mean: Their mean.
        sd: Their standard deviation, within blocks where there are several; NaN where they do not tell.
        low: Lower end of the 95 % interval of the mean (Student's t); NaN where they do not tell.
        high: Upper end.
        blocks: The machines they are from, or what else differs between them that is not asked about.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float
    blocks: int = 1


def mean_of(values: Sequence[float], blocks: Sequence[Hashable] | None = None) -> Mean:
    """Return the mean of at least one value, with its standard deviation and interval.

    Args:
        values: The values.
        blocks: The block of each, as a machine. The mean of a block is no chance: what varies is what is left within
            the blocks, with a degree of freedom less for each (a one-way analysis of variance with fixed blocks).
    """
    from scipy import stats  # a second to import, which a start that compares nothing need not wait for

    array = np.asarray(values, float)
    n, mean = len(array), float(array.mean())
    own = list(blocks or [None] * n)
    k = len(set(own))
    if n == k:
        return Mean(n, mean, math.nan, math.nan, math.nan, k)
    parts = [array[[other == block for other in own]] for block in set(own)] if k > 1 else [array]
    sd = math.sqrt(math.fsum(float(part.var()) * len(part) for part in parts) / (n - k))
    half = float(stats.t.ppf(0.975, n - k)) * sd / math.sqrt(n)
    return Mean(n, mean, sd, mean - half, mean + half, k)


@dataclass(frozen=True)
class Reached:
    """Times to a target that not every repetition reached.

    Attributes:
        n: Number of repetitions.
        reached: How many reached it.
        median: When a half had reached it, by the cumulative incidence; NaN where it does not come to a half.
        longest: The longest time that one was followed without reaching it; NaN where all did.
    """

    n: int
    reached: int
    median: float
    longest: float


def time_to(reached: Sequence[float], followed: Sequence[float], stopped: Sequence[float] = ()) -> Reached:
    """Summarise the times to a target.

    Early stopping ends a training because it got no better: those would hardly have reached the target later, as
    censored ones are taken to have. It is a competing event (Kalbfleisch and Prentice 2002, section 8.2).

    Args:
        reached: Times of the repetitions that reached it.
        followed: How long those were followed that ended with their epochs.
        stopped: How long those were that early stopping ended.
    """
    from statsmodels.duration.survfunc import CumIncidenceRight

    times = [*reached, *followed, *stopped]
    median = math.nan
    if reached:
        ends = [1] * len(reached) + [0] * len(followed) + [2] * len(stopped)
        with np.errstate(divide="ignore", invalid="ignore"):  # of its standard errors, where all have ended
            curve = CumIncidenceRight(np.asarray(times, float), np.asarray(ends))
        passed = np.flatnonzero(curve.cinc[0] >= 0.5 - 1e-12)
        median = float(curve.times[passed[0]]) if len(passed) else math.nan
    return Reached(len(times), len(reached), median, max([*followed, *stopped], default=math.nan))
