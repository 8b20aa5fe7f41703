"""MLflow's environment variables: checked in plain Python, before MLflow is loaded or a server is asked."""

from __future__ import annotations

import os
import re
from importlib.metadata import entry_points
from urllib.parse import urlsplit

from dlperf.errors import BadInput

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
# Folders of runs and Databricks: what MLflow itself has to say of them.
_OTHERS = ("", "file", "databricks", "databricks-uc", "uc")
_TRUTH = ("true|false|1|0", "must be true, false, 1 or 0")
# As MLflow reads them, and no further than it goes along with.
_ALLOWED = {
    "MLFLOW_RUN_ID": (r"[a-z0-9][\w-]{0,255}", "must be the id of a run: letters, digits, - and _"),
    "MLFLOW_EXPERIMENT_ID": ("[0-9]+", "must be the number of an experiment"),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": ("[0-9]|10", "must be a whole number from 0 to 10"),
    "MLFLOW_HTTP_REQUEST_TIMEOUT": ("[1-9][0-9]{0,8}", "must be whole seconds, at least 1"),
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": ("[0-9]{1,2}|1[01][0-9]|120", "must be a whole number from 0 to 120"),
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": (r"[0-9]{1,9}(\.[0-9]*)?|\.[0-9]+", "must be seconds, at least 0"),
    "MLFLOW_TRACKING_INSECURE_TLS": _TRUTH,
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": _TRUTH,
}


def check() -> None:
    """Verify MLflow's variables that say where and how runs are logged; an empty one counts as not set.

    Raises:
        BadInput: If one cannot be used; whether a server or a run is there shows when it is asked.
    """
    check_address("MLFLOW_TRACKING_URI", os.environ.get("MLFLOW_TRACKING_URI", ""))
    for name, (pattern, allowed) in _ALLOWED.items():
        written = os.environ.get(name, "")
        if written and not re.fullmatch(pattern, written, re.IGNORECASE | re.ASCII):
            raise BadInput(name, written, allowed)


def check_address(named_by: str, address: str) -> None:
    """Verify that an address can be that of a tracking server or store.

    Raises:
        BadInput: If it has no scheme that MLflow or a plugin knows, or is http without a host or with an odd port.
    """
    allowed = f"must be http(s)://HOST[:PORT], or a database: {', '.join(f'{name}://' for name in _DATABASES)}"
    try:
        parts = urlsplit(address)
        port = parts.port if parts.scheme in ("http", "https") else None
    except ValueError as error:
        raise BadInput(named_by, address, f"{error}; {allowed}") from None
    scheme = parts.scheme.partition("+")[0]
    if scheme in ("http", "https"):
        if not parts.hostname or port == 0:
            raise BadInput(named_by, address, allowed)
    elif scheme not in (*_DATABASES, *_OTHERS) and scheme not in entry_points(group="mlflow.tracking_store").names:
        raise BadInput(named_by, address, allowed)
