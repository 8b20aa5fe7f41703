"""A trial as a run: what is logged before it runs and after it has run, and where its state lies."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from dlperf import engines
from dlperf.analysis.settings import DISTURBED
from dlperf.clock import Clock
from dlperf.engines.execution import Outcome
from dlperf.errors import BadInput, DlperfError
from dlperf.folders import state_folder, writable_folder
from dlperf.parameters import Arguments, P, Parameters, texts
from dlperf.problem import Problem, Summary
from dlperf.runner.resume import identity_tags
from dlperf.terminal.tables import show_table
from dlperf.tracking.journal import JournalHeld
from dlperf.tracking.query import said_trial
from dlperf.tracking.run import Run, still_run
from dlperf.tracking.store import Store, journal_folder

# Other programs disturb a trial where they take as much as a tenth of what it takes, and leave no core free.
_NOTICED, _FULL = 0.1, 0.9


def keep_journal(store: Store, run: Run, problem: str, parameters: Parameters) -> None:
    """Let what is said of a run go through a journal beside its state; a run that cannot have one ends FAILED.

    Raises:
        BadInput: If another process runs the run, which stays as it is, or the folder of states cannot be used.
        EnvironmentMissing: If the journal cannot be made.
    """
    try:
        _writable_states(parameters)
        run.keep_journal(journal_folder(run, _state_dir(parameters)), problem, store.sender)
    except JournalHeld as error:
        raise still_run(run.id) from error
    except DlperfError as error:
        run.end("FAILED", str(error))
        raise


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
    state_file = _state_folder(run, trial) / "state.npz"
    if (
        "epochs_run" not in run.logged_metrics
        and "epoch_seconds" in run.logged_metrics
        and not checkpoint.exists(state_file)
    ):
        print(f"dlperf: no state of run {run.id} in {state_file.parent}: it is trained from the start", file=sys.stderr)
    return state_file


def finish(
    run: Run, problem: Problem[P], outcome: Outcome, *, show_tables: bool = False, wide: bool = False
) -> Summary:
    """Log a trial's result: metrics, tables and figures, and last its accounts; `show_tables` prints its own tables."""
    clock, result = Clock(), outcome.result
    clock.carry(outcome.accounts)
    with clock.account("tracking"):
        # The training time is logged here already, where there is one, because `summarize` reads it.
        trained = {name: value for name, value in clock.metrics().items() if name == "train_seconds"}
        run.final_metrics({**result.metrics, **trained})
        run.set_tags(result.tags)
    with clock.account("reporting"), run.artifacts():
        summary = problem.summarize([said_trial(problem, run)])
        run.summary(summary)
        for name, figure in result.drawings.items():
            run.drawing(name, figure)
        for name, figure in result.figures.items():
            run.figure(name, figure)
        for name, table in result.tables.items():
            run.table(name, table)
            if show_tables:
                columns, sentence = result.columns.get(name, ()), result.sentences.get(name, "")
                show_table(name, table, columns=columns, sentence=sentence, wide=wide)
        if result.model:
            run.model(result.model)
    ours, busy, there = clock.cores
    others = clock.cores.others
    if others > _NOTICED * ours and busy > _FULL * there:
        run.set_tags({DISTURBED: f"other programs had {others / there:.0%} of the cores' time, and none was free"})
    peak = {} if outcome.peak_memory_mb is None else {"peak_memory_mb": outcome.peak_memory_mb}
    run.final_metrics(clock.metrics() | peak)
    return summary


def verify(problem: Problem[P], trials: Sequence[P]) -> None:
    """Verify before anything is trained that the engine, the data and a place for the state are there.

    Raises:
        BadInput: If a setting, the data or the place cannot be used.
        EnvironmentMissing: If there is no data, or no engine.
    """
    engines.check(trials[0])
    problem.verify(trials)
    _writable_states(trials[0])


def forget_state(run: Run, parameters: Parameters) -> None:
    """Remove the state of a run that has ended FINISHED; its journal goes when it is sent."""
    if not run.is_safe:  # what was trained would have to be trained again
        return
    folder = _state_folder(run, parameters)
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            if file != journal_folder(run, _state_dir(parameters)):
                file.unlink()
        folder.rmdir()


def _writable_states(parameters: Parameters) -> None:
    asked_for = _state_dir(parameters)
    named_by, folder = "state_dir" if asked_for else "DLPERF_STATE_DIR", state_folder(asked_for)
    # A relative folder would lie in the temporary clone in which MLflow runs a project from Git.
    if not folder.is_absolute():
        raise BadInput(named_by, folder, "must be an absolute path")
    writable_folder(named_by, folder)


def _state_folder(run: Run, parameters: Parameters) -> Path:
    return state_folder(_state_dir(parameters)) / run.id


def _state_dir(parameters: Parameters) -> str:
    asked_for: str = getattr(parameters, "state_dir", "")
    return asked_for
