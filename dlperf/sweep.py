"""Starts a problem: one trial as one run, several as a sweep of runs below a parent."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs

from dlperf import environment, planning, problems, terminal
from dlperf.clock import Clock
from dlperf.errors import BadInput, DlperfError, EnvironmentMissing, TrialFailed, one_line
from dlperf.parameters import Given, Parameters, parse, sweep_texts, texts
from dlperf.resume import begun, identity_tags, resumed_raw
from dlperf.tracking import Run, Store, outages
from dlperf.trial import Context, Demo, P, Problem, Summary


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
        if trials[0].dry_run or not os.environ.get("MLFLOW_RUN_ID"):
            _check(problem, trials)  # what cannot run is to leave no run behind
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
        run.environment()
        children = store.children(run, "dlperf.problem")
        for name in demo.problems:
            problem = problems.load(name)
            child = children.get(name) or store.create(problem.name, parent=run)
            try:
                declared = {name: text for name, text in given.given.items() if name in problem.parameters.model_fields}
                _run_problem(store, child, problem, {**problem.demo, **declared})
            except Exception as error:
                failures[name] = _told(name, error)
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
                _check(problem, given.trials)
            if len(given.trials) == 1:
                summary = _run_trial(store, run, problem, given, clock, show_tables=True)
            else:
                summary = _run_sweep(store, run, problem, given)
    except _SweepFailed as failed:
        terminal.show_summary(failed.summary)
        raise
    _forget_state(run, given.trials[0])
    terminal.show_summary(summary)


class _SweepFailed(TrialFailed):
    """Some trials of a sweep failed; the others have a summary."""

    def __init__(self, failures: Mapping[str, Exception], total: int, summary: Summary) -> None:
        super().__init__(_reasons(failures, total))
        self.summary = summary


def _run_sweep(store: Store, parent: Run, problem: Problem[P], given: Given[P]) -> Summary:
    varied = " ".join(f"{name}={given.given[name]}" for name in problem.varying if "," in given.given.get(name, ""))
    tags = identity_tags(problem, given)
    parent.begin(problem, f"{problem.name} {varied}".strip(), "sweep", sweep_texts(given.trials), tags)
    parent.environment()
    children = store.children(parent)
    finished: list[str] = []
    failures: dict[str, Exception] = {}
    for trial in given.trials:
        name, values = problem.trial_name(trial), texts(trial)
        # What the sweep was given, as it applies to this trial: its run can be gone on with by itself.
        own = Given((trial,), {key: values[key] for key in given.given})
        child = children.get(problem.trial_key(trial)) or store.create(name, parent=parent)
        if child.finished:
            print(f"{name}: finished before, skipped")
        else:
            try:
                with outages(store.uri), child:
                    _run_trial(store, child, problem, own, Clock())
            except EnvironmentMissing:
                raise  # the next trial would meet the same
            except Exception as error:
                failures[name] = _told(name, error)
                continue
            _forget_state(child, trial)
        finished.append(child.id)
    if not finished:
        _raise_failures(failures, len(given.trials))
    stored = [store.read_trial(problem, run_id) for run_id in finished]
    summary = problem.summarize(stored)
    parent.summary(summary)
    wall = sum(trial.metrics["wall_seconds"] for trial in stored)
    counts = {"trials_finished": len(finished), "trials_failed": len(failures), "wall_seconds": wall}
    parent.final_metrics(counts, again=True)
    if failures:
        raise _SweepFailed(failures, len(given.trials), summary)
    return summary


def _run_trial(
    store: Store, run: Run, problem: Problem[P], given: Given[P], clock: Clock, *, show_tables: bool = False
) -> Summary:
    trial = given.trials[0]
    with clock.account("setup"):
        gc.collect()  # the networks of earlier trials, which stand in reference cycles
        environment.reset_peak_memory()
        tags = identity_tags(problem, given)
    with clock.account("tracking"):
        run.begin(problem, problem.trial_name(trial), "trial", texts(trial), tags)
    state_file = _state_folder(run, trial) / "state.npz"
    if "epochs_run" not in run.logged_metrics and "epoch_seconds" in run.logged_metrics and not state_file.exists():
        print(f"dlperf: no state of run {run.id} in {state_file.parent}: it is trained from the start", file=sys.stderr)
    context = Context(problem.trial_name(trial), run, clock, state_file, show_progress=True)
    result = problem.run_trial(trial, context)
    with clock.account("tracking"):
        # A problem that trains tells its time here already, as `summarize` reads it.
        trained = {name: value for name, value in clock.metrics().items() if name == "train_seconds"}
        run.final_metrics({**result.metrics, **trained})
        run.set_tags(result.tags)
        stored = store.read_trial(problem, run.id)
    with clock.account("reporting"):
        summary = problem.summarize([stored])
        run.summary(summary)
        for name, figure in result.figures.items():
            run.figure(name, figure)
        for name, table in result.tables.items():
            run.table(name, table)
            if show_tables:
                terminal.show_table(name, table)
        if result.model:
            run.model(result.model)
    run.accounts(clock)
    return summary


def _check(problem: Problem[P], trials: Sequence[P]) -> None:
    """Verify before anything is trained that the data and a place for the state are there."""
    problem.check(trials)
    given = getattr(trials[0], "state_dir", "")
    # A relative folder would lie in the temporary clone in which MLflow runs a project from Git.
    if given and not Path(given).expanduser().is_absolute():
        raise BadInput("state_dir", given, "must be an absolute path")
    folder = _state_dir(trials[0])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        name = "state_dir" if given else "DLPERF_STATE_DIR"
        raise BadInput(name, folder, f"must be a folder that can be written to ({error.strerror})") from error


def _state_dir(parameters: Parameters) -> Path:
    default = Path(platformdirs.user_cache_dir("dlperf")) / "state"
    return Path(getattr(parameters, "state_dir", "") or os.environ.get("DLPERF_STATE_DIR") or default).expanduser()


def _state_folder(run: Run, parameters: Parameters) -> Path:
    return _state_dir(parameters) / run.id


def _forget_state(run: Run, parameters: Parameters) -> None:
    """Remove the state of a run that has ended FINISHED."""
    shutil.rmtree(_state_folder(run, parameters), ignore_errors=True)


def _told(name: str, error: Exception) -> Exception:
    """Tell a failure when it happens: in one line, or with its traceback where it is a bug."""
    if not isinstance(error, DlperfError):
        traceback.print_exception(error)
    print(f"dlperf {name}: failed: {one_line(error)}", file=sys.stderr)
    return error


def _raise_failures(failures: Mapping[str, Exception], total: int) -> None:
    if failures:
        raise TrialFailed(_reasons(failures, total))


def _reasons(failures: Mapping[str, Exception], total: int) -> str:
    reasons = "; ".join(f"{name}: {one_line(error)}" for name, error in failures.items())
    return f"{len(failures)} of {total} failed: {reasons}"
