"""The tracking server: whether it answers, and the one line that says that it does not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

# A dead server must be noticed in seconds, not in minutes; whoever wants to wait longer sets these.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
# Two lines for every run that ends; `terminal.where` says it once for a start.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

import mlflow

from dlperf.errors import EnvironmentMissing, one_line
from dlperf.tracking import database_file, schema

_UNTIL_IT_ANSWERED = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "8"}
_SECONDS_TO_SEARCH = "120"  # one that is there may take its time over thousands of runs


def reach(uri: str) -> str:
    """Return the tracking server that `uri` names, or MLflow's settings where it is empty, once it has answered.

    A database is not asked.

    Raises:
        EnvironmentMissing: If it does not, within half a minute.
    """
    uri = uri or mlflow.get_tracking_uri()
    database_file.check_there(uri)
    if schema.is_database(uri):  # which MLflow would upgrade as soon as it is asked anything
        return uri
    kept = {name: os.environ[name] for name in _UNTIL_IT_ANSWERED}
    os.environ.update(_UNTIL_IT_ANSWERED)
    try:
        mlflow.MlflowClient(uri).search_experiments(max_results=1)
    except Exception as error:
        raise EnvironmentMissing(f"the tracking server {uri} cannot be used: {one_line(error)}") from error
    finally:
        os.environ.update(kept)
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = _SECONDS_TO_SEARCH
    return uri


@contextlib.contextmanager
def tracking_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow raises in the block into one line about the tracking server.

    Raises:
        EnvironmentMissing: If MLflow could not do what it was asked to.
    """
    try:
        yield
    except mlflow.MlflowException as error:
        raise EnvironmentMissing(f"the tracking server {uri} failed: {one_line(error)}") from error
