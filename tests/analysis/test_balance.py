"""Random seeds compare by the same kinds of trial: what is kept, and that nothing else decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlperf.analysis.balance import balanced
from dlperf.analysis.measures import by_seed, measured
from tests.support.trials import stored


def test_whole_sweeps_are_taken_as_they_are() -> None:
    whole = {seed: {"a": 1.0 + seed, "b": 2.0} for seed in range(3)}
    assert balanced(whole).values == whole
    assert balanced(whole).left_out == ""
    assert balanced({}).means() == {}


def test_a_sweep_that_was_interrupted_leaves_its_last_seed_out() -> None:
    """Two networks of unlike size: averaging what seed 4 has would take the small one's value for a mean."""
    values = {seed: {"small": 300.0, "large": 100.0} for seed in range(4)} | {4: {"small": 300.0}}
    kept = balanced(values)
    assert kept.means() == dict.fromkeys(range(4), 200.0)
    assert kept.left_out == "4 of 5 random seeds compare, which have all 2 kinds of trial"


def test_a_seed_that_was_run_with_more_keeps_the_others() -> None:
    """One seed explores, five are compared: what all have is kept, unless all kinds are asked for."""
    values = {seed: {"a": 1.0, "b": 2.0} for seed in range(1, 5)} | {0: {"a": 1.0, "b": 2.0, "c": 9.0}}
    assert balanced(values).means() == dict.fromkeys([1, 2, 3, 4, 0], 1.5)
    assert balanced(values).left_out == "5 of 5 random seeds compare, which have 2 of 3 kinds of trial"
    assert balanced(values, fewest=3).means() == {0: 4.0}


cells_of_seeds = st.dictionaries(
    st.integers(0, 6),
    st.dictionaries(st.sampled_from("abcde"), st.floats(-10, 10), min_size=1),
    min_size=1,
)


@given(cells_of_seeds, st.integers(1, 5), st.randoms())
def test_what_is_kept_is_balanced_and_no_order_decides(
    values: dict[int, dict[str, float]], fewest: int, draw: Any
) -> None:
    kept = balanced(values, fewest)
    assert kept.values
    assert len({frozenset(own) for own in kept.values.values()}) == 1
    assert all(own.items() <= values[seed].items() for seed, own in kept.values.items())
    kinds = set(next(iter(kept.values.values())))
    assert set(kept.values) == {seed for seed, own in values.items() if kinds <= own.keys()}
    shuffled = list(values.items())
    draw.shuffle(shuffled)
    assert balanced(dict(shuffled), fewest) == kept


def test_repeats_of_a_trial_weigh_no_more_than_one() -> None:
    """Seed 0 of m=0 was run three times."""
    trials = [stored("cutout", 0, metrics={"test_error": 3.0}) for _ in range(3)]
    trials = [*trials, stored("cutout", 1, metrics={"test_error": 1.0})]
    trials = [replace(trial, run_id=str(place)) for place, trial in enumerate(trials)]
    (mean,) = by_seed(trials, measured(trials, "test_error")).values()
    assert mean == pytest.approx(2.0)
