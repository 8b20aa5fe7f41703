"""SIGKILL at random moments, again and again: the resumed curve and results are those of a run never killed."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from benchmarks.result_texts.faults import KILLED
from tests.faults.report import Report
from tests.support.desk import Desk, eventually, processes_of

TRIALS = {
    "optimizers": ("--optimizer", "adam", "--dropout", "true", "--dataset", "digits"),
    "cutout": ("--m", "2", "--depth", "8", "--dataset", "digits", "--onednn", "on"),
    "approximators": ("--units", "64,64", "--protocol", "corrected", "--patience", "0"),
    "scaling": (
        *("--mode", "strong", "--workers", "2", "--strategy", "multi_worker", "--model", "convnet"),
        *("--steps", "60", "--train_examples", "600", "--batch_size", "64"),
    ),
}
SHORT_FORM = {
    "optimizers": ("--epochs", "12"),
    "cutout": ("--train_examples", "128", "--epochs", "12"),
    "approximators": ("--epochs", "80"),
    "scaling": ("--repeats", "5"),
}
LONG_FORM = {
    "optimizers": ("--epochs", "30"),
    "cutout": ("--train_examples", "320", "--epochs", "12"),
    "approximators": ("--epochs", "200"),
    "scaling": ("--repeats", "8"),
}
# Kills from which on it is the long form, which has problem 4 at another depth and number of threads too.
LONG, FURTHER = 20, [(8, 1), (20, 1), (20, 2)]
# What a clock says, or what the process looked like: nothing that follows from the random seed.
MEASURED = ("second", "memory", "faults", "ceiling", "cost", "cpu_ms", "speedup", "efficiency", "others_share")

Start = Callable[..., Any]


def start_of(desk: Desk, problem: str, *arguments: str) -> Start:
    """What starts a trial, with an environment."""
    return partial(desk.popen, [sys.executable, f"entrypoints/{problem}.py", *arguments])


def curves(desk: Desk, run: Any) -> dict[str, list[tuple[int, float]]]:
    """Everything that was logged of a run and follows from its random seed: step and value of every point."""
    names = [name for name in run.data.metrics if not any(word in name for word in MEASURED)]
    return {
        name: sorted((point.step, point.value) for point in desk.client.get_metric_history(run.info.run_id, name))
        for name in names
    }


@pytest.mark.slow
@pytest.mark.parametrize("problem", list(TRIALS))
def test_killed_at_random_moments(desk: Desk, report: Report, kills: int, problem: str) -> None:
    threads = () if problem == "scaling" else ("--threads", "2")
    length = LONG_FORM[problem] if kills >= LONG else SHORT_FORM[problem]
    check_kills(start_of(desk, problem, *TRIALS[problem], *length, *threads), desk, report, kills, problem)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "threads"), FURTHER)
def test_another_resnet_killed_at_random_moments(
    desk: Desk, report: Report, kills: int, depth: int, threads: int
) -> None:
    if kills < LONG:
        pytest.skip(f"needs --kills {LONG}, as `make faults` has it")
    small = ("--m", "2", "--dataset", "digits", "--train_examples", "320" if depth == 8 else "128")
    own = ("--depth", str(depth), "--threads", str(threads), "--epochs", "12", "--onednn", "on")
    name = f"cutout, ResNet-{depth}, threads={threads}"
    check_kills(start_of(desk, "cutout", *small, *own), desk, report, kills, name)


def check_kills(start: Start, desk: Desk, report: Report, kills: int, name: str) -> None:
    """Kill trials until there were so many kills, and compare every one that was resumed with one that was not."""
    begun = time.monotonic()
    whole = start(MLFLOW_EXPERIMENT_NAME="whole")
    output, _ = whole.communicate(timeout=300)
    assert whole.returncode == 0, output
    seconds = time.monotonic() - begun
    (expected,) = runs(desk, "whole")

    moments, killed, trials = random.Random(f"{name} {kills}"), 0, 0
    earliest = 0.1 if kills >= LONG else 0.5  # a single kill is not to fall on the imports

    def moment() -> float:
        return moments.uniform(earliest, 1) * seconds

    while killed < kills:
        trials += 1
        experiment = f"killed {trials}"
        killed += kill_and_resume(start, desk, experiment, kills - killed, moment)
        (resumed,) = (run for run in runs(desk, experiment) if run.info.status == "FINISHED")
        assert curves(desk, resumed) == curves(desk, expected)
    for metric, points in curves(desk, expected).items():
        assert len({step for step, _ in points}) == len(points), f"{metric} has a step twice"
    report.add(
        KILLED,
        problem=name,
        kills=killed,
        trials=trials,
        epochs=len(curves(desk, expected)["train_loss"]),
        metrics_compared=len(curves(desk, expected)),
        equal_to_the_bit=trials,
        steps_missing=0,
        steps_twice=0,
    )


def kill_and_resume(start: Start, desk: Desk, experiment: str, most: int, moment: Callable[[], float]) -> int:
    """Start a trial, kill and resume it until it finishes, or `most` times and then let it; return how many kills."""
    run_id, killed = "", 0
    while True:
        process = start(MLFLOW_EXPERIMENT_NAME=experiment, MLFLOW_RUN_ID=run_id)
        if killed == most:
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 0, output
            return killed
        # Most fall on what only a long start reaches, some on its imports.
        time.sleep(moment())
        ended = process.poll() is not None
        process.kill()
        process.communicate()
        eventually(lambda: not processes_of(desk))
        if ended:
            assert process.returncode == 0
            return killed
        killed += 1
        # One that was killed before it had said what it is, is made anew.
        run_id = next((run.info.run_id for run in runs(desk, experiment) if "dlperf.given" in run.data.tags), "")


def runs(desk: Desk, experiment: str) -> list[Any]:
    """The runs of an experiment, newest first."""
    there = desk.client.get_experiment_by_name(experiment)
    return list(desk.client.search_runs([there.experiment_id])) if there else []
