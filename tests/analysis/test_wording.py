"""Differences in words: the direction follows the sign, and below significance no comparative stands."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dlperf.analysis.inference import FEWEST
from dlperf.analysis.wording import difference, lead, span
from dlperf.tables import cell

COMPARATIVE = r"\b(rises|falls|lowest|highest)\b"
VALUES = st.lists(st.floats(0.1, 10), min_size=1, max_size=9)


@given(first=VALUES, second=VALUES)
def test_a_difference_has_a_direction_only_where_a_t_test_of_enough_seeds_shows_it(
    first: list[float], second: list[float]
) -> None:
    said = difference("the error", ("m=0", dict(enumerate(first))), ("m=4", dict(enumerate(second))))
    gaps = [b - a for a, b in zip(first, second, strict=False)]
    mean = sum(gaps) / len(gaps)
    alike = max(gaps) - min(gaps) <= 1e-9
    if not alike:  # where scipy's p is that of rounding
        shown = len(gaps) >= FEWEST and stats.ttest_1samp(gaps, 0).pvalue < 0.05
        assert bool(re.search(COMPARATIVE, said)) == shown, said
    if re.search(COMPARATIVE, said):
        assert ("rises" if mean > 0 else "falls") in said
        assert f"by {cell(abs(mean))} (95 % interval" in said
    assert f"{len(gaps)} random seed" in said


@pytest.mark.parametrize("lower_is_better", [True, False])
def test_the_best_leads_only_if_it_is_told_from_every_other(lower_is_better: bool) -> None:
    wide = {seed: 1 + 0.1 * seed for seed in range(6)}
    kinds = {"a": wide, "b": {s: v + 1 + 0.01 * s for s, v in wide.items()}}
    best = "a" if lower_is_better else "b"
    assert lead("loss", kinds, lower_is_better=lower_is_better).startswith(
        f"{best} has the {'lowest' if lower_is_better else 'highest'} loss of all (1.025 from "
    )
    near = {seed: value + (0.3 if seed % 2 else -0.31) for seed, value in kinds[best].items()}
    said = lead("loss", {**kinds, "c": near}, lower_is_better=lower_is_better)
    assert not re.search(COMPARATIVE, said)
    assert "no difference is shown (95 % interval" in said
    few = {name: dict(list(values.items())[:4]) for name, values in kinds.items()}
    assert "4 random seeds, and fewer than 5 show no difference" in lead("loss", few, lower_is_better=lower_is_better)


def test_kinds_without_a_common_random_seed_are_not_compared() -> None:
    assert "nothing is said" in difference("the error", ("m=0", {0: 1.0}), ("m=4", {1: 2.0}))
    assert not re.search(COMPARATIVE, lead("loss", {"a": {0: 1.0}, "b": {1: 2.0}}, lower_is_better=True))


def test_a_span_of_equal_texts_is_one_number() -> None:
    assert (span([0.12341, 0.12339]), span([3, 1])) == ("0.1234", "1 to 3")
