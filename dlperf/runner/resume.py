"""Resuming a run: the arguments that it was started with, and whether those of the new start agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlperf.declaration import text
from dlperf.errors import BadInput
from dlperf.parameters import Arguments, P, declared_defaults, describe, same_value
from dlperf.problem import Demo, Problem
from dlperf.process_settings import onednn

if TYPE_CHECKING:
    from dlperf.tracking.run import Run


def original_arguments(problem: Problem[Any] | Demo, run: Run, raw: Mapping[str, str]) -> dict[str, str]:
    """Return the arguments that `run` was first started with, if `raw` does not contradict them.

    `mlflow run --run-id` passes the declared defaults again, so a value equal to its default says nothing.

    Args:
        problem: The problem that is started.
        run: A run that a dlperf program has started.
        raw: The arguments of this start.

    Raises:
        BadInput: If `raw` has another value of a parameter that defines the trials, or the run is another problem's.
    """
    if run.tags["dlperf.problem"] != problem.name:
        raise BadInput("MLFLOW_RUN_ID", run.id, f"is a run of {run.tags['dlperf.problem']}, not of {problem.name}")
    arguments: dict[str, str] = json.loads(run.tags["dlperf.given"])
    defaults = declared_defaults(problem.parameters)
    for description in describe(problem.parameters):
        name = description.name
        now, logged = raw.get(name, ""), run.params.get(name, "")
        if not logged and description.absent is not None:
            arguments[name] = logged = text(description.absent)
        elif logged and description.derived_from == "the machine":
            arguments[name] = logged
        if not now or same_value(problem.parameters, name, now, defaults.get(name, "")):
            continue
        if description.operational:
            arguments[name] = now
        elif not same_value(problem.parameters, name, now, logged):
            raise BadInput(name, now, f"run {run.id} has {name}={logged}, and a resumed run keeps its parameters")
        elif description.names_file:  # the file may have moved
            arguments[name] = now
    return arguments


def keep_onednn(run: Run, trials: Sequence[Any]) -> None:
    """Let trials that leave oneDNN to the environment have the one in which `run` was first started.

    Those of version 0.1.0 all do; what was set there stands in the run's environment.json.
    """
    if any(getattr(trial, "onednn", "") == "auto" for trial in trials) and (environment := run.environment()):
        onednn.take_for_users(environment.get("settings", {}).get(onednn.VARIABLE))


def was_started(run: Run | None) -> bool:
    """Whether a dlperf program has started this run before, so that it is to be resumed."""
    return run is not None and "dlperf.given" in run.tags


def is_finished(problem: Problem[P], trial: P, children: Mapping[str, Run]) -> bool:
    """Whether an earlier start of a sweep has finished a trial, so that a resumed one skips it.

    Args:
        problem: The problem.
        trial: One of the sweep's trials.
        children: The sweep's child runs by trial key.
    """
    child = children.get(problem.trial_key(trial))
    return child is not None and child.finished


def identity_tags(problem: Problem[P] | Demo, arguments: Arguments[P]) -> dict[str, str]:
    """Return the tags that a run has from its start, apart from problem and role."""
    protocols = dict.fromkeys(getattr(trial, "protocol", "") for trial in arguments.trials)
    tags = {"dlperf.given": json.dumps(arguments.explicit)}
    if any(protocols):
        tags["dlperf.protocol"] = ",".join(protocols)
    if isinstance(problem, Problem) and len(arguments.trials) == 1:
        tags["dlperf.trial_key"] = problem.trial_key(arguments.trials[0])
    return tags
