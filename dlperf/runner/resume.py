"""Going on with a run: what it was given at first, and whether what is given now agrees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dlperf.errors import BadInput
from dlperf.parameters import Given, P, declared_defaults, describe, same_value
from dlperf.problem import Demo, Problem

if TYPE_CHECKING:
    from dlperf.tracking.run import Run


def original_arguments(problem: Problem[Any] | Demo, run: Run, raw: Mapping[str, str]) -> dict[str, str]:
    """Return what was given when `run` first started, if `raw` does not contradict it.

    `mlflow run --run-id` passes the declared defaults again, so a value equal to its default says nothing.

    Args:
        problem: The problem that is started.
        run: A run that a dlperf program has begun.
        raw: What is given now.

    Raises:
        BadInput: If another value is given for a parameter that defines the trials, or the run is another problem's.
    """
    if run.tags["dlperf.problem"] != problem.name:
        raise BadInput("MLFLOW_RUN_ID", run.id, f"is a run of {run.tags['dlperf.problem']}, not of {problem.name}")
    given: dict[str, str] = json.loads(run.tags["dlperf.given"])
    defaults = declared_defaults(problem.parameters)
    for each in describe(problem.parameters):
        now = raw.get(each.name, "")
        if each.derived_from == "the machine" and each.name in run.params:
            given[each.name] = run.params[each.name]
        if not now or same_value(problem.parameters, each.name, now, defaults.get(each.name, "")):
            continue
        if each.operational:
            given[each.name] = now
        elif not same_value(problem.parameters, each.name, now, run.params.get(each.name, "")):
            kept = (
                f"run {run.id} has {each.name}={run.params.get(each.name, '')}, and a resumed run keeps its parameters"
            )
            raise BadInput(each.name, now, kept)
    return given


def was_started(run: Run | None) -> bool:
    """Whether a dlperf program has begun this run before, so that it is to be resumed."""
    return run is not None and "dlperf.given" in run.tags


def identity_tags(problem: Problem[P] | Demo, given: Given[P]) -> dict[str, str]:
    """Return the tags that a run has from its begin, apart from problem and role."""
    protocols = dict.fromkeys(getattr(trial, "protocol", "") for trial in given.trials)
    tags = {"dlperf.given": json.dumps(given.given)}
    if any(protocols):
        tags["dlperf.protocol"] = ",".join(protocols)
    if isinstance(problem, Problem) and len(given.trials) == 1:
        tags["dlperf.trial_key"] = problem.trial_key(given.trials[0])
    return tags
