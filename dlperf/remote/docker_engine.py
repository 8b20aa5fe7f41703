"""The container engine of the host: located, reached through the link, and asked whether it can do what is wanted."""

from __future__ import annotations

import contextlib
import io
import shlex
import tarfile
import uuid
from collections.abc import Iterator
from typing import Any

from dlperf.errors import EnvironmentMissing, one_line
from dlperf.remote.link import Link

_OLDEST = (20, 10)
# Where the docker command of the host looks, else where the engine listens by default; and what is wrong with it.
_FIND_SOCKET = (
    'at=$(docker context inspect -f "{{.Endpoints.docker.Host}}" 2>/dev/null);'
    ' at=${at:-${DOCKER_HOST:-unix:///var/run/docker.sock}}; echo "$at"; at=${at#unix://};'
    ' [ -S "$at" ] || echo missing; [ -w "$at" ] || echo denied'
)
_CHECK_SECONDS = 30
_NO_GPU_RUNTIME = ("could not select device driver", "failed to discover GPU vendor from CDI")
# What engines say of a container that got everything but its program; libraries that are missing have no such name.
_PROBE = "/dlperf-none"
_NO_PROGRAM = ("no such file", "executable file", "exec format")


@contextlib.contextmanager
def connected(link: Link) -> Iterator[Any]:
    """Open Docker's client on the host's engine, and close it after the block.

    Args:
        link: The connection to the host.

    Yields:
        A `docker.DockerClient`. It waits for answers as long as the connection stands: a build is silent for minutes.

    Raises:
        EnvironmentMissing: If no engine answers, it is too old, or it fails in the block.
    """
    import docker
    import requests
    import urllib3

    socket = _socket(link)
    here = link.forward_socket(socket)
    try:
        client = docker.DockerClient(base_url=f"unix://{here}", version="auto", timeout=_CHECK_SECONDS)
        version = client.version()["Version"]
    except Exception as error:
        raise EnvironmentMissing(
            f"{link.name}: no Docker engine answers at {socket}: start it there ({link.complaint or one_line(error)})"
        ) from error
    with contextlib.closing(client):
        _check_version(link, version)
        client.api.timeout = None
        try:
            yield client
        except (docker.errors.DockerException, requests.RequestException, urllib3.exceptions.HTTPError) as error:
            what = f"its Docker engine failed: {one_line(error)}" if link.alive else "the connection is lost"
            raise EnvironmentMissing(f"{link.name}: {what}") from error


def _socket(link: Link) -> str:
    """Ask the host where its engine listens."""
    address, *complaints = link.run(_FIND_SOCKET).split() or [""]
    path = address.removeprefix("unix://")
    if path == address:
        raise EnvironmentMissing(f"{link.name}: its engine is at {address}, and only a unix socket there can be used")
    if "missing" in complaints:
        raise EnvironmentMissing(f"{link.name}: there is no Docker engine at {path}: install and start it there")
    if "denied" in complaints:
        raise EnvironmentMissing(f"{link.name}: this user may not use {path}: add it to the group docker there")
    return path


def _check_version(link: Link, version: str) -> None:
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if len(numbers) == 2 and numbers < _OLDEST:
        raise EnvironmentMissing(f"{link.name}: its Docker engine is {version}, and 20.10 is the oldest that will do")


def check_disk(link: Link, client: Any, needed_gb: float) -> None:
    """Verify that there is room where the engine keeps its data.

    Raises:
        EnvironmentMissing: If there is too little.
    """
    root = client.info()["DockerRootDir"]
    columns = link.run(f"df -Pk {shlex.quote(root)} | tail -n 1").split()
    if len(columns) < 4 or not columns[3].isdigit():
        return  # not known; the engine will say so when it is full
    free_gb = int(columns[3]) * 1024 / 1e9
    if free_gb < needed_gb:
        raise EnvironmentMissing(
            f"{link.name}: {free_gb:.1f} GB are free in {root} and {needed_gb} are needed: `docker system prune` there"
        )


def check_folder(link: Link, path: str) -> None:
    """Verify that the host has a folder.

    Raises:
        EnvironmentMissing: If it has not.
    """
    if not link.run(f"[ -d {shlex.quote(path)} ] && echo there").strip():
        raise EnvironmentMissing(
            f"{link.name}: there is no folder {path} for --data: name one that is there, or a volume"
        )


def device_request(gpus: str) -> dict[str, Any]:
    """Return what `docker run --gpus` asks the engine for: all, a number, or device=0,1."""
    request: dict[str, Any] = {"Driver": "", "Capabilities": [["gpu"]], "Options": {}}
    if gpus.startswith("device="):
        return {**request, "DeviceIDs": gpus.removeprefix("device=").split(",")}
    return {**request, "Count": -1 if gpus == "all" else int(gpus)}


def check_gpus(link: Link, client: Any, gpus: str) -> None:
    """Verify that the engine can give GPUs to a container, before gigabytes are sent for it.

    Nothing in what the engine says of itself settles that, so it is asked for a container: an empty one, which
    with a GPU runtime fails for want of a program, and without one for want of the runtime.

    Raises:
        EnvironmentMissing: If it has no GPU runtime, or fails otherwise.
    """
    import docker

    repository, tag = "dlperf-gpu-probe", uuid.uuid4().hex  # others may ask at the same time
    probe = f"{repository}:{tag}"
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    client.api.import_image_from_data(empty.getvalue(), repository=repository, tag=tag)
    container = None
    try:
        container = client.containers.create(
            probe, [_PROBE], device_requests=[device_request(gpus)], network_mode="none"
        )
        container.start()
    except docker.errors.APIError as error:
        said = one_line(Exception(error.explanation or error))
        if any(sign in said for sign in _NO_GPU_RUNTIME):
            raise EnvironmentMissing(
                f"{link.name}: gpus={gpus} was asked for and its engine has no GPU runtime: install NVIDIA's container "
                f"toolkit there ({said})"
            ) from error
        if not (_PROBE in said and any(sign in said.lower() for sign in _NO_PROGRAM)):
            raise EnvironmentMissing(
                f"{link.name}: its engine cannot give gpus={gpus} to a container: {said}"
            ) from error
    finally:
        if container is not None:
            container.remove(force=True, v=True)
        client.images.remove(probe, force=True)
