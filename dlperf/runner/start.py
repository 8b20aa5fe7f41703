"""Starts an entry point: checks what was asked for, adopts or creates the run, and runs it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from dlperf.errors import BadInput, Ended, EnvironmentMissing, TrialFailed
from dlperf.parameters import P, parse
from dlperf.problem import Demo, Problem
from dlperf.runner import dry_run, memory, trial_run
from dlperf.runner.demo import run_demo
from dlperf.runner.listing import killed_twin
from dlperf.runner.problem_run import run_problem
from dlperf.runner.resume import is_finished, keep_onednn, original_arguments, was_started
from dlperf.terminal.where import PAGE, place_of_page, say_page, say_where
from dlperf.tracking import system_metrics, view
from dlperf.tracking.run import Run
from dlperf.tracking.server import tracking_errors
from dlperf.tracking.store import Store


def start(problem: Problem[Any] | Demo, raw: Mapping[str, str]) -> int:
    """Run what the user asked for, or resume the run of MLFLOW_RUN_ID if it was started before.

    Args:
        problem: A problem, or the demo of all of them.
        raw: Parameters as the user wrote them.

    Returns:
        The exit status 0; everything else is raised.

    Raises:
        BadInput: If a parameter or a file cannot be used.
        EnvironmentMissing: If the tracking server or the data is missing or unreachable.
        TrialFailed: If a trial failed; a sweep has finished the others by then.
        Ended: If a signal, or the death of the launcher, ended the program.
    """
    if isinstance(problem, Problem):
        trials = parse(problem.parameters, raw).trials
        if not trials[0].dry_run and problem.distributed and problem.distributed.logged_elsewhere(trials):
            problem.distributed.take_part(_unfinished(problem, trials, raw))
            return 0
        if trials[0].dry_run or not os.environ.get("MLFLOW_RUN_ID"):
            trial_run.verify(problem, trials)  # what cannot run is to leave no run behind
        if trials[0].dry_run:
            dry_run.show(problem, trials)
            return 0
    system_metrics.wanted()  # or why its settings cannot be used
    store = Store(entry_point=problem.name)
    asked_for: Any = parse(problem.parameters, raw).trials[0]
    store.patience = asked_for.finish_seconds
    run: Run | None = None
    try:
        with store.sender.finishing(asked_for.finish_seconds), tracking_errors(store.uri):
            # Which sends what they still had to say: before a run is read.
            for stale in store.end_stale_runs():
                print(f"dlperf: {memory.of_a_stale_run(stale)}", file=sys.stderr)
            run = store.adopted() or store.create(problem.name)
            if not was_started(run) and (killed := killed_twin(store, problem, raw)):
                print(f"dlperf: run {killed} of the same was killed, and can go on: {_go_on(killed)}", file=sys.stderr)
            if isinstance(problem, Demo):
                run_demo(store, run, problem, raw)
            else:
                run_problem(store, run, problem, raw)
    except Ended as ended:
        if run and run.begun:
            raise Ended(ended.signal_number, f"{ended.reason}; it can go on: {_go_on(run.id)}") from ended
        raise
    except TrialFailed:  # the other trials have a page
        with contextlib.suppress(EnvironmentMissing):
            if run:
                _say_where(store, run, problem, opens=asked_for.open)
        raise
    assert run
    _say_where(store, run, problem, opens=asked_for.open)
    return 0


def _go_on(run_id: str) -> str:
    return f"dlperf runs --resume {run_id}"


def _say_where(store: Store, run: Run, problem: Problem[Any] | Demo, *, opens: bool) -> None:
    """Say where the run is and, where it has one, its page."""
    say_where(store.uri, run.experiment_id, run.id, view.key(problem.name) if isinstance(problem, Problem) else "")
    with tracking_errors(store.uri):
        has_page = run.has_artifact(PAGE)
    if has_page:
        say_page(place_of_page(store.uri, run.experiment_id, run.id, run.artifacts_at), opens=opens)
    elif opens:
        print("dlperf: open=true: only a sweep, the demo and `dlperf compare` make a page", file=sys.stderr)


def _unfinished(problem: Problem[P], trials: Sequence[P], raw: Mapping[str, str]) -> Sequence[P]:
    """Return the trials that the logging host has yet to run: all, unless MLFLOW_RUN_ID names a run to resume."""
    if not os.environ.get("MLFLOW_RUN_ID"):
        return trials
    store = Store()
    with tracking_errors(store.uri):
        run = store.adopted()
        if run is None or not was_started(run):
            return trials
        trials = parse(problem.parameters, original_arguments(problem, run, raw)).trials
        keep_onednn(run, trials)
        if len(trials) == 1:
            return [] if run.finished else trials
        children = store.children(run)
        return [trial for trial in trials if not is_finished(problem, trial, children)]


def refuse(error: BadInput) -> None:
    """End the run that `mlflow run` made for this program, which cannot use its arguments."""
    run = Store().adopted()
    if run and not was_started(run):
        run.end("FAILED", str(error))
