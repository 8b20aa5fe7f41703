"""Reading stored trials back through MLflow: runs by tags, typed parameters, and the epochs' curves in bulk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from mlflow import MlflowClient
from mlflow.entities import ViewType

from dlperf.errors import BadInput
from dlperf.metric_names import CURVES, SYSTEM_METRICS
from dlperf.parameters import P, from_texts, unquoted
from dlperf.problem import Problem
from dlperf.tracking.run import Run
from dlperf.tracking.run_source import RunSource, StoreRuns, pages, runs
from dlperf.trial import StoredTrial

ORIGINAL = "dlperf.archived_run"
"""The tag of a run that was made of an archived trial: the run that this trial was."""
_INFINITE = 1.7e308  # what a store that cannot hold infinity holds instead


@dataclass
class SearchResult(Generic[P]):
    """The result of a search for the trials of one problem.

    Attributes:
        trials: Finished trials, of several of one trial key the newest unless all were asked for.
        unfinished: Names of the runs that have not finished, by status.
        skipped: Why runs could not be read as trials, by name and run.
        repeated: The runs of finished trials that were left out for a newer one of the same trial key.
    """

    trials: list[StoredTrial[P]]
    unfinished: dict[str, list[str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)


def find_trials(
    source: RunSource, problem: Problem[P], *, filter_string: str = "", repeats: bool = False
) -> SearchResult[P]:
    """Search a problem's trials.

    Args:
        source: What has them.
        problem: Whose trials.
        filter_string: Further conditions in MLflow's language.
        repeats: Keep all runs of a trial key, not the newest alone.

    Raises:
        BadInput: If MLflow cannot read `filter_string`.
    """
    result: SearchResult[P] = SearchResult([])
    curves = Curves(source)
    keys: set[str] = set()
    for run in source.trials(problem.name, filter_string):
        name = run.info.run_name or run.info.run_id
        if run.info.status != "FINISHED":
            result.unfinished.setdefault(run.info.status, []).append(name)
            continue
        try:
            trial = _trial(problem, run, curves)
        except (BadInput, _Unreadable) as error:
            result.skipped[f"{name} ({run.info.run_id})"] = str(error)
            continue
        key = trial.tags.get("dlperf.trial_key", trial.run_id)
        if key in keys and not repeats:
            result.repeated.add(trial.tags.get(ORIGINAL, trial.run_id))
            continue
        keys.add(key)
        result.trials.append(trial)
        curves.runs.append(trial.run_id)
    return result


def together(results: Sequence[SearchResult[P]]) -> SearchResult[P]:
    """Return the results of several sources as one; what is in more than one of them counts where it comes first."""
    all_of_them: SearchResult[P] = SearchResult([])
    there: set[str] = set()
    for result in results:
        there |= {trial.tags[ORIGINAL] for trial in result.trials if ORIGINAL in trial.tags}
        all_of_them.trials += [trial for trial in result.trials if trial.run_id not in there]
        there |= {trial.run_id for trial in result.trials} | result.repeated
        for status, names in result.unfinished.items():
            all_of_them.unfinished.setdefault(status, []).extend(names)
        all_of_them.skipped |= result.skipped
        all_of_them.repeated |= result.repeated
    return all_of_them


def skip_odd_curves(result: SearchResult[P], problem: Problem[P]) -> None:
    """Skip the trials whose curves cannot be drawn: one that is missing, lacks epochs, or has no finite number."""
    if not problem.curves:
        return
    readable = []
    for trial in result.trials:
        lengths = {name: len(trial.history[name]) if name in trial.history else 0 for name in problem.curves}
        odd = [name for name in problem.curves if not all(map(math.isfinite, trial.history.get(name, ())))]
        history = trial.history
        gaps = [name for name in problem.curves if isinstance(history, _History) and not history.is_whole(name)]
        if len(set(lengths.values())) == 1 and 0 not in lengths.values() and not odd and not gaps:
            readable.append(trial)
            continue
        name = f"{trial.tags.get('mlflow.runName', trial.run_id)} ({trial.run_id})"
        if odd:
            result.skipped[name] = f"its curve of {odd[0]} has a value that is no finite number"
        elif gaps:
            result.skipped[name] = f"its curve of {gaps[0]} is not one of the epochs 1, 2, ..."
        else:
            epochs = ", ".join(f"{name} {length}" for name, length in lengths.items())
            result.skipped[name] = f"its curves have different numbers of epochs: {epochs}"
    result.trials = readable


def has_trials(client: MlflowClient, problems: Iterable[str]) -> bool:
    """Whether any run of the problems is there; without reading more than one."""
    wanted = (f"tags.`dlperf.problem` = '{problem}'" for problem in problems)
    return any(next(runs(client, condition, at_once=1), None) is not None for condition in wanted)


def problems_there(client: MlflowClient) -> dict[str, int]:
    """Return how many runs of dlperf's are there, by problem."""
    counts: dict[str, int] = {}
    for run in runs(client, "tags.`dlperf.problem` LIKE '%'"):
        name = run.data.tags["dlperf.problem"]
        counts[name] = counts.get(name, 0) + 1
    return counts


def deleted_experiments(client: MlflowClient) -> list[str]:
    """Return the names of the experiments that were deleted, whose runs no search finds."""
    return sorted(deleted.name for deleted in pages(client.search_experiments, view_type=ViewType.DELETED_ONLY))


def said_trial(problem: Problem[P], run: Run) -> StoredTrial[P]:
    """Read a trial by what this process knows of its run, which the server need not have taken."""
    said = run.said
    return _stored(problem, run.id, said.params, said.metrics, said.tags, run.started, said.curves)


def read_trials(client: MlflowClient, problem: Problem[P], run_ids: Sequence[str]) -> list[StoredTrial[P]]:
    """Read trials by their runs, which need not have ended."""
    curves = Curves(StoreRuns(client), run_ids)
    return [_typed(problem, client.get_run(run_id), curves) for run_id in run_ids]


class _Unreadable(Exception):
    """A run is no trial of the problem; the message says why."""


class Curves:
    """Curves of epochs of some runs: a metric is read when it is first asked for, for all the runs at once.

    Attributes:
        runs: The runs; more may be added until the first curve is read.
    """

    def __init__(self, source: RunSource, runs: Sequence[str] = ()) -> None:
        """Take what has the runs, and them; nothing is read yet."""
        self._source = source
        self._read: dict[str, dict[str, dict[int, float]]] = {}
        self.runs = list(runs)

    def of(self, run_id: str, name: str) -> list[float]:
        """Return the values of a metric of a run, epoch by epoch."""
        return list(self._by_step(run_id, name).values())

    def steps(self, run_id: str, name: str) -> list[int]:
        """Return the steps of these values."""
        return list(self._by_step(run_id, name))

    def _by_step(self, run_id: str, name: str) -> Mapping[int, float]:
        if name not in self._read:
            self._read[name] = self._source.curves(self.runs, name)
        return self._read[name].get(run_id, {})


class _History(Mapping[str, Sequence[float]]):
    """The curves of one run, by name of the metric."""

    def __init__(self, curves: Curves, run_id: str, names: Sequence[str]) -> None:
        self._curves, self._run_id, self._names = curves, run_id, names

    def __getitem__(self, name: str) -> Sequence[float]:
        if name not in self._names:
            raise KeyError(name)
        return self._curves.of(self._run_id, name)

    def is_whole(self, name: str) -> bool:
        """Whether a curve has a value for each of the epochs 1, 2, ..., and no other."""
        steps = self._curves.steps(self._run_id, name) if name in self._names else []
        return steps == list(range(1, len(steps) + 1))

    def __contains__(self, name: object) -> bool:
        return name in self._names  # which reads nothing

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _trial(problem: Problem[P], run: Any, curves: Curves) -> StoredTrial[P]:
    """Read a run as a trial of the problem.

    Raises:
        BadInput: If it has a parameter that is none.
        _Unreadable: If it lacks what tells trials apart, or has no result.
    """
    lacking = [name for name in problem.varying if name not in run.data.params]
    if lacking:
        raise _Unreadable(f"it has no parameter {', '.join(lacking)}")
    trial = _typed(problem, run, curves)
    missing = [name for name in problem.required if name not in trial.metrics]
    if missing:
        raise _Unreadable(f"it has no metric {', '.join(missing)}")
    if "epochs_run" in problem.required and trial.metrics["epochs_run"] < 1:
        raise _Unreadable("its metric epochs_run is below 1")
    for name, value in trial.metrics.items():
        if not math.isfinite(value) or abs(value) > _INFINITE:
            raise _Unreadable(f"its metric {name}={value} is no finite number")
    return trial


def _typed(problem: Problem[P], run: Any, curves: Curves) -> StoredTrial[P]:
    names = [name for name in CURVES if name in run.data.metrics]
    history = _History(curves, run.info.run_id, names)
    info, data = run.info, run.data
    return _stored(problem, info.run_id, data.params, data.metrics, data.tags, info.start_time, history)


def _stored(
    problem: Problem[P],
    run_id: str,
    logged_params: Mapping[str, str],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    started: int,
    history: Mapping[str, Sequence[float]],
) -> StoredTrial[P]:
    params = unquoted(logged_params)
    return StoredTrial(
        run_id=run_id,
        parameters=from_texts(problem.parameters, params),
        logged_params=params,
        # What MLflow logs of the host beside it is no result, and may be no number.
        metrics={name: value for name, value in metrics.items() if not name.startswith(SYSTEM_METRICS)},
        history=history,
        tags=tags,
        started=started,
    )
