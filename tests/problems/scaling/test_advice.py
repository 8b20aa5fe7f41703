"""What limits a step, on made timings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlperf.problems.scaling.advice import ALL_REDUCE, COMPUTE, INPUT, advice, limit

SMALL, LARGE = st.floats(0.0, 10.0), st.floats(20.0, 500.0)


def parts(compute: float, loading: float, reduced: float, wait: float = 0.0) -> dict[str, float]:
    names = ("compute_ms", "input_ms", "all_reduce_ms", "wait_ms")
    known = dict(zip(names, (compute, loading, reduced, wait), strict=True))
    return {"step_ms": compute + loading + reduced + wait, **known}


@given(SMALL, SMALL, LARGE, st.floats(-10.0, 5.0), st.sampled_from([COMPUTE, INPUT, ALL_REDUCE]), st.booleans())
def test_the_part_that_takes_most_is_named(
    one: float, other: float, large: float, wait: float, limited_by: str, apart: bool
) -> None:
    shares = {COMPUTE: one, INPUT: other, ALL_REDUCE: (one + other) / 2, limited_by: large}
    made = parts(shares[COMPUTE], shares[INPUT], shares[ALL_REDUCE], wait)
    if not apart:  # several devices in one process: compute is not measured by itself
        made["compute_ms"] = made["wait_ms"] = np.nan
        made["step_ms"] -= wait
    named, share = limit(made)
    assert named == limited_by
    assert 0.4 < share <= 1.0


def test_waiting_for_others_is_all_reduce() -> None:
    assert limit(parts(40.0, 1.0, 5.0, 60.0))[0] == ALL_REDUCE
    assert limit(parts(40.0, 1.0, 5.0, -60.0))[0] == COMPUTE


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (parts(90.0, 5.0, 5.0), "is limited by compute (90% of a step): more workers, or stronger ones"),
        (parts(5.0, 90.0, 5.0), "is limited by input (90% of a step): examples that are smaller"),
        (parts(5.0, 5.0, 90.0), "is limited by all-reduce (90% of a step): a larger batch for each worker"),
    ],
)
def test_the_advice_is_about_the_most_workers_that_are_no_emulation(made: dict[str, float], words: str) -> None:
    steps = pd.DataFrame([parts(99.0, 1.0, 0.0), made, parts(1.0, 1.0, 500.0)])
    measured = pd.DataFrame(
        {
            "mode": ["strong"] * 3,
            "workers": [1, 4, 16],
            "cost": [2.0, 3.0, 0.1],
            "note": ["", "", "16 workers on 4 cores"],
        }
    )
    said = advice(steps, measured)
    assert said.startswith("Strong scaling to 4 workers ")
    assert words in said
    assert said.endswith("cheapest is 1, at 2 for the epochs.")
    assert advice(steps[2:], measured[2:]) == ""
