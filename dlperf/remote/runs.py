"""The run as the caller's tracking server has it: made before the container starts, and never left RUNNING after it."""

from __future__ import annotations

from urllib.parse import urlsplit

from dlperf.errors import BadInput, EnvironmentMissing
from dlperf.tracking.run import Run
from dlperf.tracking.run_source import pages
from dlperf.tracking.store import Store

_OPEN = ("RUNNING", "SCHEDULED")


def check_artifacts(store: Store) -> None:
    """Verify that the tracking server takes artifacts itself, so that the host needs no way to where they lie.

    Raises:
        EnvironmentMissing: If a client would have to write them into a folder.
    """
    location = str(store.client.get_experiment(store.experiment_id).artifact_location)
    if urlsplit(location).scheme in ("", "file"):
        raise EnvironmentMissing(
            f"the experiment {store.experiment_id} of {store.uri} keeps its artifacts in {location}, a folder that the "
            "host does not have: start the server with --artifacts-destination, and use an experiment made since"
        )


def make(store: Store, name: str) -> Run:
    """Return the run that the container is to run: the one MLFLOW_RUN_ID names, else a new one."""
    return store.adopted() or store.create(name)


def find(store: Store, parameter: str, run_id: str) -> Run:
    """Return a run of the tracking server.

    Raises:
        BadInput: If there is none with this id.
    """
    try:
        run = store.client.get_run(run_id)
    except Exception as error:
        if getattr(error, "error_code", "") != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise BadInput(parameter, run_id, f"{store.uri} has no such run") from error
    store.work_in(run.info.experiment_id, f"{parameter}={run_id}")
    return Run(store.client, store.uri, run)


def is_open(store: Store, run_id: str) -> bool:
    """Whether a run stands as one that goes on."""
    return store.client.get_run(run_id).info.status in _OPEN


def settle(store: Store, run_id: str, status: str, reason: str) -> bool:
    """End a run, and what runs below it, that its container could not end any more (killed, out of memory).

    Args:
        store: The tracking server.
        run_id: The run.
        status: FAILED or KILLED, for those that stand as RUNNING.
        reason: Why, for the run's tag.

    Returns:
        Whether the run itself was still to be ended.
    """
    run = store.client.get_run(run_id)
    for open_status in _OPEN:
        below = f"tags.`mlflow.parentRunId` = '{run_id}' and attributes.status = '{open_status}'"
        for child in list(pages(store.client.search_runs, [run.info.experiment_id], below)):
            settle(store, child.info.run_id, status, reason)
    if run.info.status not in _OPEN:
        return False
    Run(store.client, store.uri, run).end(status, reason)
    return True
