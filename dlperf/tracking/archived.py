"""Archives beside tracking servers: finished trials go from a store into one, and from one into a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient, MlflowException
from mlflow.entities import LifecycleStage, Metric, Param, Run, RunData, RunInfo, RunTag
from mlflow.utils.search_utils import SearchUtils

from dlperf.analysis.settings import ARCHIVE
from dlperf.archive.checks import fault
from dlperf.archive.folder import Archive
from dlperf.archive.parts import ArchivedTrial
from dlperf.entry_points import PROBLEMS
from dlperf.errors import BadInput, one_line
from dlperf.interruption import signals_deferred
from dlperf.metric_names import CURVES, SYSTEM_METRICS
from dlperf.tracking.owner import this_process
from dlperf.tracking.query import ORIGINAL
from dlperf.tracking.run import PARENT
from dlperf.tracking.run_source import StoreRuns

SWEEP = "dlperf.archived_sweep"
"""The tag of a run that was made of an archived trial: the sweep that this trial was of."""
_NAME = "mlflow.runName"
_COMMIT = "mlflow.source.git.commit"
_ENDED = "dlperf.ended"
# Tags of dlperf's that name a process or what a user typed, and with it hosts and folders.
_IMPORTED = {ORIGINAL, SWEEP}
_PRIVATE = {"dlperf.process", "dlperf.memory_kills", "dlperf.given", "dlperf.failure"}
_PRIVATE_PARAMS = {"data_dir", "state_dir", "hosts"}
_MOST_IN_A_BATCH = 900  # MLflow takes 1000 metrics at once


class ArchivedRuns:
    """The runs of an archive, as a tracking server has them: a `RunSource`."""

    def __init__(self, archive: Archive, *, labelled: bool) -> None:
        """Take the archive; a part is read when a problem of its is asked for.

        Args:
            archive: The archive.
            labelled: Give its trials the tag ARCHIVE, which keeps them apart from others'.
        """
        self._archive = archive
        self._label = {ARCHIVE: archive.name} if labelled else {}
        self._read: dict[str, ArchivedTrial] = {}

    def trials(self, problem: str, filter_string: str = "") -> Iterator[Any]:
        """Yield the runs of a problem's trials, newest first.

        Raises:
            BadInput: If MLflow cannot read `filter_string`.
            EnvironmentMissing: If a part of the archive is damaged.
        """
        found = {trial.run_id: trial for trial in self._archive.trials(problem)}
        self._read |= found
        runs = [_run(trial, self._label) for trial in found.values()]
        try:
            runs = SearchUtils.filter(runs, filter_string)
        except MlflowException as error:
            raise BadInput("filter", filter_string, f"MLflow cannot use it: {one_line(error)}") from error
        yield from sorted(runs, key=lambda run: (-run.info.start_time, run.info.run_id))

    def curves(self, runs: Sequence[str], name: str) -> dict[str, dict[int, float]]:
        """Return the values of a metric of epochs by step, in the order of steps, by run."""
        return {run: dict(self._read[run].curves[name]) for run in runs if name in self._read[run].curves}


@dataclass(frozen=True)
class Exported:
    """What came of an export.

    Attributes:
        written: How many trials were written.
        there: How many of those that match the archive had already.
        left_out: Why trials cannot be archived, by name and run.
    """

    written: int
    there: int
    left_out: Mapping[str, str]


def export(client: MlflowClient, archive: Archive, filter_string: str = "") -> Exported:
    """Write the finished trials of a store that are not in an archive yet into it, a part per sweep.

    A run that was imported is written as the trial that it was, with the sweep that this was of.

    Args:
        client: Of the tracking server.
        archive: Where to.
        filter_string: Further conditions on runs in MLflow's language.

    Raises:
        BadInput: If MLflow cannot read `filter_string`.
        EnvironmentMissing: If the archive is damaged.
    """
    there = archive.runs()
    source = StoreRuns(client)
    matching, written = 0, 0
    left_out: dict[str, str] = {}
    for problem in PROBLEMS:
        finished: dict[str, Any] = {}  # a trial once, if it was imported beside itself
        for run in source.trials(problem, filter_string):
            if run.info.status == "FINISHED":
                finished.setdefault(run.data.tags.get(ORIGINAL, run.info.run_id), run)
        matching += len(finished)
        sweeps: dict[str, list[Any]] = {}
        for name, run in finished.items():
            if not {run.info.run_id, name} & there:
                own = run.data.tags.get(PARENT, name)
                sweeps.setdefault(run.data.tags.get(SWEEP, own), []).append(run)
        for sweep, runs in reversed(sweeps.items()):  # oldest first
            trials = _archived(source, problem, sweep, runs)
            left_out |= {f"{trial.name} ({trial.run_id})": why for trial in trials if (why := fault(trial))}
            if sound := [trial for trial in trials if not fault(trial)]:
                written += archive.add(sound)
    return Exported(written, matching - written - len(left_out), left_out)


def restore(client: MlflowClient, experiment_id: str, trials: Sequence[ArchivedTrial]) -> int:
    """Make runs in a store of archived trials; what the store has of them already stays as it is.

    Args:
        client: Of the tracking server.
        experiment_id: Where runs are made.
        trials: What an archive has.

    Returns:
        How many runs were made.
    """
    source = StoreRuns(client)
    there = set()
    for problem in sorted({trial.problem for trial in trials}):
        for run in source.trials(problem):
            if run.info.status == "FINISHED":
                there |= {run.info.run_id, run.data.tags.get(ORIGINAL)}
    new = [trial for trial in trials if trial.run_id not in there]
    for trial in new:
        _make_run(client, experiment_id, trial)
    return len(new)


def _archived(source: StoreRuns, problem: str, sweep: str, runs: Sequence[Any]) -> list[ArchivedTrial]:
    names = [name for name in CURVES if any(name in run.data.metrics for run in runs)]
    ids = [run.info.run_id for run in runs]
    curves = {name: source.curves(ids, name) for name in names}
    return [
        ArchivedTrial(
            run_id=run.data.tags.get(ORIGINAL, run.info.run_id),
            name=run.info.run_name or run.info.run_id,
            problem=problem,
            sweep=sweep,
            started=run.info.start_time or 0,
            ended=run.info.end_time or 0,
            params={name: value for name, value in run.data.params.items() if name not in _PRIVATE_PARAMS},
            tags={name: value for name, value in run.data.tags.items() if _is_kept(name)},
            metrics={n: v for n, v in run.data.metrics.items() if not n.startswith(SYSTEM_METRICS)},
            curves={name: curves[name][run.info.run_id] for name in names if run.info.run_id in curves[name]},
        )
        for run in runs
    ]


def _is_kept(tag: str) -> bool:
    return tag in (_NAME, _COMMIT) or (tag.startswith("dlperf.") and tag not in _PRIVATE | _IMPORTED)


def _run(trial: ArchivedTrial, label: Mapping[str, str]) -> Run:
    info = RunInfo(
        run_id=trial.run_id,
        experiment_id="0",
        user_id="",
        status="FINISHED",
        start_time=trial.started,
        end_time=trial.ended,
        lifecycle_stage=LifecycleStage.ACTIVE,
        run_name=trial.name,
    )
    data = RunData(
        metrics=[Metric(name, value, trial.ended, 0) for name, value in trial.metrics.items()],
        params=[Param(name, value) for name, value in trial.params.items()],
        tags=[RunTag(name, value) for name, value in {**trial.tags, **label}.items()],
    )
    return Run(info, data)


def _make_run(client: MlflowClient, experiment_id: str, trial: ArchivedTrial) -> None:
    """Make a finished run of a trial; one that could not be finished is deleted."""
    # Until all is there it is a run of this process, which the next start ends if this one is killed.
    tags = {name: value for name, value in trial.tags.items() if name != _ENDED}
    tags |= {ORIGINAL: trial.run_id, SWEEP: trial.sweep, "dlperf.process": this_process()}
    made = client.create_run(experiment_id, trial.started, tags, trial.name).info.run_id
    try:
        points = [Metric(n, value, trial.ended, 0) for n, value in trial.metrics.items() if n not in trial.curves]
        points += [Metric(n, v, trial.ended, step) for n, curve in trial.curves.items() for step, v in curve.items()]
        client.log_batch(made, params=[Param(name, value) for name, value in trial.params.items()])
        for begin in range(0, len(points), _MOST_IN_A_BATCH):
            client.log_batch(made, metrics=points[begin : begin + _MOST_IN_A_BATCH])
        if _ENDED in trial.tags:
            client.set_tag(made, _ENDED, trial.tags[_ENDED])
        client.set_terminated(made, "FINISHED", trial.ended)
    except BaseException:
        with signals_deferred():
            client.set_terminated(made, "FAILED")
            client.delete_run(made)
        raise
