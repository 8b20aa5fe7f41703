"""SIGKILL at random moments, again and again: the resumed curve and results are those of a run never killed."""

from __future__ import annotations

import random
import sys
import time
from typing import Any

import pytest

from tests.faults.report import Report
from tests.support.desk import Desk, processes_of

TRIALS = {
    "optimizers": ("--optimizer", "adam", "--dropout", "true", "--dataset", "digits", "--epochs", "30"),
    "cutout": ("--m", "2", "--depth", "8", "--dataset", "digits", "--train_examples", "320", "--epochs", "12"),
    "approximators": ("--units", "64,64", "--protocol", "corrected", "--epochs", "200", "--patience", "0"),
    "scaling": (
        *("--mode", "strong", "--workers", "2", "--strategy", "multi_worker", "--model", "convnet"),
        *("--steps", "60", "--repeats", "8", "--train_examples", "600", "--batch_size", "64"),
    ),
}
# What a clock says, or what the process looked like: nothing that follows from the random seed.
MEASURED = ("second", "memory", "faults", "ceiling", "cost", "cpu_ms", "speedup", "efficiency")


def start(desk: Desk, problem: str, **environment: str) -> Any:
    command = [sys.executable, f"entrypoints/{problem}.py", *TRIALS[problem], "--threads", "2"]
    return desk.popen(command[:-2] if problem == "scaling" else command, **environment)


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
    begun = time.monotonic()
    whole = start(desk, problem, MLFLOW_EXPERIMENT_NAME="whole")
    output, _ = whole.communicate(timeout=300)
    assert whole.returncode == 0, output
    seconds = time.monotonic() - begun
    (expected,) = runs(desk, "whole")

    moments = random.Random(f"{problem} {kills}")
    run_id, at = "", []
    while len(at) < kills:
        process = start(desk, problem, MLFLOW_EXPERIMENT_NAME="killed", MLFLOW_RUN_ID=run_id)
        # Most in what only a long start reaches, some in its imports.
        time.sleep(moments.uniform(0.1, 1.0) * seconds)
        process.kill()
        process.communicate()
        assert not processes_of(desk) or wait_until_gone(desk)
        found = runs(desk, "killed")
        if found and found[0].data.tags.get("dlperf.ended") == "finished":
            break
        # One that was killed before it had said what it is, is made anew.
        run_id = next((run.info.run_id for run in found if "dlperf.given" in run.data.tags), "")
        at.append(run_id)
    process = start(desk, problem, MLFLOW_EXPERIMENT_NAME="killed", MLFLOW_RUN_ID=run_id)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    (resumed,) = (run for run in runs(desk, "killed") if run.info.status == "FINISHED")
    assert curves(desk, resumed) == curves(desk, expected)
    for name, points in curves(desk, resumed).items():
        assert len({step for step, _ in points}) == len(points), f"{name} has a step twice"
    report.add(
        "Killed at random moments, resumed, compared with an uninterrupted run",
        problem=problem,
        kills=len(at),
        epochs=len(curves(desk, resumed)["train_loss"]),
        metrics_compared=len(curves(desk, resumed)),
        equal_to_the_bit=True,
        steps_missing=0,
        steps_twice=0,
    )


def runs(desk: Desk, experiment: str) -> list[Any]:
    """The runs of an experiment, newest first."""
    there = desk.client.get_experiment_by_name(experiment)
    return list(desk.client.search_runs([there.experiment_id])) if there else []


def wait_until_gone(desk: Desk) -> bool:
    deadline = time.monotonic() + 30
    while processes_of(desk):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return True
