"""Means with intervals, and median times to a target that some repetitions never reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mean:
    """A mean over repetitions.

    Attributes:
        n: Number of values.
        mean: Their mean.
        sd: Their standard deviation; NaN for one value.
        low: Lower end of the 95 % interval of the mean (Student's t); NaN for one value.
        high: Upper end.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean of at least one value, with its standard deviation and interval."""
    from scipy import stats  # a second to import, which a start that compares nothing need not wait for

    array = np.asarray(values, float)
    n, mean = len(array), float(array.mean())
    if n == 1:
        return Mean(1, mean, math.nan, math.nan, math.nan)
    sd = float(array.std(ddof=1))
    half = float(stats.t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
    return Mean(n, mean, sd, mean - half, mean + half)


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
