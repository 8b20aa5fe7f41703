"""What repetitions tell: effects with intervals, and whether they are there; from scipy and statsmodels.

Both are imported inside the functions: they take a second, which a start that compares nothing need not wait for.
"""

from __future__ import annotations

import functools
import gc
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05
FEWEST = 5
"""Fewer independent values than these never show a trend, an order or a pairing."""
POWER = 0.8
_SIMULATED = 1000  # sets of points, for the power of Kendall's tau: it is then within 1.3 % of what is asked for


@dataclass(frozen=True)
class Effect:
    """An effect that independent values show, or do not.

    Attributes:
        n: Number of values.
        value: The effect.
        low: Lower end of its 95 % interval; NaN where there is none.
        high: Upper end.
        p: Two-sided, of no effect; 1 where there are too few values to tell.
        error: Of a t test: the standard error. Of Kendall's tau: the standard deviation about the line. NaN where
            nobody knows.
        df: Degrees of freedom of the t test; 0 of Kendall's tau.
        places: Of Kendall's tau: where the points lie.
    """

    n: int
    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = 1.0
    error: float = math.nan
    df: int = 0
    places: tuple[float, ...] = ()

    def detectable(self, level: float = LEVEL, power: float = POWER) -> float:
        """Return the smallest effect that the same test of as many values, as far apart as these, shows so often.

        Args:
            level: That the test is made at: LEVEL of one test alone, less of one among others.
            power: How often, of 1.

        Returns:
            The effect; infinite where so few values could never show any, NaN where nobody knows.
        """
        if not self.error:
            return 0.0
        if math.isnan(self.error):
            return math.nan
        return self.error * (_tau_size(self.places, level, power) if self.places else _t_size(self.df, level, power))


def mean_effect(values: Sequence[float]) -> Effect:
    """Test whether the mean of independent values is zero (Student's t)."""
    from statsmodels.stats.weightstats import DescrStatsW

    array = np.asarray(values, float)
    n, mean = len(array), float(array.mean())
    if n < 2:
        return Effect(n, mean)
    sd = float(array.std(ddof=1))
    if sd <= 1e-12 * abs(mean) or sd == 0:  # t would divide by it
        return Effect(n, mean, mean, mean, 0.0 if mean else 1.0, 0.0)
    found = DescrStatsW(array)  # in a third of the time of scipy's ttest_1samp
    low, high = found.tconfint_mean(LEVEL)
    return Effect(n, mean, float(low), float(high), float(found.ttest_mean()[1]), sd / math.sqrt(n), n - 1)


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
    places = tuple(map(float, x))
    error = float(residuals.std(ddof=2))
    return Effect(n, float(slope.slope), float(slope.low_slope), float(slope.high_slope), p, error, places=places)


def curvature_effect(x: Sequence[float], y: Sequence[float]) -> Effect:
    """Test whether points fall less and less, or ever more: the square term of a parabola by least squares.

    The effect is by how much the middle of the range lies below the straight line through its ends, times four: the
    term's factor, with x from 0 to 1.
    """
    import statsmodels.api as sm

    n = len(x)
    if n < FEWEST or len(set(x)) < 3:
        return Effect(n, math.nan)
    place = (np.asarray(x, float) - min(x)) / (max(x) - min(x))
    fit = sm.OLS(np.asarray(y, float), np.column_stack([np.ones(n), place, place**2])).fit()
    low, high = fit.conf_int(LEVEL)[2]
    p = float(fit.pvalues[2])
    p = p if math.isfinite(p) else 1.0
    return Effect(n, float(fit.params[2]), float(low), float(high), p, float(fit.bse[2]), int(fit.df_resid))


def equivalence_p(values: Sequence[float], low: float, high: float) -> float:
    """Return the p of two one-sided tests that the mean of values lies between two limits (Schuirmann 1987)."""
    from statsmodels.stats.weightstats import DescrStatsW

    array = np.asarray(values, float)
    if len(array) < 2:
        return 1.0
    if float(array.std()) <= 1e-12 * abs(float(array.mean())):
        return 0.0 if low <= float(array.mean()) <= high else 1.0
    return float(DescrStatsW(array).ttost_mean(low, high)[0])


def blocks_differ_p(values: Sequence[float], blocks: Sequence[Hashable]) -> float:
    """Return the p of values having one mean in all blocks (one-way analysis of variance); 1 where nothing tells."""
    from scipy import stats

    own: dict[Hashable, list[float]] = {}
    for value, block in zip(values, blocks, strict=True):
        own.setdefault(block, []).append(value)
    if len(own) < 2 or len(values) == len(own):
        return 1.0
    within = max(float(np.std(part)) for part in own.values())
    if within <= 1e-12 * max(map(abs, values)):  # F would divide by it
        return 1.0 if float(np.std(values)) <= 1e-12 * max(map(abs, values)) else 0.0
    return float(stats.f_oneway(*own.values()).pvalue)


def prediction_half_width(n: int, sd: float, df: int) -> float:
    """Return how far from the mean of `n` values a further one lies in 95 of 100 cases, at most.

    Args:
        n: Number of values.
        sd: How far values lie apart: their standard deviation, or that of others.
        df: Degrees of freedom of that.
    """
    from scipy import stats

    return float(stats.t.ppf(1 - LEVEL / 2, df)) * sd * math.sqrt(1 + 1 / n)


def prediction_p(distance: float, n: int, sd: float, df: int) -> float:
    """Return how often a further value lies so far from the mean of `n` values, or farther (see above)."""
    from scipy import stats

    if not sd:
        return 0.0 if distance > 0 else 1.0
    return float(2 * stats.t.sf(max(0.0, distance) / (sd * math.sqrt(1 + 1 / n)), df))


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


@functools.cache
def _t_size(df: int, level: float, power: float) -> float:
    """The smallest effect that a two-sided t test shows with this power, in standard errors.

    Of the non-central t distribution, as in statsmodels's TTestPower, whose search does not converge at small levels.
    """
    from scipy import optimize, stats

    critical = stats.t.ppf(1 - level / 2, df)
    return float(optimize.brentq(lambda size: stats.nct.sf(critical, df, size) - power, 0, 2 * critical + 10))


@functools.cache
def _tau_size(places: tuple[float, ...], level: float, power: float) -> float:
    """The smallest slope that Kendall's tau shows with this power, in standard deviations about the line.

    Simulated with normal deviations. As a slope grows, one pair of points after the other begins to rise, each at a
    slope of its own; a set is shown as rising from the slope on at which as many pairs rise as the test asks for.
    """
    x = np.asarray(places)
    first, second = np.triu_indices(len(x), 1)
    first, second = first[x[first] != x[second]], second[x[first] != x[second]]
    deviations = np.random.default_rng(0).standard_normal((_SIMULATED, len(x)))
    rise_from = (deviations[:, first] - deviations[:, second]) / (x[second] - x[first])
    needed = _rising_pairs(x, deviations[0], np.sort(rise_from[0]), level)
    if needed is None:
        return math.inf
    return float(np.quantile(np.partition(rise_from, needed - 1, axis=1)[:, needed - 1], power))


def _rising_pairs(x: np.ndarray, deviations: np.ndarray, rise_from: np.ndarray, level: float) -> int | None:
    """How many pairs of points have to rise before Kendall's tau is significant; None where all are too few."""
    from scipy import stats

    ends = np.append(rise_from, rise_from[-1] + 1)

    def p(rising: int) -> float:
        slope = (ends[rising - 1] + ends[rising]) / 2
        return float(stats.kendalltau(x, slope * x + deviations).pvalue)

    too_few, enough = len(rise_from) // 2, len(rise_from)
    if not p(enough) < level:
        return None
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if p(middle) < level else (middle, enough)
    return enough
