"""What trials of problem 5 answer, and what would decide what they do not."""

from __future__ import annotations

import shlex

import pytest

from dlperf import entry_points
from dlperf.parameters import parse
from dlperf.problems.approximators.questions import rmse_by_depth
from dlperf.trial import StoredTrial

PARAMETERS = entry_points.load_problem("approximators").parameters


def command_after(**given: str) -> dict[str, str]:
    """The parameters of the command that would decide between depths, after networks that are all as good."""
    trials = parse(PARAMETERS, given).trials
    answer = rmse_by_depth([StoredTrial("id", trial, {}, {"test_rmse": 100.0}, {}, {}) for trial in trials])
    assert answer
    words = shlex.split(answer.command)
    assert words[:5] == ["mlflow", "run", ".", "-e", "approximators"]
    return dict(word.split("=", 1) for word in words[5:] if word != "-P")


@pytest.mark.parametrize(
    ("units", "further"),
    [
        ("32;64;16,16;16,24", "40;32,32"),
        ("32;40;16,16;16,24;8,8,8;14,13,13", "12,12;11,11,10"),
        ("1;32;16,16", ""),  # no two layers have one unit
    ],
)
def test_what_decides_between_depths_is_further_totals_of_units(units: str, further: str) -> None:
    """And not seeds: five totals are five values, with however many seeds."""
    asked = command_after(units=units, random_seed="0,3", epochs="7")
    assert asked["epochs"] == "7"
    if further:
        assert (asked["units"], asked["random_seed"]) == (further, "0,3")
    else:
        assert (asked["units"], asked["random_seed"]) == (units, "0,1,2,3,4")


def test_once_depths_share_all_totals_seeds_are_left() -> None:
    asked = command_after(units="32;64;16,16;16,24", random_seed="0")
    both = f"32;64;16,16;16,24;{asked['units']}"
    assert command_after(units=both, random_seed="0") == {"units": both, "random_seed": "0,1,2,3,4"}
