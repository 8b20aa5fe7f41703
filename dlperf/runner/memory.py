"""What to do about a trial that needs more memory than there is: the command of one that needs less."""

from __future__ import annotations

import contextlib
import shlex
from typing import Any

from dlperf.entry_points import PROBLEMS, load_problem
from dlperf.errors import DlperfError, OutOfMemory
from dlperf.explicit import explicit
from dlperf.parameters import Parameters, from_texts, written
from dlperf.problem import Problem
from dlperf.tracking.run import Run

_PARAMETERS = ("micro_batch", "batch_size_per_worker", "batch_size")
"""Those that memory grows with; of several that a trial has, the first that counts for it."""


def advised(problem: Problem[Any], parameters: Parameters, error: Exception) -> Exception:
    """Return an error of a trial; one that ran out of memory says what to do about it."""
    return OutOfMemory(f"{error}{advice(problem, parameters)}") if isinstance(error, OutOfMemory) else error


def advice(problem: Problem[Any], parameters: Parameters) -> str:
    """Return the end of a sentence on a trial that got no memory: what needs less.

    Less memory is another trial: nothing is changed inside a run.
    """
    fewer = ", or fewer at a time (processes)" if getattr(parameters, "processes", 1) > 1 else ""
    name = _grows_with(parameters)
    if name:
        smaller = parameters.model_copy(update={name: getattr(parameters, name) // 2})
        # Else there is no half, the workers cannot share it, or data of the user's own are gone.
        with contextlib.suppress(DlperfError):
            return f"; with half the {name}, which is another trial: {command(problem, smaller)}{fewer}"
    return f": it needs more memory{fewer}"


def of_a_stale_run(run: Run) -> str:
    """Return a line on a run whose program the kernel killed for its memory, so that it could say nothing itself."""
    said = f"run {run.id} failed: its program ran out of memory, and the kernel killed it"
    name = run.tags.get("dlperf.problem", "")
    if run.tags.get("dlperf.role") != "trial" or name not in PROBLEMS:
        return said
    problem = load_problem(name)
    try:
        return said + advice(problem, from_texts(problem.parameters, run.params))
    except DlperfError:  # of another version of dlperf
        return said


def command(problem: Problem[Any], parameters: Parameters) -> str:
    """Return the command that runs one trial: all that differs from what would be run without it.

    Raises:
        BadInput: If the trial is none that can be run.
    """
    given, texts = explicit(parameters), written(parameters)
    return shlex.join(["dlperf", problem.name, *(part for name in given for part in (f"--{name}", texts[name]))])


def _grows_with(parameters: Parameters) -> str:
    names = [name for name in _PARAMETERS if hasattr(parameters, name)]
    if getattr(parameters, "mode", "") == "strong":
        names.remove("batch_size_per_worker")
    return names[0] if names else ""
