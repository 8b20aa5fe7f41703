"""The start of the command `runs`: lists what has not finished, resumes it, or sends what waits for a server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from dlperf import terminal
from dlperf.errors import BadInput, Ended, EnvironmentMissing, NothingFound, without_logins
from dlperf.folders import state_folder
from dlperf.parameters import parse
from dlperf.runner.listing import Unfinished, table, unfinished
from dlperf.runner.runs_parameters import ALL, RunsParameters
from dlperf.tracking import database_file
from dlperf.tracking.journal import Kept, kept
from dlperf.tracking.kept import send_kept
from dlperf.tracking.server import reach, tracking_errors
from dlperf.tracking.store import Store


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
    waiting = {there.header.run_id: there for there in kept(states)}
    try:
        database_file.check_there(uri)
        store = Store(reach(uri))
    except EnvironmentMissing:
        if not (parameters.resume or parameters.send):
            _show([], waiting)
        raise
    with tracking_errors(uri):
        if parameters.send:
            return _send(store, parameters.send, waiting)
        if parameters.resume:
            return _resume(store, parameters.resume, unfinished(store, states), parameters.state_dir)
        _show(unfinished(store, states), waiting)
    return 0


def _show(runs: list[Unfinished], waiting: Mapping[str, Kept]) -> None:
    rows = table(runs, {run_id: there for run_id, there in waiting.items() if there.waiting})
    if rows.empty:
        print("every run has finished, and nothing waits to be sent")
    else:
        terminal.show_table("runs", rows)


def _send(store: Store, which: str, waiting: Mapping[str, Kept]) -> int:
    """Send what waits, of one run and those below it, or of all."""
    chosen = [there for run_id, there in waiting.items() if which in (ALL, run_id, there.header.parent)]
    if not chosen and which == ALL:
        raise NothingFound("nothing waits to be sent")
    if not chosen:
        raise BadInput("send", which, "nothing of such a run waits to be sent: `dlperf runs` lists what does")
    here = without_logins(store.uri)
    complaints = []
    for there in chosen:
        header = there.header
        if there.held:
            complaints.append(f"run {header.run_id}: its program still runs, and sends it itself")
        elif header.uri != here:
            complaints.append(f"run {header.run_id} is for {header.uri}, not for {here}: --tracking_uri says where to")
        elif (sent := send_kept(store.client, there.folder)) is not None:
            print(f"run {header.run_id}: {sent} entries sent", flush=True)
    if complaints:
        raise EnvironmentMissing("; ".join(complaints))
    return 0


def _resume(store: Store, which: str, runs: list[Unfinished], state_dir: str) -> int:
    """Resume one run, or all that were killed here and are below no other."""
    there = {run.run_id: run for run in runs}
    if which == ALL:
        chosen = [run for run in runs if run.can_go_on and run.parent not in there]
        if not chosen:
            raise NothingFound("no run that was killed on this machine can go on")
    elif which not in there:
        raise BadInput("resume", which, "there is no such run that has not finished: `dlperf runs` lists those")
    elif there[which].state.startswith("runs"):
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
