"""The experiment that runs go to: the environment names it; there, not deleted, and able to keep artifacts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mlflow

from dlperf.errors import BadInput, EnvironmentMissing, one_line, without_logins
from dlperf.folders import local_folder
from dlperf.tracking.database_file import why_no_new_file

_DEFAULT_ID = "0"


def own_experiment(entry_point: str) -> str:
    """Return the name of the experiment of an entry point's runs, unless the user names one."""
    return f"dlperf/{'demo' if entry_point == 'main' else entry_point}"


def experiment_of_environment(client: Any, uri: str, otherwise: str = "") -> Any:
    """Return the experiment that MLFLOW_EXPERIMENT_ID or MLFLOW_EXPERIMENT_NAME names.

    A name that is new makes one.

    Args:
        client: MLflow's.
        uri: The tracking server, for messages.
        otherwise: The name of the experiment where the environment names none; MLflow's default one unless given.

    Raises:
        BadInput: If the name cannot be one.
        EnvironmentMissing: If there is none with this id, or it was deleted.
    """
    number, name = os.environ.get("MLFLOW_EXPERIMENT_ID", ""), os.environ.get("MLFLOW_EXPERIMENT_NAME", "")
    named = name or otherwise
    if number or not named:
        experiment = _by_id(client, uri, number or _DEFAULT_ID)
    else:
        experiment = client.get_experiment_by_name(named) or _made(client, named)
    named_by = f"MLFLOW_EXPERIMENT_ID={number}" if number else f"MLFLOW_EXPERIMENT_NAME={name}" if name else uri
    check_active(experiment, without_logins(named_by))
    return experiment


def check_active(experiment: Any, named_by: str) -> None:
    """Verify that an experiment was not deleted.

    Args:
        experiment: MLflow's.
        named_by: What leads to it, as the start of a message.

    Raises:
        EnvironmentMissing: If it was.
    """
    if experiment.lifecycle_stage != "active":
        raise EnvironmentMissing(
            f"{named_by}: the experiment {experiment.name} was deleted: bring it back with `mlflow experiments restore "
            f"--experiment-id {experiment.experiment_id}`, or name another one in MLFLOW_EXPERIMENT_NAME"
        )


def check_artifacts(location: str, name: str) -> None:
    """Verify that artifacts can be kept, where that is a folder of this machine.

    Args:
        location: Where artifacts go, as MLflow says it.
        name: Whose artifacts, in a message.

    Raises:
        EnvironmentMissing: If they cannot.
    """
    folder = local_folder(location)
    if folder and (complaint := why_no_new_file(folder)):
        raise EnvironmentMissing(
            f"{complaint}, and the artifacts of {name} go to {folder}: make it writable, or name another experiment in "
            "MLFLOW_EXPERIMENT_NAME: a new one keeps its artifacts in mlruns of the folder that you start in"
        )


@contextmanager
def artifact_failures(run_id: str) -> Iterator[None]:
    """Turn what keeps artifacts of a run from being stored in the block into one line.

    Raises:
        EnvironmentMissing: If they cannot be.
    """
    try:
        yield
    except OSError as error:
        raise EnvironmentMissing(
            f"the artifacts of run {run_id} cannot be stored ({one_line(error)}); nothing is lost, go on with "
            f"MLFLOW_RUN_ID={run_id} once they can"
        ) from error


def _by_id(client: Any, uri: str, number: str) -> Any:
    try:
        return client.get_experiment(number)
    except mlflow.MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise EnvironmentMissing(
            f"MLFLOW_EXPERIMENT_ID={number}: {without_logins(uri)} has no such experiment: `mlflow experiments search` "
            "lists those that are there; or name one, also a new one, in MLFLOW_EXPERIMENT_NAME"
        ) from error


def _made(client: Any, name: str) -> Any:
    if name != name.strip():  # MLflow would make a second one that looks like the first
        raise BadInput("MLFLOW_EXPERIMENT_NAME", f"'{name}'", "begins or ends with a blank, and no experiment does")
    try:
        return client.get_experiment(client.create_experiment(name))
    except mlflow.MlflowException as error:
        if error.error_code == "RESOURCE_ALREADY_EXISTS":  # another start has just made it
            return client.get_experiment_by_name(name)
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        raise BadInput("MLFLOW_EXPERIMENT_NAME", name, f"MLflow cannot use it: {one_line(error)}") from error
