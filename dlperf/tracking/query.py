"""Reading stored trials back through MLflow: runs by tags, typed parameters, and the epochs' curves in bulk."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from mlflow import MlflowClient, MlflowException
from mlflow.entities import ViewType
from mlflow.utils.rest_utils import http_request

from dlperf.errors import BadInput, one_line
from dlperf.metric_names import EPOCH_METRICS, SYSTEM_METRICS
from dlperf.parameters import P, from_texts, unquoted
from dlperf.problem import Problem
from dlperf.trial import StoredTrial

_RUNS_AT_ONCE = 100  # the most that MLflow's bulk history takes
_POINTS_AT_ONCE = 25_000  # the most that it gives
_INFINITE = 1.7e308  # what a store that cannot hold infinity holds instead


@dataclass
class SearchResult(Generic[P]):
    """The result of a search for the trials of one problem.

    Attributes:
        trials: Finished trials, of several of one trial key the newest unless all were asked for.
        unfinished: Names of the runs that have not finished, by status.
        skipped: Why runs could not be read as trials, by name and run.
        repeated: Finished trials that were left out for a newer one of the same trial key.
    """

    trials: list[StoredTrial[P]]
    unfinished: dict[str, list[str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    repeated: int = 0


def find_trials(
    client: MlflowClient, problem: Problem[P], *, filter_string: str = "", repeats: bool = False
) -> SearchResult[P]:
    """Search a problem's trials over all experiments.

    Args:
        client: Of the tracking server.
        problem: Whose trials.
        filter_string: Further conditions in MLflow's language.
        repeats: Keep all runs of a trial key, not the newest alone.

    Raises:
        BadInput: If MLflow cannot read `filter_string`.
    """
    wanted = [f"tags.`dlperf.problem` = '{problem.name}'", "tags.`dlperf.role` = 'trial'", filter_string]
    result: SearchResult[P] = SearchResult([])
    curves = Curves(client)
    keys: set[str] = set()
    for run in _search(client, " and ".join(filter(None, wanted)), filter_string):
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
            result.repeated += 1
            continue
        keys.add(key)
        result.trials.append(trial)
        curves.runs.append(trial.run_id)
    return result


def skip_odd_curves(result: SearchResult[P], problem: Problem[P]) -> None:
    """Skip the trials whose curves cannot be drawn: one that is missing, has other epochs, or no finite number."""
    if not problem.curves:
        return
    readable = []
    for trial in result.trials:
        lengths = {name: len(trial.history[name]) if name in trial.history else 0 for name in problem.curves}
        odd = [name for name in problem.curves if not all(map(math.isfinite, trial.history.get(name, ())))]
        if len(set(lengths.values())) == 1 and 0 not in lengths.values() and not odd:
            readable.append(trial)
            continue
        name = f"{trial.tags.get('mlflow.runName', trial.run_id)} ({trial.run_id})"
        if odd:
            result.skipped[name] = f"its curve of {odd[0]} has a value that is no finite number"
        else:
            epochs = ", ".join(f"{name} {length}" for name, length in lengths.items())
            result.skipped[name] = f"its curves have different numbers of epochs: {epochs}"
    result.trials = readable


def problems_there(client: MlflowClient) -> dict[str, int]:
    """Return how many runs of dlperf's are there, by problem."""
    counts: dict[str, int] = {}
    for run in _search(client, "tags.`dlperf.problem` LIKE '%'"):
        name = run.data.tags["dlperf.problem"]
        counts[name] = counts.get(name, 0) + 1
    return counts


def deleted_experiments(client: MlflowClient) -> list[str]:
    """Return the names of the experiments that were deleted, whose runs no search finds."""
    return sorted(deleted.name for deleted in pages(client.search_experiments, view_type=ViewType.DELETED_ONLY))


def read_trials(client: MlflowClient, problem: Problem[P], run_ids: Sequence[str]) -> list[StoredTrial[P]]:
    """Read trials by their runs, which need not have ended."""
    curves = Curves(client, run_ids)
    return [_typed(problem, client.get_run(run_id), curves) for run_id in run_ids]


class _Unreadable(Exception):
    """A run is no trial of the problem; the message says why."""


class Curves:
    """Curves of epochs of some runs: a metric is read when it is first asked for, for all the runs at once.

    Attributes:
        runs: The runs; more may be added until the first curve is read.
    """

    def __init__(self, client: MlflowClient, runs: Sequence[str] = ()) -> None:
        """Take the runs; nothing is read yet."""
        self._client = client
        self._read: dict[str, dict[str, list[float]]] = {}
        self.runs = list(runs)

    def of(self, run_id: str, name: str) -> list[float]:
        """Return the values of a metric of a run by epoch."""
        if name not in self._read:
            self._read[name] = {}
            for begin in range(0, len(self.runs), _RUNS_AT_ONCE):
                self._read[name] |= _histories(self._client, self.runs[begin : begin + _RUNS_AT_ONCE], name)
        return self._read[name].get(run_id, [])


class _History(Mapping[str, Sequence[float]]):
    """The curves of one run, by name of the metric."""

    def __init__(self, curves: Curves, run_id: str, names: Sequence[str]) -> None:
        self._curves, self._run_id, self._names = curves, run_id, names

    def __getitem__(self, name: str) -> Sequence[float]:
        if name not in self._names:
            raise KeyError(name)
        return self._curves.of(self._run_id, name)

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
    params = unquoted(run.data.params)
    names = [name for name in EPOCH_METRICS if name in run.data.metrics]
    return StoredTrial(
        run_id=run.info.run_id,
        parameters=from_texts(problem.parameters, params),
        logged_params=params,
        # What MLflow logs of the host beside it is no result, and may be no number.
        metrics={name: value for name, value in run.data.metrics.items() if not name.startswith(SYSTEM_METRICS)},
        history=_History(curves, run.info.run_id, names),
        tags=run.data.tags,
        started=run.info.start_time,
    )


def _search(client: MlflowClient, conditions: str, filter_string: str = "") -> Iterator[Any]:
    """Yield the runs of all experiments, newest first; `filter_string` is the user's part of the conditions."""
    experiments = [experiment.experiment_id for experiment in pages(client.search_experiments)]
    try:
        yield from pages(client.search_runs, experiments, conditions, max_results=1000)
    except MlflowException as error:
        if filter_string and error.error_code == "INVALID_PARAMETER_VALUE":
            raise BadInput("filter", filter_string, f"MLflow cannot use it: {one_line(error)}") from error
        raise


def pages(ask: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
    """Yield what a search of MLflow's client gives, page after page.

    Args:
        ask: A method of the client that takes `page_token`.
        *arguments: What it takes besides.
        **options: Likewise, by name.
    """
    token = None
    while True:
        page = ask(*arguments, **options, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _histories(client: MlflowClient, runs: Sequence[str], name: str) -> dict[str, list[float]]:
    """Return the values of a metric of at most 100 runs, by run and in the order of steps."""
    points = _bulk(client, runs, name)
    if len(points) >= _POINTS_AT_ONCE and len(runs) > 1:  # some may have been cut off
        half = len(runs) // 2
        return _histories(client, runs[:half], name) | _histories(client, runs[half:], name)
    if len(points) >= _POINTS_AT_ONCE or not runs:
        points = [(run, m.step, m.timestamp, m.value) for run in runs for m in client.get_metric_history(run, name)]
    by_run: dict[str, dict[int, float]] = {}
    for run, step, _, value in sorted(points):
        by_run.setdefault(run, {})[step] = value
    return {run: list(by_step.values()) for run, by_step in by_run.items()}


def _bulk(client: MlflowClient, runs: Sequence[str], name: str) -> list[tuple[str, int, int, float]]:
    """Return points of several runs in one request: run, step, timestamp, value.

    MLflow has bulk histories in its stores and its server, for the UI; its client does not offer them.
    """
    store = client._tracking_client.store
    if hasattr(store, "get_metric_history_bulk"):
        history = store.get_metric_history_bulk(list(runs), name, _POINTS_AT_ONCE)
        return [(m.run_id, m.step, m.timestamp, m.value) for m in history]
    with contextlib.suppress(MlflowException, KeyError, ValueError, AttributeError):
        answer = http_request(
            store.get_host_creds(),
            "/ajax-api/2.0/mlflow/metrics/get-history-bulk",
            "GET",
            params={"run_id": list(runs), "metric_key": name, "max_results": _POINTS_AT_ONCE},
        )
        if answer.status_code == 200:
            return [(m["run_id"], m["step"], m["timestamp"], m["value"]) for m in answer.json()["metrics"]]
    return [(run, m.step, m.timestamp, m.value) for run in runs for m in client.get_metric_history(run, name)]
