"""`dry_run`: what a few timed steps let expect of an epoch, of trials that were not tried, and of a sweep."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlperf import entry_points
from dlperf.errors import TrialFailed
from dlperf.parameters import parse
from dlperf.runner import dry_run
from dlperf.runner.dry_run import between, measured_plan, spread
from dlperf.training.compiled_epoch import Segment
from dlperf.training.objectives import RegressionSums
from dlperf.training.rehearsal import whole_pass
from dlperf.trial import Rehearsed
from tests.support.desk import Desk

SUMS = RegressionSums(0.0, 0.0, 1, 0.0)


def test_a_pass_is_as_long_as_its_steps_after_the_first_segment() -> None:
    def slow_start() -> Iterator[Segment]:
        for done in (1, 3, 6, 10):
            yield Segment(done, 100, 5.0 + 0.5 * (done - 1), SUMS)

    assert whole_pass(slow_start, 0.0) == pytest.approx(0.5 * 100)
    assert whole_pass(lambda: iter([Segment(1, 1, 7.0, SUMS)]), 0.0) == pytest.approx(7.0)


def test_short_passes_are_repeated_and_the_first_one_is_left_out() -> None:
    times = iter([9.0, 1.0, 3.0, 2.0, *[2.0] * 100_000])

    def whole() -> Iterator[Segment]:
        seconds = next(times)
        yield Segment(1, 2, seconds / 2, SUMS)
        yield Segment(2, 2, seconds, SUMS)

    assert whole_pass(whole, 0.02) == pytest.approx(2.0)


@given(st.integers(0, 40))
def test_a_sample_spans_the_whole_and_has_everything_once(count: int) -> None:
    order = spread(list(range(count)))
    assert sorted(order) == list(range(count))
    assert order[:2] == ([count - 1, 0] if count > 1 else list(range(count)))


def test_what_was_not_tried_lies_between_what_was() -> None:
    points = [(w, Rehearsed(1.0, seconds, 0.5, 100.0)) for w, seconds in ((10.0, 2.0), (30.0, 6.0))]
    assert between(points, 20.0).epoch_seconds == pytest.approx(4.0)
    assert between(points, 60.0).epoch_seconds == pytest.approx(12.0)
    assert between(points, 5.0).epoch_seconds == pytest.approx(1.0)
    assert between(points, 20.0).peak_memory_mb == pytest.approx(100.0)


def sweep(name: str, **given: str) -> tuple[Any, Sequence[Any]]:
    problem = entry_points.load_problem(name)
    return problem, parse(problem.parameters, given).trials


def test_kinds_of_trials_are_tried_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Seeds and rates are not kinds; hours are start, epochs and test; memory is that of all processes."""
    tried: list[Any] = []

    def rehearse(name: str, trials: Sequence[Any], seconds: float) -> list[Rehearsed]:
        tried.extend(trials)
        return [Rehearsed(60.0, 30.0, 0.0, 500.0) for _ in trials]

    monkeypatch.setattr(dry_run, "rehearse", rehearse)
    given = {"m": "0,2", "random_seed": "0,1", "epochs": "119", "dry_run": "true", "processes": "2"}
    problem, trials = sweep("cutout", dataset="digits", **given)
    plan = measured_plan(problem, trials)
    assert sorted(t.m for t in tried) == [0, 2]
    assert plan.hours == pytest.approx([1.0 + 30 / 3600] * 4, abs=0.02)
    dry_run.show(problem, trials)
    output = capsys.readouterr().out
    assert "4 trials, at most 4.03 hours on this CPU, measured in 0 seconds" in output
    assert "with processes=2 at best 2.02 hours; up to 1,000 MB of memory" in output


def test_trials_that_take_turns_keep_their_memory_and_have_rounds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        dry_run, "rehearse", lambda name, trials, seconds: [Rehearsed(10.0, 60.0, 26.0, 900.0, 600.0) for _ in trials]
    )
    problem, trials = sweep("scaling", workers="1", mode="strong", repeats="9", dry_run="true")
    assert len(trials) == 2  # plain, and with a strategy
    plan = measured_plan(problem, trials)
    assert plan.hours == pytest.approx([(10 + 9 * 60 + 26) / 3600] * 2)
    assert plan.columns["rounds"] == [9, 9]
    assert plan.columns["seconds per round"] == [60.0, 60.0]
    dry_run.show(problem, trials)
    assert "measured in 0 seconds; up to 1,500 MB of memory" in capsys.readouterr().out


def test_without_time_or_after_a_failure_it_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, trials: Sequence[Any], seconds: float) -> list[Rehearsed]:
        raise TrialFailed("no memory")

    problem, trials = sweep("cutout", dataset="digits", depth="8", epochs="2")
    for answer, words in ((fail, "no memory"), (lambda *_: [], "none was ready within 55 seconds")):
        monkeypatch.setattr(dry_run, "rehearse", answer)
        plan = measured_plan(problem, trials)
        assert plan.judged.startswith("judged by its matrix product, as no trial could be timed")
        assert words in plan.judged
        assert plan.hours == dry_run.quick_plan(problem, trials).hours or all(hours > 0 for hours in plan.hours)


def test_a_model_of_ones_own_that_is_not_measured_has_no_hours(capsys: pytest.CaptureFixture[str]) -> None:
    own = {"model": "keras:x.keras", "protocol": "corrected", "m": "0,2", "processes": "2", "measure": "false"}
    dry_run.show(*sweep("cutout", dataset="digits", **own))
    said = "2 trials, no hours known, which a model of your own has to be measured for; nothing is run"
    assert said in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_a_plan_is_measured_in_a_process_that_leaves_nothing(bare_desk: Desk) -> None:
    arguments = [
        "--dataset",
        "digits",
        "--optimizer",
        "adam",
        "--dropout",
        "false",
        "--random_seed",
        "0,1",
        "--dry_run",
        "true",
    ]
    process = bare_desk.popen([sys.executable, "entrypoints/optimizers.py", *arguments])
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "seconds" in output
    assert "2 trials, about" in output
    assert "hours on this CPU, measured" in output
    assert not (bare_desk.folder / "mlflow.db").exists()
