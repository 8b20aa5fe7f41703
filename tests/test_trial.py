"""What a trial does with a state that was made in another way, and that it cannot write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dlperf import entry_points, processor
from dlperf.errors import TrialFailed
from dlperf.parameters import parse
from dlperf.trial import Context

PROBLEM: Any = entry_points.load_problem("approximators")


def follows_from(**given: str) -> dict[str, Any]:
    (trial,) = parse(PROBLEM.parameters, {"units": "16", **given}).trials
    found: dict[str, Any] = PROBLEM.curve_follows_from(trial)
    return found


def context(made_with: dict[str, Any]) -> Context:
    report: Any = None
    return Context("a trial", report, state_file=Path("/states/run/state.npz"), curve_follows_from=made_with)


def test_a_state_of_the_same_trial_is_gone_on_with() -> None:
    here = follows_from(threads="1")
    stored = json.loads(json.dumps(here))  # as the file has it
    context(here).check_state(stored)
    context(here).check_state({})  # of version 0.1.0
    context(here).check_state({"a parameter that is no more": 1, **stored})
    assert stored["mathematics"] == PROBLEM.mathematics
    assert {"data", "threads", "learning_rate", "random_seed"} <= stored.keys()


@pytest.mark.parametrize(
    ("name", "before"),
    [("instruction set", "AVX2"), ("mathematics", 0), ("threads", 7), ("learning_rate", 0.5), ("data", "other")],
)
def test_a_state_of_another_curve_is_refused_with_both_values(name: str, before: Any) -> None:
    here = follows_from(threads="1")
    said = rf"made with {name}={before}, and here {name}={here[name]} would give another curve.*delete it"
    with pytest.raises(TrialFailed, match=said):
        context(here).check_state({**here, name: before})


def test_the_commit_and_the_version_refuse_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = follows_from()
    monkeypatch.setattr("dlperf.__version__", "9.9")
    monkeypatch.setenv("DLPERF_GIT_COMMIT", "another")
    assert follows_from() == before
    assert before["instruction set"] == processor.instruction_set()
