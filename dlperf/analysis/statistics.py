"""Means with intervals, and medians of times that were not always reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Mean:
    """A mean over repetitions.

    Attributes:
        n: Number of values.
        mean: Their mean.
        sd: Their standard deviation; NaN for one value, of which nothing is known.
        low: Lower end of the 95 % interval of the mean (Student's t); NaN for one value.
        high: Upper end.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean of at least one value, with what is known of its uncertainty."""
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
        median: Kaplan and Meier's median, in which those that did not count until they ended; NaN where their curve
            does not come down to a half.
        longest: The longest time that anyone was followed without reaching it; NaN where all did.
    """

    n: int
    reached: int
    median: float
    longest: float


def time_to(reached: Sequence[float], followed: Sequence[float]) -> Reached:
    """Return what is known of the time to a target.

    Args:
        reached: Times of the repetitions that reached it.
        followed: How long each of the others was followed, in vain.
    """
    median = math.nan
    if reached:
        censored = stats.CensoredData(uncensored=list(reached), right=list(followed))
        curve = stats.ecdf(censored).sf
        passed = np.flatnonzero(curve.probabilities <= 0.5 + 1e-12)
        median = float(curve.quantiles[passed[0]]) if len(passed) else math.nan
    return Reached(len(reached) + len(followed), len(reached), median, max(followed, default=math.nan))
