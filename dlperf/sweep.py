"""Starts a problem: one trial as one run, several as a sweep of runs below a parent."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from dlperf import engines, environment, planning, problems, terminal, trial_run
from dlperf.claims.verdicts import verdict_table, verdicts
from dlperf.clock import Clock
from dlperf.errors import BadInput, TrialFailed, one_line
from dlperf.execution import Outcome, Task
from dlperf.parameters import Given, parse, sweep_texts, texts
from dlperf.resume import begun, identity_tags, resumed_raw
from dlperf.settings import settings
from dlperf.sweep_runs import SweepRuns, told
from dlperf.tracking import Run, Store
from dlperf.tracking_server import outages
from dlperf.trial import Demo, P, Problem, StoredTrial, Summary


def start(problem: Problem[Any] | Demo, raw: Mapping[str, str]) -> int:
    """Run what the user asked for, or go on with it where MLFLOW_RUN_ID names a run that was begun before.

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
        if not trials[0].dry_run and problem.follows(trials):
            problem.follow(_unfinished(problem, trials, raw))
            return 0
        if trials[0].dry_run or not os.environ.get("MLFLOW_RUN_ID"):
            trial_run.check(problem, trials)  # what cannot run is to leave no run behind
        if trials[0].dry_run:
            planning.show(problem, trials)
            return 0
    store = Store()
    with outages(store.uri):
        run = store.adopted() or store.create(problem.name)
        store.end_stale_runs()
        if isinstance(problem, Demo):
            _run_demo(store, run, problem, raw)
        else:
            _run_problem(store, run, problem, raw)
    terminal.say_where(store.uri, store.experiment_id, run.id)
    return 0


def _unfinished(problem: Problem[P], trials: Sequence[P], raw: Mapping[str, str]) -> Sequence[P]:
    """Return the trials that the host which logs them has yet to run: all, unless MLFLOW_RUN_ID names a begun run."""
    if not os.environ.get("MLFLOW_RUN_ID"):
        return trials
    store = Store()
    with outages(store.uri):
        run = store.adopted()
        if run is None or not begun(run):
            return trials
        trials = parse(problem.parameters, resumed_raw(problem, run, raw)).trials
        if len(trials) == 1:
            return [] if run.finished else trials
        finished = {key for key, child in store.children(run).items() if child.finished}
        return [trial for trial in trials if problem.trial_key(trial) not in finished]


def refuse(error: BadInput) -> None:
    """End the run that `mlflow run` made for this program, which cannot use what it was given."""
    run = Store().adopted()
    if run and not begun(run):
        run.end("FAILED", str(error))


def _run_demo(store: Store, run: Run, demo: Demo, raw: Mapping[str, str]) -> None:
    """Run the reduced start of every problem below `run`; one that fails does not stop the others."""
    given = _given(run, demo, raw)
    if given is None:
        return
    failures: dict[str, Exception] = {}
    with run:
        run.begin(demo, demo.name, "sweep", texts(given.trials[0]), identity_tags(demo, given))
        run.facts({}, {"dlperf.hardware": environment.hardware()}, environment.describe())
        children = store.children(run, "dlperf.problem")
        for name in demo.problems:
            problem = problems.load(name)
            child = children.get(name) or store.create(problem.name, parent=run)
            try:
                declared = {name: text for name, text in given.given.items() if name in problem.parameters.model_fields}
                _run_problem(store, child, problem, {**problem.demo, **declared})
            except Exception as error:
                failures[name] = told(name, error)
        _raise_failures(failures, len(demo.problems))


def _given(run: Run, problem: Problem[P] | Demo, raw: Mapping[str, str]) -> Given[Any] | None:
    """Return what is to be run in `run`, or None if it is finished; what contradicts a begun run leaves it as it is."""
    given = parse(problem.parameters, resumed_raw(problem, run, raw) if begun(run) else raw)
    if run.finished:
        print(f"run {run.id} is finished: nothing is left to do")
        return None
    if run.owned_by_another:
        raise BadInput("MLFLOW_RUN_ID", run.id, "is still being run by another process; end that first")
    return given


def _run_problem(store: Store, run: Run, problem: Problem[P], raw: Mapping[str, str]) -> None:
    """Run the trials in `run`, going on with what it has, unless it is finished."""
    given = _given(run, problem, raw)
    if given is None:
        return
    try:
        with run:
            clock = Clock()
            with clock.account("setup"):
                trial_run.check(problem, given.trials)
            if len(given.trials) == 1:
                summary = _run_single(store, run, problem, given, clock)
            else:
                summary = _run_sweep(store, run, problem, given)
    except _SweepFailed as failed:
        terminal.show_summary(failed.summary)
        raise
    trial_run.forget_state(run, given.trials[0])
    terminal.show_summary(summary)


class _Single:
    """Listens to the one trial of a start."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.outcome: Outcome | None = None

    def started(self, task: Task) -> Run:
        return self._run

    def ended(self, task: Task, outcome: Outcome | Exception) -> None:
        if isinstance(outcome, Exception):
            raise outcome
        self.outcome = outcome


def _run_single(store: Store, run: Run, problem: Problem[P], given: Given[P], clock: Clock) -> Summary:
    trial = given.trials[0]
    state_file = trial_run.begin(run, problem, given, clock)
    task = Task(problem.name, trial, problem.trial_name(trial), state_file, True, clock.snapshot())
    listener = _Single(run)
    engines.run(problem, [task], listener, alone=True)
    assert listener.outcome is not None
    return trial_run.finish(store, run, problem, listener.outcome, show_tables=True)


class _SweepFailed(TrialFailed):
    """Some trials of a sweep failed; the others have a summary."""

    def __init__(self, failures: Mapping[str, Exception], total: int, summary: Summary) -> None:
        super().__init__(_reasons(failures, total))
        self.summary = summary


def _run_sweep(store: Store, parent: Run, problem: Problem[P], given: Given[P]) -> Summary:
    varied = " ".join(f"{name}={given.given[name]}" for name in problem.varying if _varies(given, name))
    tags = identity_tags(problem, given)
    parent.begin(problem, f"{problem.name} {varied}".strip(), "sweep", sweep_texts(given.trials), tags)
    parent.facts({}, {"dlperf.hardware": environment.hardware()}, environment.describe())
    sweep = SweepRuns(store, parent, problem, given)
    stored: list[StoredTrial[P]] = []
    try:
        while True:
            known = sweep.total
            tasks = sweep.add(problem.next_trials(given.trials, stored))
            if sweep.total == known:
                break
            engines.run(problem, tasks, sweep)
            stored = store.read_trials(problem, sweep.finished)
    except BaseException as error:
        sweep.abandon(error)
        raise
    failures = sweep.failures
    if not stored:
        _raise_failures(failures, sweep.total)
    summary = problem.summarize(stored)
    parent.summary(summary)
    parent.table("claims", verdict_table(verdicts(problem.name, settings(problem, stored))))
    for run_id, metrics in summary.trial_metrics.items():
        store.compare(run_id, metrics)
    wall = sum(trial.metrics["wall_seconds"] for trial in stored)
    counts = {"trials_finished": len(stored), "trials_failed": len(failures), "trials_wall_seconds": wall}
    parent.final_metrics(counts, again=True)
    if failures:
        raise _SweepFailed(failures, sweep.total, summary)
    return summary


def _varies(given: Given[P], name: str) -> bool:
    return name in given.given and len({getattr(trial, name) for trial in given.trials}) > 1


def _raise_failures(failures: Mapping[str, Exception], total: int) -> None:
    if failures:
        raise TrialFailed(_reasons(failures, total))


def _reasons(failures: Mapping[str, Exception], total: int) -> str:
    reasons = "; ".join(f"{name}: {one_line(error)}" for name, error in failures.items())
    return f"{len(failures)} of {total} failed: {reasons}"
