"""Engines: what runs the trials of a sweep. Each is a module with `run(problem, tasks, listener, ...)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlperf.engines.execution import Listener, Task
from dlperf.problem import Problem
from dlperf.process_settings import onednn


def side_by_side(parameters: Any) -> bool:
    """Whether a sweep's trials run in other processes than this one."""
    return getattr(parameters, "engine", "local") != "local" or getattr(parameters, "processes", 1) > 1


def check(parameters: Any) -> None:
    """Verify before a run is made what can be said by then of the engine that is asked for, and of its settings.

    Raises:
        BadInput: If RAY_ADDRESS or TF_ENABLE_ONEDNN_OPTS cannot be used.
        EnvironmentMissing: If the engine is not there.
    """
    onednn.default()
    if getattr(parameters, "engine", "local") == "ray":
        from dlperf.engines import cluster

        cluster.check()


def run(problem: Problem[Any], tasks: Sequence[Task], listener: Listener, *, alone: bool = False) -> None:
    """Run the tasks on the engine that their parameters ask for.

    Args:
        problem: Their problem.
        tasks: The trials, of one start.
        listener: Is told of each trial's begin and end.
        alone: The start has a single trial; without a cluster it runs in this process. One that is left of a sweep does
            not: it may be the one that its worker died of.

    Raises:
        EnvironmentMissing: If the engine cannot be had.
    """
    if not tasks:
        return
    parameters: Any = tasks[0].parameters
    if problem.distributed and not alone:
        from dlperf.engines import interleaved

        interleaved.run(problem, tasks, listener)
    elif getattr(parameters, "engine", "local") == "ray":
        from dlperf.engines import cluster

        cluster.run(tasks, listener, cpus=parameters.cpus_per_trial, gpus=parameters.gpus_per_trial)
    elif (alone or not side_by_side(parameters)) and _fits_here(problem, parameters):
        from dlperf.engines import in_process

        in_process.run(problem, tasks, listener)
    else:
        from dlperf.engines import local

        local.run(longest_first(problem, tasks), listener, 1 if alone else parameters.processes)


def _fits_here(problem: Problem[Any], parameters: Any) -> bool:
    """Whether TensorFlow can compute in this process as the trials want it; earlier ones may have chosen otherwise."""
    return bool(problem.distributed) or onednn.can_choose(getattr(parameters, "onednn", None))


def longest_first(problem: Problem[Any], tasks: Sequence[Task]) -> list[Task]:
    """Order tasks so that no long one is left for the end, when other workers have nothing to do."""
    return sorted(tasks, key=lambda task: -problem.work(task.parameters))
