"""Where stored trials are read from: a tracking server, through MLflow's client."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from mlflow import MlflowClient, MlflowException
from mlflow.utils.rest_utils import http_request

from dlperf.errors import BadInput, one_line

_RUNS_AT_ONCE = 100  # the most that MLflow's bulk history takes
_POINTS_AT_ONCE = 25_000  # the most that it gives


class RunSource(Protocol):
    """What has runs of trials."""

    def trials(self, problem: str, filter_string: str = "") -> Iterator[Any]:
        """Yield the runs of a problem's trials, newest first, as `mlflow.entities.Run`.

        Args:
            problem: Its name.
            filter_string: Further conditions in MLflow's language.

        Raises:
            BadInput: If MLflow cannot read `filter_string`.
        """

    def curves(self, runs: Sequence[str], name: str) -> dict[str, dict[int, float]]:
        """Return the values of a metric of epochs by step, in the order of steps, by run."""


class StoreRuns:
    """The runs of a tracking server, over all experiments."""

    def __init__(self, client: MlflowClient) -> None:
        """Take the server's client."""
        self._client = client

    def trials(self, problem: str, filter_string: str = "") -> Iterator[Any]:
        """Yield the runs of a problem's trials, newest first.

        Raises:
            BadInput: If MLflow cannot read `filter_string`.
        """
        wanted = [f"tags.`dlperf.problem` = '{problem}'", "tags.`dlperf.role` = 'trial'", filter_string]
        return runs(self._client, " and ".join(filter(None, wanted)), filter_string)

    def curves(self, runs: Sequence[str], name: str) -> dict[str, dict[int, float]]:
        """Return the values of a metric of epochs by step, in the order of steps, by run."""
        read: dict[str, dict[int, float]] = {}
        for begin in range(0, len(runs), _RUNS_AT_ONCE):
            read |= _histories(self._client, runs[begin : begin + _RUNS_AT_ONCE], name)
        return read


def runs(client: MlflowClient, conditions: str, filter_string: str = "", at_once: int = 1000) -> Iterator[Any]:
    """Yield the runs of all experiments, newest first; `filter_string` is the user's part of the conditions."""
    experiments = [experiment.experiment_id for experiment in pages(client.search_experiments)]
    try:
        yield from pages(client.search_runs, experiments, conditions, max_results=at_once)
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


def _histories(client: MlflowClient, runs: Sequence[str], name: str) -> dict[str, dict[int, float]]:
    """Return the values of a metric of at most 100 runs by step, in the order of steps, by run."""
    points = _bulk(client, runs, name)
    if len(points) >= _POINTS_AT_ONCE and len(runs) > 1:  # some may have been cut off
        half = len(runs) // 2
        return _histories(client, runs[:half], name) | _histories(client, runs[half:], name)
    if len(points) >= _POINTS_AT_ONCE or not runs:
        points = [(run, m.step, m.timestamp, m.value) for run in runs for m in client.get_metric_history(run, name)]
    by_run: dict[str, dict[int, float]] = {}
    for run, step, _, value in sorted(points):
        by_run.setdefault(run, {})[step] = value
    return by_run


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
