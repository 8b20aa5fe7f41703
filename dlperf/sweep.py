"""Starts a problem: one trial as one run, several as a sweep of runs below a parent."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

from dlperf import environment, planning, problems, terminal
from dlperf.clock import Clock
from dlperf.errors import BadInput, DlperfError, EnvironmentMissing, TrialFailed, one_line
from dlperf.interruption import answering
from dlperf.parameters import Given, parse, sweep_texts, texts
from dlperf.tracking import Run, Store, begun, identity_tags, resumed_raw
from dlperf.trial import Context, Demo, P, Problem


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
    with answering():
        if isinstance(problem, Problem):
            trials = parse(problem.parameters, raw).trials
            if trials[0].dry_run:
                planning.show(problem, trials)
                return 0
            if "MLFLOW_RUN_ID" not in os.environ:
                problem.check(trials)  # what cannot run is to leave no run behind
        store = Store()
        store.end_stale_runs()
        run = store.adopted() or store.create(problem.name)
        if isinstance(problem, Demo):
            _run_demo(store, run, problem, raw)
        else:
            _run_problem(store, run, problem, raw)
        terminal.say_where(store.uri, store.experiment_id, run.id)
        return 0


def refuse(error: BadInput) -> None:
    """End the run that `mlflow run` made for this program, which cannot use what it was given."""
    run = Store().adopted()
    if run and not begun(run):
        run.end("FAILED", str(error))


def _run_demo(store: Store, run: Run, demo: Demo, raw: Mapping[str, str]) -> None:
    """Run the reduced start of every problem below `run`; one that fails does not stop the others."""
    given = parse(demo.parameters, raw)
    failures: dict[str, Exception] = {}
    with run:
        run.begin(demo, demo.name, "sweep", texts(given.trials[0]), identity_tags(demo, given))
        children = store.children(run)
        for name in demo.problems:
            problem = problems.load(name)
            child = children.get(name) or store.create(problem.name, parent=run)
            try:
                _run_problem(store, child, problem, {**problem.demo, **given.given})
            except Exception as error:
                failures[name] = _told(name, error)
        _raise_failures(failures, len(demo.problems))


def _run_problem(store: Store, run: Run, problem: Problem[P], raw: Mapping[str, str]) -> None:
    """Run the trials in `run`, going on with what it has, unless it is finished."""
    if run.finished:
        print(f"run {run.id} is finished: nothing is left to do")
        return
    if run.owned_by_another:
        raise BadInput("MLFLOW_RUN_ID", run.id, "is still being run by another process; end that first")
    with run:
        clock = Clock()
        given = parse(problem.parameters, resumed_raw(problem, run, raw) if begun(run) else raw)
        with clock.account("setup"):
            problem.check(given.trials)
        if len(given.trials) == 1:
            summary = _run_trial(store, run, problem, given, clock)
        else:
            summary = _run_sweep(store, run, problem, given, clock)
        terminal.show_table(problem.name, next(iter(summary.tables.values())))


def _run_sweep(store: Store, parent: Run, problem: Problem[P], given: Given[P], clock: Clock) -> Any:
    with clock.account("setup"):
        tags = identity_tags(problem, given)
    varied = " ".join(f"{name}={given.given[name]}" for name in problem.varying if "," in given.given.get(name, ""))
    parent.begin(problem, f"{problem.name} {varied}", "sweep", sweep_texts(given.trials), tags)
    parent.environment()
    children = store.children(parent)
    finished, failures = [], {}
    for trial in given.trials:
        name, own = problem.trial_name(trial), Given((trial,), given.given)
        child = children.get(problem.trial_key(trial)) or store.create(name, parent=parent)
        if child.finished:
            print(f"{name}: finished before, skipped")
        else:
            try:
                with child:
                    _run_trial(store, child, problem, own, Clock())
            except EnvironmentMissing:
                raise  # the next trial would meet the same
            except Exception as error:
                failures[name] = _told(name, error)
                continue
        finished.append(child.id)
    if not finished:
        _raise_failures(failures, len(given.trials))
    with clock.account("reporting"):
        summary = problem.summarize([store.read_trial(problem, run_id) for run_id in finished])
    parent.summary(summary)
    counts = {"trials_finished": len(finished), "trials_failed": len(failures), "wall_seconds": clock.wall}
    parent.final_metrics(counts)
    if failures:
        terminal.show_table(problem.name, next(iter(summary.tables.values())))
    _raise_failures(failures, len(given.trials))
    return summary


def _run_trial(store: Store, run: Run, problem: Problem[P], given: Given[P], clock: Clock) -> Any:
    trial = given.trials[0]
    environment.reset_peak_memory()
    with clock.account("setup"):
        tags = identity_tags(problem, given)
    with clock.account("tracking"):
        run.begin(problem, problem.trial_name(trial), "trial", texts(trial), tags)
    folder = _state_dir(getattr(trial, "state_dir", "")) / run.id
    context = Context(problem.trial_name(trial), run, clock, folder / "state.npz", show_progress=True)
    result = problem.run_trial(trial, context)
    with clock.account("tracking"):
        run.final_metrics({**result.metrics, "train_seconds": clock.seconds("train")})
        run.set_tags(result.tags)
        stored = store.read_trial(problem, run.id)
    with clock.account("reporting"):
        summary = problem.summarize([stored])
        run.summary(summary)
        for name, figure in result.figures.items():
            run.figure(name, figure)
        if result.model:
            run.model(result.model)
    run.accounts(clock)
    shutil.rmtree(folder, ignore_errors=True)
    return summary


def _state_dir(given: str) -> Path:
    default = Path(platformdirs.user_cache_dir("dlperf")) / "state"
    return Path(given or os.environ.get("DLPERF_STATE_DIR") or default).expanduser()


def _told(name: str, error: Exception) -> Exception:
    """Tell a failure when it happens: in one line, or with its traceback where it is a bug."""
    if not isinstance(error, DlperfError):
        traceback.print_exception(error)
    print(f"dlperf {name}: failed: {one_line(error)}", file=sys.stderr)
    return error


def _raise_failures(failures: Mapping[str, Exception], total: int) -> None:
    if failures:
        reasons = "; ".join(f"{name}: {one_line(error)}" for name, error in failures.items())
        raise TrialFailed(f"{len(failures)} of {total} failed: {reasons}")
