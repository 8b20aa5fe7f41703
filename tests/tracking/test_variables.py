"""MLflow's variables: what MLflow would stumble over is exit status 2 and one line, before a run is made."""

from __future__ import annotations

from pathlib import Path

import mlflow.environment_variables as settings
import pytest
from mlflow.exceptions import MlflowException
from mlflow.utils.rest_utils import _validate_backoff_factor, _validate_max_retries
from mlflow.utils.validation import _validate_run_id

from dlperf.cli import entry_point
from dlperf.errors import BadInput
from dlperf.tracking import variables

REFUSED = [
    ("MLFLOW_RUN_ID", "a b"),
    ("MLFLOW_RUN_ID", "../c"),
    ("MLFLOW_EXPERIMENT_ID", "abc"),
    ("MLFLOW_EXPERIMENT_ID", "-1"),
    ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "11"),
    ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "-1"),
    ("MLFLOW_HTTP_REQUEST_TIMEOUT", "0"),
    ("MLFLOW_HTTP_REQUEST_TIMEOUT", "1.5"),
    ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "121"),
    ("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "nan"),
    ("MLFLOW_TRACKING_INSECURE_TLS", "maybe"),
    ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "yes"),
    ("MLFLOW_TRACKING_URI", "foo://bar"),
    ("MLFLOW_TRACKING_URI", "http://"),
    ("MLFLOW_TRACKING_URI", "http://localhost:99999"),
    ("MLFLOW_TRACKING_URI", "https://[::1"),
]


@pytest.mark.parametrize(("name", "written"), REFUSED)
def test_a_variable_that_cannot_be_used_is_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, written: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, written)
    for problem in ("architectures", "compare"):
        assert entry_point(problem, []) == 2
        line = capsys.readouterr().err
        assert line.startswith(f"dlperf {problem}: {name}={written}: ")
        assert "must be " in line
        assert line.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "address",
    [
        *("", "http://host", "https://user:word@[::1]:5000/path", "sqlite:///mlflow.db", "postgresql+psycopg2://h/d"),
        *("mysql://u@h/d", "file:///folder", "/folder", "databricks", "databricks://profile"),
    ],
)
def test_an_address_that_mlflow_takes_is_left_to_it(address: str) -> None:
    variables.check_address("MLFLOW_TRACKING_URI", address)


@pytest.mark.parametrize("name", list(variables._ALLOWED))
def test_what_is_taken_mlflow_takes_too(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """And the least and the largest that it takes are taken."""
    taken = set()
    for written in ("0", "1", "2.5", ".5", "10", "11", "119", "120", "121", "true", "False", "a-1", "A_b", "", "x"):
        monkeypatch.setenv(name, written)
        try:
            variables.check()
        except BadInput:
            continue
        taken.add(written)
        if written and name == "MLFLOW_RUN_ID":
            _validate_run_id(written)
        elif written and name != "MLFLOW_EXPERIMENT_ID":
            read = getattr(settings, name).get()
            if name.endswith("MAX_RETRIES"):
                _validate_max_retries(read)
            if name.endswith("BACKOFF_FACTOR"):
                _validate_backoff_factor(read)
    most = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": ("10", "11"), "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": ("120", "121")}
    if name in most:
        assert (most[name][0] in taken, most[name][1] in taken) == (True, False)
        check = _validate_max_retries if name.endswith("RETRIES") else _validate_backoff_factor
        with pytest.raises(MlflowException):
            check(int(most[name][1]))
