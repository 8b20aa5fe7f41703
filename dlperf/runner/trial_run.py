"""A trial as a run: what is logged before it runs and after it has run, and where its state lies."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import platformdirs

from dlperf import terminal
from dlperf.clock import Clock
from dlperf.engines.execution import Outcome
from dlperf.errors import BadInput
from dlperf.folders import writable_folder
from dlperf.parameters import Arguments, P, Parameters, texts
from dlperf.problem import Problem, Summary
from dlperf.runner.resume import identity_tags
from dlperf.tracking.run import Run
from dlperf.tracking.store import Store


def begin(run: Run, problem: Problem[P], arguments: Arguments[P], clock: Clock) -> Path:
    """Log what defines a trial; return where its state is kept between epochs.

    Raises:
        BadInput: If a logged parameter says another value.
    """
    from dlperf.training import checkpoint

    trial = arguments.trials[0]
    with clock.account("setup"):
        tags = identity_tags(problem, arguments)
    with clock.account("tracking"):
        run.begin(problem, problem.trial_name(trial), "trial", texts(trial), tags)
    state_file = state_folder(run, trial) / "state.npz"
    if (
        "epochs_run" not in run.logged_metrics
        and "epoch_seconds" in run.logged_metrics
        and not checkpoint.exists(state_file)
    ):
        print(f"dlperf: no state of run {run.id} in {state_file.parent}: it is trained from the start", file=sys.stderr)
    return state_file


def finish(store: Store, run: Run, problem: Problem[P], outcome: Outcome, *, show_tables: bool = False) -> Summary:
    """Log a trial's result: metrics, tables and figures, and last its accounts.

    Raises:
        EnvironmentMissing: If the tracking server does not take them.
    """
    clock, result = Clock(), outcome.result
    clock.carry(outcome.accounts)
    with clock.account("tracking"):
        # The training time is logged here already, where there is one, because `summarize` reads it.
        trained = {name: value for name, value in clock.metrics().items() if name == "train_seconds"}
        run.final_metrics({**result.metrics, **trained})
        run.set_tags(result.tags)
        stored = store.read_trials(problem, [run.id])
    with clock.account("reporting"):
        summary = problem.summarize(stored)
        run.summary(summary)
        for name, figure in result.drawings.items():
            run.drawing(name, figure)
        for name, figure in result.figures.items():
            run.figure(name, figure)
        for name, table in result.tables.items():
            run.table(name, table)
            if show_tables:
                terminal.show_table(name, table)
        if result.model:
            run.model(result.model)
    peak = {} if outcome.peak_memory_mb is None else {"peak_memory_mb": outcome.peak_memory_mb}
    run.final_metrics(clock.metrics() | peak)
    return summary


def verify(problem: Problem[P], trials: Sequence[P]) -> None:
    """Verify before anything is trained that the data and a place for the state are there.

    Raises:
        BadInput: If they are not.
    """
    problem.verify(trials)
    asked_for = getattr(trials[0], "state_dir", "")
    # A relative folder would lie in the temporary clone in which MLflow runs a project from Git.
    if asked_for and not Path(asked_for).expanduser().is_absolute():
        raise BadInput("state_dir", asked_for, "must be an absolute path")
    writable_folder("state_dir" if asked_for else "DLPERF_STATE_DIR", _state_dir(trials[0]))


def state_folder(run: Run, parameters: Parameters) -> Path:
    """Return the folder of a run's state."""
    return _state_dir(parameters) / run.id


def forget_state(run: Run, parameters: Parameters) -> None:
    """Remove the state of a run that has ended FINISHED."""
    shutil.rmtree(state_folder(run, parameters), ignore_errors=True)


def _state_dir(parameters: Any) -> Path:
    default = Path(platformdirs.user_cache_dir("dlperf")) / "state"
    return Path(getattr(parameters, "state_dir", "") or os.environ.get("DLPERF_STATE_DIR") or default).expanduser()
