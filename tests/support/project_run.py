"""`mlflow run` in the tests' own process: MLflow makes the run and the command line, and a warm start is its program.

What a user types is started as such too, by test_lifecycle.py, test_entry_points.py and containers/.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from typing import Any
from unittest import mock

import mlflow
from mlflow.exceptions import ExecutionException
from mlflow.projects.backend import local
from mlflow.projects.submitted_run import LocalSubmittedRun

from tests.support.desk import ROOT, Desk


def project_run(
    desk: Desk, entry_point: str, parameters: Mapping[str, str], run_id: str | None = None, **environment: str
) -> tuple[int, str]:
    """Run an entry point of MLproject with the parameters of `-P`.

    Returns:
        The exit status of `mlflow run`, and what the program wrote.
    """
    written: list[str] = []

    def start(command: str, work_dir: str, experiment_id: str, run_id: str) -> Any:
        python, *arguments = shlex.split(command)
        assert (python, work_dir) == ("python", str(ROOT))
        named = local.get_run_env_vars(run_id, experiment_id)
        process = desk.popen([sys.executable, *arguments], **{**environment, **named})
        written.append(process.communicate(timeout=300)[0])
        return LocalSubmittedRun(run_id, process)

    mlflow.set_tracking_uri(environment.get("MLFLOW_TRACKING_URI", desk.uri))
    try:
        with mock.patch.object(local, "_run_entry_point", start):
            mlflow.projects.run(str(ROOT), entry_point, parameters=dict(parameters), env_manager="local", run_id=run_id)
    except ExecutionException:
        return 1, written[0]
    return 0, written[0]
