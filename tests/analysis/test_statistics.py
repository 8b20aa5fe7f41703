"""Intervals against SciPy's own, times with censored ones by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

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


def test_not_reached_is_no_time() -> None:
    """Kaplan and Meier by hand: of five, reached at 1, 2 and 4, given up at 3 and 5: half are over at 4."""
    found = time_to([1.0, 2.0, 4.0], [3.0, 5.0])
    assert (found.n, found.reached, found.median, found.longest) == (5, 3, 4.0, 5.0)
    assert time_to([1.0, 2.0, 3.0], []).median == 2.0
    few = time_to([1.0], [2.0, 2.0])
    assert (few.reached, math.isnan(few.median)) == (1, True)
    none = time_to([], [2.0, 7.0])
    assert (none.n, none.reached, none.longest, math.isnan(none.median)) == (2, 0, 7.0, True)
