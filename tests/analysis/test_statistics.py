"""Intervals and tests against SciPy's own, times with censored and competing ones by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dlperf.accounting.mlp import networks, num_params
from dlperf.analysis.inference import (
    LEVEL,
    Effect,
    blocks_differ_p,
    curvature_effect,
    equivalence_p,
    holm,
    mean_effect,
    prediction_half_width,
    prediction_p,
    slope_effect,
)
from dlperf.analysis.statistics import mean_of, time_to


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_the_interval_is_students(values: list[float]) -> None:
    found = mean_of(values)
    assert (found.n, found.mean) == (len(values), pytest.approx(np.mean(values)))
    if found.sd > 1e-9:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_one_value_has_no_interval() -> None:
    found = mean_of([3.0])
    assert (found.n, found.mean) == (1, 3.0)
    assert all(map(math.isnan, (found.sd, found.low, found.high)))


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6), min_size=2, max_size=4), st.floats(-1e3, 1e3))
def test_blocks_are_those_of_an_analysis_of_variance(parts: list[list[float]], shift: float) -> None:
    """Whatever one block has more than another shows in the mean alone; the rest is statsmodels' residual."""
    from statsmodels.regression.linear_model import OLS

    values = [value for part in parts for value in part]
    blocks = [number for number, part in enumerate(parts) for _ in part]
    found = mean_of(values, blocks)
    assert (found.n, found.blocks, found.mean) == (len(values), len(parts), pytest.approx(np.mean(values), abs=1e-9))
    if len(values) == len(parts):
        assert math.isnan(found.sd)
        return
    fitted = OLS(values, np.equal.outer(blocks, range(len(parts))).astype(float)).fit()
    assert found.sd == pytest.approx(math.sqrt(max(fitted.mse_resid, 0)), abs=1e-6)
    half = stats.t.ppf(0.975, fitted.df_resid) * found.sd / math.sqrt(len(values))
    assert (found.low, found.high) == (pytest.approx(found.mean - half), pytest.approx(found.mean + half))
    shifted = mean_of([value + shift * block for value, block in zip(values, blocks, strict=True)], blocks)
    assert shifted.sd == pytest.approx(found.sd, abs=1e-6)


def test_not_reached_is_no_time() -> None:
    """By hand: of five, reached at 1, 2 and 4, ended with their epochs after 3 and 5: half have reached it at 4."""
    found = time_to([1.0, 2.0, 4.0], [3.0, 5.0])
    assert (found.n, found.reached, found.median, found.longest) == (5, 3, 4.0, 5.0)
    assert time_to([1.0, 2.0, 3.0], []).median == 2.0
    few = time_to([1.0], [2.0, 2.0])
    assert (few.reached, math.isnan(few.median)) == (1, True)
    none = time_to([], [2.0, 7.0])
    assert (none.n, none.reached, none.longest, math.isnan(none.median)) == (2, 0, 7.0, True)


def test_early_stopping_competes_and_does_not_censor() -> None:
    """Two of five reached it at 3 and 4, three ended at 1, 2 and 2: censored they would count as if yet to come."""
    assert time_to([3.0, 4.0], [1.0, 2.0, 2.0]).median == 3.0
    assert math.isnan(time_to([3.0, 4.0], [], [1.0, 2.0, 2.0]).median)
    mixed = time_to([1.0, 2.0, 4.0], [5.0], [3.0])  # 0.2, 0.4, then a half of the 0.4 that are left
    assert (mixed.n, mixed.reached, mixed.median, mixed.longest) == (5, 3, 4.0, 5.0)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
def test_a_mean_is_tested_by_students_t(values: list[float]) -> None:
    found = mean_effect(values)
    spread = float(np.std(values, ddof=1))
    if spread > 1e-6:
        assert found.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
        assert (found.low, found.high) == (pytest.approx(mean_of(values).low), pytest.approx(mean_of(values).high))


@pytest.mark.parametrize("tests", [1, 20, 44])
@pytest.mark.parametrize("n", [5, 14])
def test_what_could_have_been_seen_is_seen_four_times_in_five(n: int, tests: int) -> None:
    """Also at the level of the first step of Holm's method among many tests."""
    rng, sd = np.random.default_rng(0), 2.0
    sets = [rng.normal(0, sd, n) for _ in range(300)]
    sizes = [mean_effect(values).detectable(LEVEL / tests) / np.std(values, ddof=1) for values in sets]
    seen = sum(mean_effect(rng.normal(np.mean(sizes) * sd, sd, n)).p < LEVEL / tests for _ in range(1500)) / 1500
    assert 0.75 <= seen <= 0.85


PLACES = {
    "six widths": [16.0, 32, 64, 128, 256, 512],
    "two layers by units": [float(sum(units)) for units in networks() if len(units) == 2],  # some alike
    "two layers by parameters": [float(num_params(units)) for units in networks() if len(units) == 2],
}


@pytest.mark.parametrize("tests", [1, 5])
@pytest.mark.parametrize("of", PLACES)
def test_a_slope_that_could_have_been_seen_is_seen_four_times_in_five(of: str, tests: int) -> None:
    x, rng = np.array(PLACES[of]), np.random.default_rng(1)
    slope = Effect(len(x), 0.0, error=3.0, places=tuple(x)).detectable(LEVEL / tests)
    found = [slope_effect(x, slope * x + rng.normal(0, 3.0, len(x))) for _ in range(1000)]
    assert 0.75 <= sum(effect.p < LEVEL / tests and effect.value > 0 for effect in found) / 1000 <= 0.85


def test_a_slope_says_how_far_points_lie_from_it() -> None:
    """Two degrees of freedom are the line's: over many sets the variance is what was put in."""
    rng, x = np.random.default_rng(2), np.linspace(0, 1, 25)
    errors = [slope_effect(x, 2 * x + rng.normal(0, 3.0, 25)).error for _ in range(200)]
    assert np.mean(np.square(errors)) == pytest.approx(9, rel=0.05)


def test_six_networks_show_no_slope_among_twenty_tests() -> None:
    """All six in order have p = 2 / 6! = 0.0028, and 0.05 / 20 is less."""
    effect = slope_effect(PLACES["six widths"], [6.0, 5, 4, 3, 2, 1])
    assert effect.p == pytest.approx(2 / 720)
    assert math.isinf(Effect(6, 0.0, error=1.0, places=effect.places).detectable(LEVEL / 20))
    assert math.isfinite(Effect(6, 0.0, error=1.0, places=effect.places).detectable(LEVEL / 17))


def test_a_curvature_that_could_have_been_seen_is_seen_four_times_in_five() -> None:
    x, rng = np.array([1.0, 2, 3, 5, 8, 13]), np.random.default_rng(3)
    place = (x - 1) / 12
    design = np.column_stack([np.ones(6), place, place**2])
    error = math.sqrt(np.linalg.inv(design.T @ design)[2, 2])
    size = Effect(6, 0.0, error=error, df=3).detectable(LEVEL / 3)
    seen = sum(curvature_effect(x, size * place**2 + rng.normal(size=6)).p < LEVEL / 3 for _ in range(800)) / 800
    assert 0.75 <= seen <= 0.85


def test_nobody_knows_what_one_value_could_show() -> None:
    assert math.isnan(mean_effect([1.0]).detectable())
    assert mean_effect([1.0, 1.0]).detectable() == 0
    assert all(math.isfinite(mean_effect(list(range(n))).detectable(LEVEL / 50)) for n in range(2, 9))


def test_blocks_that_differ_are_told_by_an_analysis_of_variance() -> None:
    values, blocks = [1.0, 1.2, 1.1, 2.0, 2.3, 2.2], ["a", "a", "a", "b", "b", "b"]
    assert blocks_differ_p(values, blocks) == pytest.approx(stats.ttest_ind(values[:3], values[3:]).pvalue)
    assert blocks_differ_p([1.0, 1.0, 2.0, 2.0], ["a", "a", "b", "b"]) == 0
    assert blocks_differ_p([1.0, 1.0, 1.0], ["a", "a", "b"]) == 1
    assert (blocks_differ_p(values, ["a"] * 6), blocks_differ_p([1.0, 2.0], ["a", "b"])) == (1, 1)


def test_values_without_any_spread() -> None:
    assert (mean_effect([1.0, 1.0]).p, mean_effect([0.0, 0.0]).p, mean_effect([1.0]).p) == (0.0, 1.0, 1.0)
    assert (equivalence_p([1.0, 1.0], 0, 2), equivalence_p([3.0, 3.0], 0, 2), equivalence_p([1.0], 0, 2)) == (0, 1, 1)


def test_a_slope_is_sens() -> None:
    rising = slope_effect([1, 2, 3, 4, 5, 6], [2.1, 3.9, 6.2, 8.0, 9.9, 12.1])
    assert (rising.value, rising.p < 0.01, rising.low < rising.value < rising.high) == (
        pytest.approx(2, abs=0.1),
        True,
        True,
    )
    assert slope_effect([1, 2, 3, 4], [1, 2, 3, 4]).p == 1.0  # too few
    assert slope_effect([1, 1, 1, 2, 2], [1, 2, 3, 4, 5]).p == 1.0  # two places


def test_a_curvature_is_the_square_term_of_least_squares() -> None:
    """Against the normal equations, and a parabola without noise."""
    x = np.array([3.0, 4, 6, 9, 13, 20, 40])
    place = (x - 3) / 37
    exact = curvature_effect(list(x), list(7 - 5 * place + 2 * place**2))
    assert (exact.value, exact.p) == (pytest.approx(2), pytest.approx(0, abs=1e-12))
    y = np.array([9.0, 7, 8, 5, 5.5, 4, 3.8])
    design = np.column_stack([np.ones(7), place, place**2])
    inverse = np.linalg.inv(design.T @ design)
    factors = inverse @ design.T @ y
    error = math.sqrt(((y - design @ factors) ** 2).sum() / 4 * inverse[2, 2])
    found = curvature_effect(list(x), list(y))
    assert found.value == pytest.approx(factors[2])
    assert found.p == pytest.approx(2 * stats.t.sf(abs(factors[2] / error), 4))
    assert found.high - found.low == pytest.approx(2 * stats.t.ppf(0.975, 4) * error)
    assert curvature_effect([1, 2, 3, 4], [1, 2, 4, 8]).p == 1.0


def test_networks_averaged_over_seeds_are_what_a_mixed_model_says() -> None:
    """With as many seeds of every network, the mean and its standard error are those of REML with random networks."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    rng = np.random.default_rng(0)
    networks, seeds = 12, 5
    values = 3 + rng.normal(0, 1, (networks, 1)) + rng.normal(0, 0.5, (networks, seeds))
    groups = np.repeat(np.arange(networks), seeds)
    mixed = MixedLM(values.ravel(), np.ones((networks * seeds, 1)), groups).fit(reml=True)
    averaged = mean_effect(list(values.mean(axis=1)))
    error = (averaged.high - averaged.low) / 2 / stats.t.ppf(0.975, networks - 1)
    assert averaged.value == pytest.approx(float(mixed.params[0]))
    assert error == pytest.approx(float(mixed.bse[0]), rel=1e-3)
    pooled = mean_effect(list(values.ravel()))  # which would take every run for an independent value
    assert pooled.high - pooled.low < 0.7 * (averaged.high - averaged.low)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_a_further_value_lies_within_the_prediction() -> None:
    half = prediction_half_width(5, 0.1, 4)
    assert half == pytest.approx(2.776 * 0.1 * 1.2**0.5, rel=1e-3)
    assert prediction_p(half, 5, 0.1, 4) == pytest.approx(0.05)
    assert (prediction_p(-1, 5, 0.1, 4), prediction_p(1, 5, 0.0, 4), prediction_p(0, 5, 0.0, 4)) == (1, 0, 1)
