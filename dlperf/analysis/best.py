"""Which of several alternatives is the best on average over random seeds, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DRAWS = 8_000
_GRID = 48
SURE = 0.95
"""The probability from which on a choice is called settled."""


@dataclass(frozen=True)
class Choice:
    """The alternative that is most probably the best.

    Attributes:
        probabilities: That each is the best; they add up to 1.
        first: Place of the most probable one.
        second: Place of the next.
        more_seeds: Further random seeds of these two after which the difference, if it stays, would be settled; 0 where
            it is, and None where as good as nothing tells them apart.
    """

    probabilities: Sequence[float]
    first: int
    second: int
    more_seeds: int | None


def choose(groups: Sequence[Sequence[float]], *, higher: bool = False) -> Choice | None:
    """Return the best of several alternatives, each run with some random seeds; None where that cannot be told.

    A hierarchical model (Gelman et al. 2013, "Bayesian Data Analysis", section 5.4): values are normal around the mean
    of their alternative, with one variance for all, and the means normal around a common one. The means are drawn
    together as far as the data allow it, without which the one that comes first by luck would look too good. Priors:
    flat in the common mean, in the logarithm of the seeds' standard deviation and in the standard deviation of the
    means. The posterior is taken on a grid and by draws that follow from nothing but the values.

    Args:
        groups: Finite values of each alternative, one a random seed.
        higher: Whether higher is better.
    """
    if len(groups) < 2 or any(not group for group in groups) or not any(len(group) > 1 for group in groups):
        return None
    counts = np.array([len(group) for group in groups], float)
    means = np.array([np.mean(group) for group in groups]) * (-1 if higher else 1)
    squares = float(sum(np.sum((np.asarray(group) - np.mean(group)) ** 2) for group in groups))
    freedom = counts.sum() - len(groups)
    scale = math.sqrt(squares / freedom) if squares > 0 else 0.0
    if scale <= 1e-12 * max(1.0, float(np.abs(means).max())):  # every seed gave the same
        best = means == means.min()
        return _choice((best / best.sum()).tolist(), means, 0.0, counts)
    drawn = _draw(means, counts, squares, freedom, scale)
    wins = np.bincount(drawn.argmin(axis=1), minlength=len(groups)) / len(drawn)
    return _choice(wins.tolist(), drawn.mean(axis=0), scale, counts)


def _draw(
    means: NDArray[np.float64], counts: NDArray[np.float64], squares: float, freedom: float, scale: float
) -> NDArray[np.float64]:
    """Draw the alternatives' true means from their posterior: float64 (draws, alternatives)."""
    rng = np.random.default_rng(0)
    # The grid: standard deviations of the seeds, and of the means, in units of what is seen of them.
    spread = max(float(means.std(ddof=1)), scale / math.sqrt(counts.mean()))
    seeds = scale * np.exp(np.linspace(-2.5, 2.5, _GRID))[:, None, None]
    between = spread * np.linspace(1e-3, 6.0, _GRID)[None, :, None]
    variances = seeds**2 / counts + between**2  # of the observed means around the common one
    precision = (1 / variances).sum(axis=-1)
    common = (means / variances).sum(axis=-1) / precision
    log_posterior = (
        -freedom * np.log(seeds[..., 0])
        - squares / (2 * seeds[..., 0] ** 2)
        - 0.5 * np.log(variances).sum(axis=-1)
        - 0.5 * ((means - common[..., None]) ** 2 / variances).sum(axis=-1)
        - 0.5 * np.log(precision)
    )
    weights = np.exp(log_posterior - log_posterior.max()).ravel()
    cells = rng.choice(weights.size, _DRAWS, p=weights / weights.sum())
    row, column = np.unravel_index(cells, log_posterior.shape)
    centre = common[row, column] + rng.standard_normal(_DRAWS) / np.sqrt(precision[row, column])
    of_seeds, of_means = seeds[row, 0, 0][:, None] ** 2 / counts, between[0, column, 0][:, None] ** 2
    kept = of_means / (of_seeds + of_means)  # of the distance from the common mean
    expected = centre[:, None] + kept * (means - centre[:, None])
    deviation: NDArray[np.float64] = np.sqrt(kept * of_seeds)
    drawn: NDArray[np.float64] = expected + deviation * rng.standard_normal(expected.shape)
    return drawn


def _choice(
    probabilities: Sequence[float], means: NDArray[np.float64], scale: float, counts: NDArray[np.float64]
) -> Choice:
    order = sorted(range(len(probabilities)), key=lambda place: (-probabilities[place], means[place]))
    first, second = order[:2]
    if probabilities[first] >= SURE:
        return Choice(probabilities, first, second, 0)
    difference = float(means[second] - means[first])
    if difference <= 0 or scale == 0:
        return Choice(probabilities, first, second, None)
    needed = math.ceil(2 * (1.645 * scale / difference) ** 2)  # each of the two, for a one-sided 95 %
    more = max(1, needed - int(min(counts[first], counts[second])))
    return Choice(probabilities, first, second, more if more <= 1000 else None)
