"""The container of one run on the host: started with its limits, looked up, stopped, removed."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from dlperf.data import user_data
from dlperf.errors import BadInput, EnvironmentMissing, one_line
from dlperf.remote.docker_engine import device_request
from dlperf.remote.own_files import DATA
from dlperf.remote.parameters import RemoteParameters

_RUN, _PORT = "dlperf.run_id", "dlperf.tunnel_port"
_BEING_REMOVED = (404, 409)
_STOP_SECONDS = 60  # a trial ends between two calls of its compiled epoch, and then reports to its tracking server


def start(
    client: Any,
    parameters: RemoteParameters,
    arguments: Mapping[str, str],
    *,
    image: str,
    run_id: str,
    environment: Mapping[str, str],
    network: str,
    tunnel_port: int,
) -> Any:
    """Start the container of a run.

    Args:
        client: Docker's client of the host's engine.
        parameters: Limits and data.
        arguments: The entry point's parameters.
        image: The image's id.
        run_id: The MLflow run, "" for a start that only lists its trials.
        environment: Variables, such as the tracking server's address.
        network: "bridge" or "host".
        tunnel_port: The port of the host at which the tunnel begins, 0 if there is none.

    Returns:
        The container.

    Raises:
        EnvironmentMissing: If the engine cannot start it; nothing is left of it then.
    """
    import docker

    name = f"dlperf-{parameters.entry_point}-{run_id or uuid.uuid4().hex}"
    limit = {"mem_limit": parameters.memory, "memswap_limit": parameters.memory} if parameters.memory else {}
    container = None
    try:
        container = client.containers.create(
            image,
            [parameters.entry_point, *(word for key, text in arguments.items() for word in (f"--{key}", text))],
            name=name,
            # With the host's network a container has the host's name too, and a run is owned by a process of a host.
            hostname=host_name(run_id),
            environment={
                **environment,
                **({"MLFLOW_RUN_ID": run_id} if run_id else {}),
                **({"DLPERF_DOWNLOAD_DIR": "/cache"} if needs_cache(parameters.data, arguments) else {}),
            },
            labels={_RUN: run_id, _PORT: str(tunnel_port)},
            mounts=mounts(parameters.data),
            network_mode=network,
            shm_size="1g",  # what NCCL asks for between GPUs; Docker's default of 64 MB is too little
            device_requests=[device_request(parameters.gpus)] if parameters.gpus else None,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            **limit,
        )
        container.start()
    except BaseException as error:
        if container is not None:
            container.remove(force=True, v=True)
        if isinstance(error, docker.errors.APIError):
            said = one_line(Exception(error.explanation or error))
            raise EnvironmentMissing(f"the engine cannot start the container: {said}") from error
        raise
    return container


def host_name(run_id: str) -> str:
    """What a run's container is called as a host; its run's owner begins with it."""
    return f"dlperf-{run_id[:12] or 'dry-run'}"


def mounts(data: str) -> list[Any]:
    """Return what a container has mounted: caches, states, and the folder or volume that --data names."""
    import docker

    kind = "bind" if data.startswith("/") else "volume"
    return [
        docker.types.Mount("/cache", "dlperf-cache", type="volume"),
        docker.types.Mount("/state", "dlperf-state", type="volume"),
        docker.types.Mount(DATA, data, type=kind, read_only=kind == "bind"),
    ]


def needs_cache(data: str, arguments: Mapping[str, str]) -> bool:
    """Whether images of the user's own are decoded where the folder of data can only be read."""
    return data.startswith("/") and bool(user_data.kind(arguments.get("dataset", "")))


def find(client: Any, host: str, parameter: str, run_id: str) -> Any:
    """Find the container of a run, running or ended.

    Raises:
        BadInput: If there is none.
    """
    container = of_run(client, run_id)
    if container is None:
        raise BadInput(parameter, run_id, f"{host} has no container of this run")
    return container


def of_run(client: Any, run_id: str) -> Any | None:
    """Return the container of a run, running or ended; None if there is none."""
    return next(iter(client.containers.list(all=True, filters={"label": f"{_RUN}={run_id}"})), None)


def tunnel_port(container: Any) -> int:
    """Return the port of the host at which the container expects its tracking server; 0 if it needs no tunnel."""
    return int(container.labels.get(_PORT, "0"))


def stop(container: Any) -> None:
    """End a container as Ctrl-C would, by force if it takes too long."""
    container.stop(timeout=_STOP_SECONDS)


def remove(container: Any) -> None:
    """Remove an ended container with the volumes that have no name; state and data stay.

    That somebody else removes it at this moment (--stop, while another terminal follows it) is as good.
    """
    import docker

    try:
        container.remove(force=True, v=True)
    except docker.errors.APIError as error:
        if error.status_code not in _BEING_REMOVED:
            raise
