"""One problem in one run: its single trial, or a sweep of runs below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dlperf import engines
from dlperf.clock import Clock
from dlperf.engines.execution import Outcome, Task
from dlperf.errors import BadInput
from dlperf.parameters import Arguments, P, parse
from dlperf.problem import Demo, Problem, Summary
from dlperf.runner import trial_run
from dlperf.runner.memory import advised
from dlperf.runner.resume import keep_onednn, original_arguments, was_started
from dlperf.runner.sweep import SweepFailed, run_sweep
from dlperf.terminal.tables import show_summary
from dlperf.tracking.query import said_trial
from dlperf.tracking.run import Run
from dlperf.tracking.store import Store
from dlperf.tracking.system_metrics import monitored
from dlperf.trial import StoredTrial


def read_arguments(run: Run, problem: Problem[P] | Demo, raw: Mapping[str, str]) -> Arguments[Any] | None:
    """Return what to run in `run`, or None if it is finished.

    Raises:
        BadInput: If `raw` contradicts the arguments that the run was started with, or another process is running it;
            the run stays as it is.
    """
    arguments = parse(problem.parameters, original_arguments(problem, run, raw) if was_started(run) else raw)
    if run.finished:
        print(f"run {run.id} is finished: nothing is left to do")
        return None
    if run.owned_by_another:
        raise BadInput("MLFLOW_RUN_ID", run.id, "is still being run by another process; end that first")
    if was_started(run):
        keep_onednn(run, arguments.trials)
    return arguments


def run_problem(store: Store, run: Run, problem: Problem[P], raw: Mapping[str, str]) -> Sequence[StoredTrial[P]] | None:
    """Run the trials in `run`, or resume them, and return them; None if it is finished already."""
    run = store.caught_up(run, raw.get("state_dir", ""))
    arguments = read_arguments(run, problem, raw)
    if arguments is None:
        return None
    store.offer_view(problem)
    first, wide = arguments.trials[0], getattr(arguments.trials[0], "wide", False)
    trial_run.keep_journal(store, run, problem.name, first)
    if was_started(run) and run.has_finished_meanwhile():
        print(f"run {run.id} is finished: nothing is left to do")
        return None
    try:
        with run, monitored(run, store.uri):
            clock = Clock()
            with clock.account("setup"):
                trial_run.verify(problem, arguments.trials)
            if len(arguments.trials) == 1:
                summary = _run_single(store, run, problem, arguments, clock)
                trials = [said_trial(problem, run)]
            else:
                summary, trials = run_sweep(store, run, problem, arguments)
    except SweepFailed as failed:
        show_summary(failed.summary, wide=wide)
        raise
    trial_run.forget_state(run, first)
    show_summary(summary, wide=wide)
    return trials


class _Single:
    """Listens to the one trial of a start."""

    def __init__(self, run: Run, problem: Problem[Any]) -> None:
        self._run, self._problem = run, problem
        self.outcome: Outcome | None = None

    def started(self, task: Task) -> Run:
        return self._run

    def ended(self, task: Task, outcome: Outcome | Exception) -> None:
        if isinstance(outcome, Exception):
            raise advised(self._problem, task.parameters, outcome)
        self.outcome = outcome


def _run_single(store: Store, run: Run, problem: Problem[P], arguments: Arguments[P], clock: Clock) -> Summary:
    trial = arguments.trials[0]
    state_file = trial_run.begin(run, problem, arguments, clock)
    task = Task(problem.name, trial, problem.trial_name(trial), state_file, True, clock.snapshot())
    listener = _Single(run, problem)
    engines.run(problem, [task], listener, alone=True)
    assert listener.outcome is not None
    wide = getattr(trial, "wide", False)
    return trial_run.finish(run, problem, listener.outcome, show_tables=True, wide=wide)
