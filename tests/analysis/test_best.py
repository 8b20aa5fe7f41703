"""The probability of being the best: limits that are known, and its calibration on made sweeps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dlperf.analysis.best import SURE, choose

SWEEPS = 500


def test_one_seed_says_nothing() -> None:
    assert choose([[1.0], [2.0], [3.0]]) is None
    assert choose([[1.0, 2.0]]) is None
    assert choose([[1.0, 2.0], []]) is None


def test_alike_and_far_apart() -> None:
    alike = choose([[1.0, 2.0, 3.0]] * 4)
    assert alike is not None
    assert alike.probabilities == pytest.approx([0.25] * 4, abs=0.02)
    apart = choose([[1.0, 1.1, 0.9], [9.0, 9.1, 8.9]])
    assert apart is not None
    assert (apart.first, apart.more_seeds) == (0, 0)
    assert apart.probabilities[0] > SURE
    higher = choose([[1.0, 1.1, 0.9], [9.0, 9.1, 8.9]], higher=True)
    assert higher is not None
    assert higher.first == 1
    same = choose([[1.0, 1.0], [2.0, 2.0]])
    assert same is not None
    assert same.probabilities == [1.0, 0.0]


def test_units_do_not_matter_and_more_seeds_make_it_surer() -> None:
    values = [[1.0, 1.2, 0.9], [1.3, 1.4, 1.1], [2.0, 1.7, 1.8]]
    one, other = choose(values), choose([[1e4 * v + 5 for v in group] for group in values])
    assert one is not None
    assert other is not None
    assert one.probabilities == pytest.approx(other.probabilities, abs=0.02)
    assert one.more_seeds == other.more_seeds
    surer = choose([group * 4 for group in values])
    assert surer is not None
    assert surer.probabilities[0] > one.probabilities[0]


@pytest.mark.slow
def test_it_is_calibrated_on_made_sweeps() -> None:
    """Of 500 sweeps, those that state a probability of p are right in a share of p, within 5 points.

    Sweeps as they come: 3 to 6 optimizers, 2 to 8 seeds, true means from hardly to clearly apart, and variances of the
    optimizers that differ by up to a factor of 4, which the model does not know.
    """
    rng = np.random.default_rng(1)
    stated, right = [], []
    for _ in range(SWEEPS):
        count, seeds = rng.integers(3, 7), rng.integers(2, 9)
        true = rng.normal(1.5, 0.02 * math.exp(rng.uniform(-1.5, 1.5)), count)
        deviations = 0.02 * np.exp(rng.uniform(-0.35, 0.35, count))
        choice = choose([list(rng.normal(mean, sd, seeds)) for mean, sd in zip(true, deviations, strict=True)])
        assert choice is not None
        stated.append(choice.probabilities[choice.first])
        right.append(choice.first == true.argmin())
    assert np.mean(right) == pytest.approx(np.mean(stated), abs=0.05)
    chosen = np.array(stated)
    for low, high in ((0.0, 0.6), (0.6, 0.85), (0.85, 1.01)):
        inside = (low <= chosen) & (chosen < high)
        assert inside.sum() > 80, (low, inside.sum())
        error = np.mean(np.array(right)[inside]) - chosen[inside].mean()
        # Beside the 5 points, what chance does to so few: two standard errors.
        allowed = 0.05 + 2 * math.sqrt(0.25 / inside.sum()) * 0.6
        assert abs(error) < allowed, (low, high, error)
