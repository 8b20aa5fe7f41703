"""What has not finished: runs of a store, states on disk to resume them with, and what waits to be sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlperf.errors import OutOfMemory
from dlperf.parameters import declared_defaults, describe, parse, same_value, sweep_texts
from dlperf.problem import Demo, Problem
from dlperf.tracking.journal import JournalOnDisk
from dlperf.tracking.owner import ended_for_memory, host_of, is_gone, is_here
from dlperf.tracking.run import PARENT
from dlperf.tracking.run_source import runs
from dlperf.tracking.store import Store
from dlperf.training import checkpoint

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Unfinished:
    """A run that has not finished, as its store has it.

    Attributes:
        run_id: The run.
        parent: The run above it; "" for none.
        name: Its name.
        problem: The entry point.
        state: What became of it: "runs", "runs elsewhere", "killed", "killed elsewhere", "failed".
        for_memory: Whether it ran out of memory, where that is known.
        process: Its process, where it runs: a number here, a host elsewhere.
        epoch: The last epoch of the state on this machine's disk; None where there is no state.
        is_trial: Whether it is a trial, not a run above others.
    """

    run_id: str
    parent: str
    name: str
    problem: str
    state: str
    process: str
    epoch: int | None
    is_trial: bool
    for_memory: bool

    @property
    def can_go_on(self) -> bool:
        """Whether it was killed here: its process is gone."""
        return self.state == "killed"


def unfinished(store: Store, state_dir: Path, journals: Mapping[str, JournalOnDisk]) -> list[Unfinished]:
    """Return the trials, sweeps and demos of all experiments that have not finished, oldest first.

    Args:
        store: The store.
        state_dir: Where states lie.
        journals: Those on this machine's disk, by run.
    """
    conditions = "tags.`dlperf.problem` LIKE '%' and attributes.status != 'FINISHED'"
    found = [run for run in runs(store.client, conditions) if run.data.tags.get("dlperf.role") != "comparison"]
    return [_read(run, state_dir, journals.get(run.info.run_id)) for run in reversed(found)]


def killed_twin(store: Store, problem: Problem[Any] | Demo, raw: Mapping[str, str]) -> str:
    """Return the run that was asked for what `raw` asks for and was killed here; "" for none.

    Nor does one count that another of the same has finished since, or that is below another, with which it goes on.

    Args:
        store: The store.
        problem: What is started.
        raw: Parameters as the user wrote them.

    Raises:
        BadInput: If `raw` cannot be used.
    """
    arguments = parse(problem.parameters, raw)
    asked = _asked(problem, arguments.explicit, sweep_texts(arguments.trials))

    def newest(conditions: str) -> Any:
        of_problem = f"tags.`dlperf.problem` = '{problem.name}' and {conditions}"
        for run in runs(store.client, of_problem):
            given = json.loads(run.data.tags.get("dlperf.given", "null"))
            if given is not None and PARENT not in run.data.tags and _asked(problem, given, run.data.params) == asked:
                return run
        return None

    killed = newest("attributes.status != 'FINISHED'")
    if killed is None or _state(killed, None)[0] != "killed":
        return ""
    done_since = newest(f"attributes.status = 'FINISHED' and attributes.start_time > {killed.info.start_time}")
    return "" if done_since else str(killed.info.run_id)


def _asked(problem: Problem[Any] | Demo, given: Mapping[str, str], logged: Mapping[str, str]) -> dict[str, str]:
    """Return what tells one start from another, of the parameters given and of those that follow from the machine."""
    defaults, asked = declared_defaults(problem.parameters), dict(given)
    for each in describe(problem.parameters):
        name = each.name
        if each.operational:
            asked.pop(name, None)
        elif each.derived_from == "the machine":
            asked |= {name: logged[name]} if name in logged else {}
        elif same_value(problem.parameters, name, given.get(name, ""), defaults.get(name, "")):
            asked.pop(name, None)  # `mlflow run` passes every default
    return asked


def table(runs_there: list[Unfinished], waiting: Mapping[str, JournalOnDisk]) -> pd.DataFrame:
    """Lay them out with what waits to be sent; a run that has finished and waits has a row too.

    Columns: run, name, what became of it, epoch (of the state; nullable integer), to_send (entries).
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    listed = {run.run_id for run in runs_there}
    for run in runs_there:
        journal = waiting.get(run.run_id)
        ended = journal.ended if journal and not journal.held else ""
        state = f"trained, not sent ({ended})" if ended else _in_words(run)
        name = f"  {run.name}" if run.parent in listed else run.name
        to_send = journal.waiting if journal else 0
        rows.append({"run": run.run_id, "name": name, "state": state, "epoch": run.epoch, "to_send": to_send})
    for run_id, journal in waiting.items():
        if run_id not in listed:
            state = f"trained, not sent ({journal.ended})" if journal.ended else "not sent"
            to_send = journal.waiting
            rows.append({"run": run_id, "name": journal.header.name, "state": state, "epoch": None, "to_send": to_send})
    return pd.DataFrame(rows).astype({"epoch": "Int64"}) if rows else pd.DataFrame()


def _in_words(run: Unfinished) -> str:
    if run.state == "runs":
        return f"runs, process {run.process}"
    if run.state == "runs elsewhere":
        return f"runs on {run.process}"
    if run.state == "killed":
        killed = "killed (out of memory)" if run.for_memory else "killed"
        return f"{killed}, can go on from the start" if run.is_trial and not run.epoch else f"{killed}, can go on"
    return f"{run.state} (out of memory)" if run.for_memory else run.state


def _read(run: Any, state_dir: Path, journal: JournalOnDisk | None) -> Unfinished:
    tags = run.data.tags
    given = json.loads(tags.get("dlperf.given", "{}")).get("state_dir", "")
    state, process = _state(run, journal)
    return Unfinished(
        run_id=run.info.run_id,
        parent=tags.get(PARENT, ""),
        name=run.info.run_name or run.info.run_id,
        problem=tags["dlperf.problem"],
        state=state,
        process=process,
        epoch=_epoch((Path(given) if given else state_dir) / run.info.run_id / "state.npz"),
        is_trial=tags.get("dlperf.role") == "trial",
        for_memory=_is_for_memory(tags),
    )


def _state(run: Any, journal: JournalOnDisk | None) -> tuple[str, str]:
    """Return what became of a run that has not finished, and its process."""
    tags = run.data.tags
    owner, ended = tags.get("dlperf.process", ""), tags.get("dlperf.ended", "")
    if not ended and run.info.status in ("RUNNING", "SCHEDULED"):
        if not is_here(owner):
            # Killed where its journal lies here, as of a container that had its state folder on the same volume.
            return ("killed elsewhere", "") if journal and not journal.held else ("runs elsewhere", host_of(owner))
        return ("killed", "") if is_gone(owner) else ("runs", owner.split()[1])
    # `mlflow run` says FAILED of what it has seen end, whatever ended it: a kill left no word of ours.
    if ended == "killed" or (not ended and owner):
        return "killed" if is_here(owner) else "killed elsewhere", ""
    return "failed" if run.info.status == "FAILED" else "killed", ""


def _is_for_memory(tags: Mapping[str, str]) -> bool:
    if "dlperf.ended" in tags:
        return tags.get("dlperf.failure") == OutOfMemory.FAILURE
    # `mlflow run` says FAILED of a run whose process was killed, and that is all.
    return is_gone(tags.get("dlperf.process", "")) and ended_for_memory(tags)


def _epoch(state_file: Path) -> int | None:
    record = checkpoint.record(state_file)
    if record is None:
        return None
    return len(record["rounds"] if "rounds" in record else record["training"]["history"])
