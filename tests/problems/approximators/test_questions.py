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
    answer = rmse_by_depth(
        [StoredTrial(str(number), trial, {}, {"test_rmse": 100.0}, {}, {}) for number, trial in enumerate(trials)]
    )
    assert answer
    words = shlex.split(answer.command)
    assert words[:5] == ["mlflow", "run", ".", "-e", "approximators"]
    return dict(word.split("=", 1) for word in words[5:] if word != "-P")


@pytest.mark.parametrize(
    ("units", "further"),
    [
        ("32;64;16,16;16,24", "32;40;64;16,16;20,20;32,32"),
        ("32;40;16,16;16,24;8,8,8;14,13,13", "12,12;16,16;20,20;8,8,8;11,11,10;14,13,13"),
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
    both = asked["units"]
    seeds = command_after(units=both, random_seed="0")
    assert (set(seeds["units"].split(";")), seeds["random_seed"]) == (set(both.split(";")), "0,1,2,3,4")


def test_the_command_decides_by_itself() -> None:
    """On another machine too, whose trials are not averaged with these."""
    asked = command_after(units="16;32;64;128;256;512;16,16;16,32;16,64", random_seed="0")
    networks = [trial.layers for trial in parse(PARAMETERS, asked).trials]
    of_depth = [{sum(layers) for layers in networks if len(layers) == depth} for depth in (1, 2)]
    assert of_depth == [{16, 32, 48, 64, 80, 128, 256, 512}] * 2


def test_random_seeds_compare_by_the_same_networks() -> None:
    """A seed that has only the worse of two networks with a total does not raise the mean of its depth."""
    trials = parse(PARAMETERS, {"units": "48;16,32;32,16", "random_seed": "0,1"}).trials
    rmse = {"48": 290.0, "16,32": 100.0, "32,16": 200.0}
    stored = [
        StoredTrial(str(number), trial, {}, {"test_rmse": rmse[trial.units]}, {}, {})
        for number, trial in enumerate(trials)
        if (trial.units, trial.random_seed) != ("16,32", 1)
    ]
    answer = rmse_by_depth(stored)
    assert answer
    assert "was 200 for depth 2 and 290 for depth 1;" in answer.sentence
    assert "2 of 2 random seeds compare, which have 2 of 3 kinds of trial." in answer.sentence
