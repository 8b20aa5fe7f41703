"""One trial, wherever it runs: in this process, in a worker beside it or on a cluster. Knows no tracking."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dlperf import environment, processor
from dlperf.clock import Clock
from dlperf.errors import DlperfError, OutOfMemory, TrialFailed, one_line
from dlperf.parameters import Parameters
from dlperf.problem import Problem
from dlperf.process_settings import onednn, xla_cache
from dlperf.terminal import notices
from dlperf.trial import Context, DataUsed, Report, TrialResult

_MOST_OF_A_REASON = 300  # TensorFlow tells what every operation above had


@dataclass
class Task:
    """A trial that is to run; can be pickled.

    Attributes:
        problem: Name of its problem.
        parameters: What it runs with.
        name: The run's name.
        state_file: Where its state is kept between epochs; None keeps none.
        show_progress: Draw a progress bar or epoch lines on the terminal.
        accounts: What its clock has booked before it runs, as `Clock.snapshot`.
    """

    problem: str
    parameters: Parameters
    name: str
    state_file: Path | None = None
    show_progress: bool = False
    accounts: Mapping[str, float] = field(default_factory=lambda: Clock().snapshot())


@dataclass
class Outcome:
    """What a trial that did not fail gives; can be pickled.

    Attributes:
        result: Its result.
        accounts: What its clock has booked, as `Clock.snapshot`.
        peak_memory_mb: Peak of its process's resident memory; None where it is unknown.
    """

    result: TrialResult
    accounts: Mapping[str, float]
    peak_memory_mb: float | None


class Listener(Protocol):
    """Records the start and the end of trials; always called in the process, and the thread, that started it."""

    def started(self, task: Task) -> Report | None:
        """Take note that a trial is about to run; None if it cannot, which has been noted then."""

    def ended(self, task: Task, outcome: Outcome | Exception) -> None:
        """Take note of a trial's end; what is raised ends the sweep."""


class RemoteReport:
    """The report of a trial in another process: each call is sent there, by name."""

    def __init__(self, send: Callable[[str, tuple[Any, ...]], None]) -> None:
        """Take what sends a method's name and arguments to whoever listens."""
        self._send = send

    def data(self, used: DataUsed) -> None:
        """Send the data set."""
        self._send("data", (used,))

    def facts(self, params: Mapping[str, str], tags: Mapping[str, str], environment: Mapping[str, Any]) -> None:
        """Send parameters, tags and what the trial runs on."""
        self._send("facts", (params, tags, environment))

    def epochs(self, first: int, metrics: Sequence[Mapping[str, float]]) -> None:
        """Send the metrics of epochs."""
        self._send("epochs", (first, metrics))


def execute(problem: Problem[Any], task: Task, report: Report) -> Outcome:
    """Run one trial.

    Raises:
        DlperfError: What the problem raises.
        OutOfMemory: If Python, NumPy or TensorFlow gets no memory.
    """
    clock = Clock()
    clock.carry(task.accounts)
    with clock.account("setup"):
        gc.collect()  # the networks of earlier trials, which stand in reference cycles
        environment.reset_peak_memory()
        if not problem.distributed:  # whose workers choose for themselves
            notices.leave_out()
            onednn.choose(getattr(task.parameters, "onednn", None))
            xla_cache.use(getattr(task.parameters, "threads", 0))
            clock.watch(processor.core_seconds)
    follows_from = problem.curve_follows_from(task.parameters)
    context = Context(task.name, report, clock, task.state_file, task.show_progress, follows_from)
    try:
        result = problem.run_trial(task.parameters, context)
    except Exception as error:
        if is_for_memory(error):
            raise OutOfMemory(f"out of memory ({one_line(error, _MOST_OF_A_REASON)})") from error
        raise
    return Outcome(result, clock.snapshot(), environment.peak_memory_mb())


def is_for_memory(error: Exception) -> bool:
    """Whether an error says that there was no memory; TensorFlow, and with it its class of such, may not be loaded."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


def portable(error: Exception) -> DlperfError:
    """Return an error that another process can be told; one that is a bug leaves its traceback here."""
    if isinstance(error, DlperfError):
        return error
    traceback.print_exception(error)
    return TrialFailed(f"{type(error).__name__}: {one_line(error)}")
