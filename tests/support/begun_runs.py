"""Runs of a problem that have begun, in a store, without a program that trains."""

from __future__ import annotations

from typing import Any

from dlperf import entry_points
from dlperf.parameters import parse, texts
from dlperf.runner.resume import identity_tags
from dlperf.tracking.run import Run
from dlperf.tracking.store import Store

PROBLEM: Any = entry_points.load_problem("cutout")


def begin(store: Store, raw: dict[str, str], **logged: str) -> Run:
    """Begin a run, in which MLflow has logged some parameters before, as `mlflow run` does."""
    made = store.create("calm-fox-7")
    for name, value in logged.items():
        store.client.log_param(made.id, name, value)
    run = Run(store.client, store.uri, store.client.get_run(made.id))
    arguments = parse(PROBLEM.parameters, {"dataset": "digits", **raw})
    run.begin(PROBLEM, "cutout m=4", "trial", texts(arguments.trials[0]), identity_tags(PROBLEM, arguments))
    return run


def reread(store: Store, run: Run) -> Run:
    return Run(store.client, store.uri, store.client.get_run(run.id))
