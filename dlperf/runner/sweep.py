"""A sweep: one child run per trial below a parent, which of them have finished, which failed and why."""

from __future__ import annotations

import datetime
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Generic

from dlperf import engines, environment
from dlperf.claims.verdicts import in_words, verdict_table
from dlperf.clock import Clock
from dlperf.engines.execution import Outcome, Task
from dlperf.errors import DlperfError, EnvironmentMissing, TrialFailed, one_line
from dlperf.interruption import signals_deferred
from dlperf.parameters import Arguments, P, describe, sweep_texts, written
from dlperf.problem import Problem, Summary
from dlperf.runner import page, trial_run
from dlperf.runner.memory import advised
from dlperf.runner.resume import identity_tags, is_finished
from dlperf.tracking import view
from dlperf.tracking.query import said_trial
from dlperf.tracking.run import PARENT, Run
from dlperf.tracking.server import tracking_errors
from dlperf.tracking.store import Store
from dlperf.tracking.system_metrics import monitored
from dlperf.trial import StoredTrial


def run_sweep(
    store: Store, parent: Run, problem: Problem[P], arguments: Arguments[P]
) -> tuple[Summary, list[StoredTrial[P]]]:
    """Run the trials below `parent`, round after round, compare them, and return what was made of them.

    Raises:
        SweepFailed: If some trials failed; the others have a summary.
        TrialFailed: If all did.
    """
    varied = " ".join(f"{name}={arguments.explicit[name]}" for name in problem.varying if _varies(arguments, name))
    tags = identity_tags(problem, arguments)
    parent.begin(problem, f"{problem.name} {varied}".strip(), "sweep", sweep_texts(arguments.trials), tags)
    parent.facts({}, {"dlperf.hardware": environment.hardware()}, environment.describe())
    sweep = SweepRuns(store, parent, problem, arguments)
    stored: list[StoredTrial[P]] = []
    try:
        while True:
            known = sweep.total
            tasks = sweep.add(problem.next_trials(arguments.trials, stored))
            if sweep.total == known:
                break
            engines.run(problem, tasks, sweep)
            stored = sweep.stored()
    except BaseException as error:
        sweep.abandon(error)
        raise
    failures = sweep.failures
    if not stored:
        raise_failures(failures, sweep.total)
    summary = problem.summarize(stored)
    chapter = page.of(problem, stored)
    parent.summary(summary, in_words(chapter.verdicts), view.key(problem.name))
    parent.table("claims", verdict_table(chapter.verdicts))
    if PARENT not in parent.tags:  # the demo has a page of its own
        page.log(parent, store, [chapter], "the trials of a sweep")
    for run_id, metrics in summary.trial_metrics.items():
        parent.compared(run_id, metrics)
    wall = sum(trial.metrics["wall_seconds"] for trial in stored)
    counts = {"trials_finished": len(stored), "trials_failed": len(failures), "trials_wall_seconds": wall}
    parent.final_metrics(counts, again=True)
    if failures:
        raise SweepFailed(failures, sweep.total, summary)
    return summary, stored


class SweepFailed(TrialFailed):
    """Some trials of a sweep failed; the others have a summary."""

    def __init__(self, failures: Mapping[str, Exception], total: int, summary: Summary) -> None:
        """Take the errors of the failed trials by name, the number of all trials, and the summary of the others."""
        super().__init__(_reasons(failures, total))
        self.summary = summary


def _varies(arguments: Arguments[P], name: str) -> bool:
    return name in arguments.explicit and len({getattr(trial, name) for trial in arguments.trials}) > 1


def raise_failures(failures: Mapping[str, Exception], total: int) -> None:
    """Raise TrialFailed with the reasons, if there are failures."""
    if failures:
        raise TrialFailed(_reasons(failures, total))


def _reasons(failures: Mapping[str, Exception], total: int) -> str:
    reasons = "; ".join(f"{name}: {one_line(error)}" for name, error in failures.items())
    return f"{len(failures)} of {total} failed: {reasons}"


class SweepRuns(Generic[P]):
    """Listens to the trials of a sweep, and keeps their child runs and the status of these.

    Attributes:
        failures: Why trials failed, by name.
    """

    def __init__(self, store: Store, parent: Run, problem: Problem[P], arguments: Arguments[P]) -> None:
        """Take what was asked for, and what there is of it from an earlier start."""
        self._store, self._parent, self._problem, self._arguments = store, parent, problem, arguments
        self._started_at = time.monotonic()
        self._names: list[str] = []
        self._trial_arguments: dict[str, Arguments[P]] = {}
        self._runs: dict[str, Run] = {}
        self._active: dict[str, ExitStack] = {}
        self._finished: dict[str, StoredTrial[P]] = {}
        self._work_done = 0.0
        self._work: dict[str, float] = {}
        self._children = store.children(parent)
        self.failures: dict[str, Exception] = {}

    def add(self, trials: Sequence[P]) -> list[Task]:
        """Take in trials; return those that are new and have not finished in an earlier start."""
        tasks = []
        one_by_one = not (engines.side_by_side(trials[0]) or self._problem.distributed)
        done_before = []
        for trial in trials:
            name = self._problem.trial_name(trial)
            if name in self._names:
                continue
            self._names.append(name)
            if child := self._children.get(self._problem.trial_key(trial)):
                self._runs[name] = child
            if is_finished(self._problem, trial, self._children):
                print(f"{name}: finished before, skipped")
                done_before.append(name)
            else:
                self._trial_arguments[name] = own_arguments(self._arguments, trial)
                self._work[name] = self._problem.work(trial)
                tasks.append(Task(self._problem.name, trial, name, show_progress=one_by_one))
        read = self._store.read_trials(self._problem, [self._runs[name].id for name in done_before])
        self._finished |= dict(zip(done_before, read, strict=True))
        return tasks

    @property
    def total(self) -> int:
        """Trials known by now."""
        return len(self._names)

    def stored(self) -> list[StoredTrial[P]]:
        """The trials that have finished, in their order."""
        return [self._finished[name] for name in self._names if name in self._finished]

    def started(self, task: Task) -> Run | None:
        """Let the trial's run stand as RUNNING."""
        name, stack = task.name, ExitStack()
        try:
            with tracking_errors(self._store.uri):
                clock = Clock()

                def enter(run: Run) -> None:
                    trial_run.keep_journal(self._store, run, self._problem.name, task.parameters)
                    self._runs[name] = stack.enter_context(run)
                    self._active[name] = stack

                with clock.account("tracking"):
                    if name in self._runs:
                        with signals_deferred():
                            enter(self._runs[name])
                    else:
                        self._store.create(name, parent=self._parent, made=enter)
                    run = self._runs[name]
                    if task.show_progress:  # no other trial runs meanwhile
                        stack.enter_context(monitored(run, self._store.uri))
                task.state_file = trial_run.begin(run, self._problem, self._trial_arguments[name], clock)
                task.accounts = clock.snapshot()
        except Exception as error:
            self._failed(task, error)
            return None
        return run

    def ended(self, task: Task, outcome: Outcome | Exception) -> None:
        """Log a trial's result, or why there is none.

        Raises:
            EnvironmentMissing: The next trial would meet the same.
        """
        if isinstance(outcome, Exception):
            self._failed(task, advised(self._problem, task.parameters, outcome))
            return
        run = self._runs[task.name]
        try:
            with self._active.pop(task.name):
                trial_run.finish(run, self._problem, outcome)
        except Exception as error:
            self._failed(task, error)
            return
        trial_run.forget_state(run, task.parameters)
        self._finished[task.name] = said_trial(self._problem, run)
        if not task.show_progress:
            self._print_progress(task)

    def abandon(self, error: BaseException) -> None:
        """End the runs of the trials that are still running."""
        while self._active:
            _, stack = self._active.popitem()
            stack.__exit__(type(error), error, error.__traceback__)

    def _failed(self, task: Task, error: Exception) -> None:
        stack = self._active.pop(task.name, None)
        if stack:
            stack.__exit__(type(error), error, error.__traceback__)
        if isinstance(error, EnvironmentMissing):
            raise error
        self._work_done += self._work[task.name]
        self.failures[task.name] = report_failure(task.name, error)

    def _print_progress(self, task: Task) -> None:
        """Print a line for a finished trial, with the time left as the work done so far lets expect."""
        self._work_done += self._work[task.name]
        done, elapsed = len(self._finished) + len(self.failures), time.monotonic() - self._started_at
        still = ""
        if done < len(self._names) and self._work_done > 0:  # a problem that trains nothing estimates no work
            left = elapsed * (sum(self._work.values()) / self._work_done - 1)
            still = f", about {datetime.timedelta(seconds=round(left))} left"
        print(f"{task.name}: finished, {done} of {len(self._names)}{still}", flush=True)


def report_failure(name: str, error: Exception) -> Exception:
    """Print a failure when it happens: in one line, or with its traceback where it is a bug."""
    if not isinstance(error, DlperfError):
        traceback.print_exception(error)
    print(f"dlperf {name}: failed: {one_line(error)}", file=sys.stderr)
    return error


def own_arguments(arguments: Arguments[P], trial: P) -> Arguments[P]:
    """Return a sweep's arguments as they apply to one trial, so that its run can be resumed by itself."""
    values = written(trial)
    spanned = (parameter.name for parameter in describe(type(trial)) if parameter.grid and parameter.derived_from)
    given = dict.fromkeys([*arguments.explicit, *spanned])
    explicit = {name: values[name] for name in given}
    # A trial of an earlier round may differ from what was asked for in further parameters.
    asked = written(type(trial).resolve({name: getattr(trial, name) for name in given}))
    differing = {name: value for name, value in values.items() if asked[name] != value}
    return Arguments((trial,), {**explicit, **differing})
