"""The start of the command `runs`: lists what has not finished, resumes it, or sends what waits for a server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

from dlperf.errors import BadInput, DlperfError, Ended, EnvironmentMissing, NothingFound, without_logins
from dlperf.folders import state_folder
from dlperf.parameters import parse
from dlperf.runner.listing import Unfinished, table, unfinished
from dlperf.runner.runs_parameters import ALL, RunsParameters
from dlperf.terminal.tables import show_table
from dlperf.tracking import database_file
from dlperf.tracking.journal import JournalHeld, JournalOnDisk, on_disk
from dlperf.tracking.run import PARENT
from dlperf.tracking.server import reach, tracking_errors
from dlperf.tracking.store import Store
from dlperf.tracking.unsent import send_unsent


def start(raw: Mapping[str, str]) -> int:
    """List, resume or send.

    Args:
        raw: Parameters as the user wrote them.

    Returns:
        The exit status: of what was resumed, the first that is not 0; else 0.

    Raises:
        BadInput: If there is no such run, or it cannot go on.
        NothingFound: If there is nothing to resume or to send.
        EnvironmentMissing: If the store cannot be reached; what waits on disk has been listed then.
    """
    parameters = parse(RunsParameters, raw).trials[0]
    states = state_folder(parameters.state_dir)
    uri = parameters.tracking_uri or database_file.named_store()
    waiting = {journal.header.run_id: journal for journal in on_disk(states)}
    try:
        database_file.check_there(uri)
        store = Store(reach(uri))
    except EnvironmentMissing:
        if waiting and not (parameters.resume or parameters.send):
            _show([], waiting)
        raise
    with tracking_errors(uri):
        if parameters.send:
            return _send(store, parameters.send, waiting)
        if parameters.resume:
            with contextlib.suppress(DlperfError):  # what cannot be sent is told where it matters, by the start
                _send(store, ALL, waiting)
            return _resume(store, parameters.resume, unfinished(store, states, waiting), parameters.state_dir)
        _show(unfinished(store, states, waiting), waiting)
    return 0


def _show(runs: list[Unfinished], waiting: Mapping[str, JournalOnDisk]) -> None:
    rows = table(runs, {run_id: journal for run_id, journal in waiting.items() if journal.waiting})
    if rows.empty:
        print("every run has finished, and nothing waits to be sent")
    else:
        show_table("runs", rows, wide=True)  # an identifier is there to be copied, and what became of a run to be read


def _send(store: Store, which: str, waiting: Mapping[str, JournalOnDisk]) -> int:
    """Send what waits, of one run and those below it, or of all; what cannot be sent stops no other."""
    unsent = [journal for journal in waiting.values() if journal.waiting]
    chosen = [journal for journal in unsent if which == ALL or which in _lineage(store, journal, waiting)]
    if not chosen and which == ALL:
        raise NothingFound("nothing waits to be sent")
    if not chosen:
        raise BadInput("send", which, "nothing of such a run waits to be sent: `dlperf runs` lists what does")
    here = without_logins(store.uri)
    complaints = []
    for journal in chosen:
        header = journal.header
        if header.uri != here:
            complaints.append(f"run {header.run_id} is for {header.uri}, not for {here}: --tracking_uri says where to")
            continue
        try:
            print(f"run {header.run_id}: {send_unsent(store.client, journal.folder)} entries sent", flush=True)
        except JournalHeld:
            complaints.append(f"run {header.run_id}: its program still runs, and sends it itself")
        except EnvironmentMissing as error:
            complaints.append(str(error))
    if complaints:
        raise EnvironmentMissing("; ".join(complaints))
    return 0


def _lineage(store: Store, journal: JournalOnDisk, waiting: Mapping[str, JournalOnDisk]) -> Iterator[str]:
    """Yield a journal's run and the runs above it, some of which the server alone knows."""
    run_id, parent = journal.header.run_id, journal.header.parent
    while run_id:
        yield run_id
        run_id = parent
        if run_id in waiting:
            parent = waiting[run_id].header.parent
        elif run_id:
            parent = store.client.get_run(run_id).data.tags.get(PARENT, "")


def _resume(store: Store, which: str, runs: list[Unfinished], state_dir: str) -> int:
    """Resume one run, or all that were killed here and are below no other."""
    there = {run.run_id: run for run in runs}
    if which == ALL:
        chosen = [run for run in runs if run.can_go_on and run.parent not in there]
        if not chosen:
            raise NothingFound("no run that was killed on this machine can go on")
    elif which not in there:
        raise BadInput("resume", which, "there is no such run that has not finished: `dlperf runs` lists those")
    elif there[which].state == "runs":  # what became of one on another host is for the user to know
        raise BadInput("resume", which, "is still being run by a process; end that first")
    else:
        chosen = [there[which]]
    own = {"MLFLOW_TRACKING_URI": store.uri, **({"DLPERF_STATE_DIR": state_dir} if state_dir else {})}
    statuses = [_start(run, own) for run in chosen]
    return next(filter(None, statuses), 0)


def _start(run: Unfinished, own: Mapping[str, str]) -> int:
    """Start a run's entry point again in a process of its own, which ends with this one."""
    print(f"run {run.run_id}: {run.name}", flush=True)
    command = [sys.executable, "-m", "dlperf", run.problem]
    process = subprocess.Popen(command, env={**os.environ, **own, "MLFLOW_RUN_ID": run.run_id})
    try:
        return process.wait()
    except Ended as ended:
        process.send_signal(ended.signal_number)
        process.wait()
        raise
