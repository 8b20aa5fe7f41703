"""What repetitions tell: effects with intervals, and whether they are there; from scipy and statsmodels.

Both are imported inside the functions: they take a second, which a start that compares nothing need not wait for.
"""

from __future__ import annotations

import functools
import gc
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05
FEWEST = 5
"""Fewer independent values than these never show a trend, an order or a pairing."""
_POWER = 0.8


@dataclass(frozen=True)
class Effect:
    """An effect that independent values show, or do not.

    Attributes:
        n: Number of values.
        value: The effect.
        low: Lower end of its 95 % interval; NaN where there is none.
        high: Upper end.
        p: Two-sided, of no effect; 1 where there are too few values to tell.
        detectable: The smallest effect that as many such values show four times in five; NaN where nobody knows.
    """

    n: int
    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = 1.0
    detectable: float = math.nan


def mean_effect(values: Sequence[float]) -> Effect:
    """Test whether the mean of independent values is zero (Student's t)."""
    from scipy import stats

    array = np.asarray(values, float)
    n, mean = len(array), float(array.mean())
    if n < 2:
        return Effect(n, mean)
    sd = float(array.std(ddof=1))
    if sd <= 1e-12 * abs(mean) or sd == 0:  # t would divide by it
        return Effect(n, mean, mean, mean, 0.0 if mean else 1.0, 0.0)
    found = stats.ttest_1samp(array, 0.0)
    interval = found.confidence_interval(0.95)
    return Effect(n, mean, float(interval.low), float(interval.high), float(found.pvalue), _detectable(n, sd))


def slope_effect(x: Sequence[float], y: Sequence[float]) -> Effect:
    """Test whether points rise or fall: Kendall's tau, with Theil's and Sen's slope as the effect (Sen 1968)."""
    from scipy import stats

    n = len(x)
    if n < FEWEST or len(set(x)) < 3:
        return Effect(n, math.nan)
    tau = stats.kendalltau(x, y)
    slope = stats.theilslopes(y, x, 0.95)
    p = float(tau.pvalue) if math.isfinite(tau.pvalue) else 1.0
    residuals = np.asarray(y, float) - (slope.slope * np.asarray(x, float) + slope.intercept)
    spread = float(np.std(np.asarray(x, float)))
    detectable = _detectable(n, float(residuals.std(ddof=1)) / spread) if n > 2 and spread else math.nan
    return Effect(n, float(slope.slope), float(slope.low_slope), float(slope.high_slope), p, detectable)


def curvature_effect(x: Sequence[float], y: Sequence[float]) -> Effect:
    """Test whether points fall less and less, or ever more: the square term of a parabola by least squares.

    The effect is by how much the middle of the range lies below the straight line through its ends, times four: the
    term's factor, with x from 0 to 1.
    """
    import statsmodels.api as sm
    from scipy import stats

    n = len(x)
    if n < FEWEST or len(set(x)) < 3:
        return Effect(n, math.nan)
    place = (np.asarray(x, float) - min(x)) / (max(x) - min(x))
    fit = sm.OLS(np.asarray(y, float), np.column_stack([np.ones(n), place, place**2])).fit()
    low, high = fit.conf_int(LEVEL)[2]
    p = float(fit.pvalues[2])
    detectable = float((stats.t.ppf(1 - LEVEL / 2, fit.df_resid) + stats.t.ppf(_POWER, fit.df_resid)) * fit.bse[2])
    return Effect(n, float(fit.params[2]), float(low), float(high), p if math.isfinite(p) else 1.0, detectable)


def equivalence_p(values: Sequence[float], low: float, high: float) -> float:
    """Return the p of two one-sided tests that the mean of values lies between two limits (Schuirmann 1987)."""
    from statsmodels.stats.weightstats import DescrStatsW

    array = np.asarray(values, float)
    if len(array) < 2:
        return 1.0
    if float(array.std()) <= 1e-12 * abs(float(array.mean())):
        return 0.0 if low <= float(array.mean()) <= high else 1.0
    return float(DescrStatsW(array).ttost_mean(low, high)[0])


def prediction_half_width(n: int, sd: float, blocks: int = 1) -> float:
    """Return how far from the mean of `n` values, in so many blocks, a further one lies in 95 of 100 cases, at most."""
    from scipy import stats

    return float(stats.t.ppf(0.975, n - blocks)) * sd * math.sqrt(1 + 1 / n)


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust the p values of tests that are made together (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    if not ps:
        return []
    gc.freeze()  # it collects garbage, which takes up to a second among all that TensorFlow has imported
    try:
        return [float(p) for p in multipletests(list(ps), method="holm")[1]]
    finally:
        gc.unfreeze()


def _detectable(n: int, sd: float) -> float:
    """The smallest mean that a t-test of `n` values with this standard deviation shows with the power asked for."""
    return _detectable_size(n) * sd


@functools.cache
def _detectable_size(n: int) -> float:
    """The same in standard deviations."""
    from statsmodels.stats.power import TTestPower

    size = TTestPower().solve_power(nobs=n, alpha=LEVEL, power=_POWER, alternative="two-sided")
    return float(np.atleast_1d(size)[0])
