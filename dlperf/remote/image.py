"""The image on the host: built there from this checkout, transferred from this machine's engine, or kept."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dlperf
from dlperf.environment import git_commit
from dlperf.errors import EnvironmentMissing, one_line
from dlperf.remote.notice import say
from dlperf.remote.parameters import RemoteParameters

_CONTEXT_LABEL = "dlperf.context"
_SOURCES = Path(dlperf.__file__).resolve().parents[1]


def is_there(client: Any, tag: str) -> bool:
    """Whether an engine has an image of this name."""
    return _find(client, tag) is not None


def provide(client: Any, host: str, parameters: RemoteParameters) -> None:
    """See to it that the host has the image.

    Args:
        client: Docker's client of the host's engine.
        host: The host's name, for messages.
        parameters: Which image, and where it comes from.

    Raises:
        EnvironmentMissing: If it is missing, or cannot be built or transferred.
    """
    if parameters.image == "build":
        _build(client, host, parameters)
    elif parameters.image == "transfer":
        _transfer(client, host, parameters.tag)
    elif not is_there(client, parameters.tag):
        raise EnvironmentMissing(
            f"{host} has no image {parameters.tag}: leave image=keep out, and it is built there, or build it there"
        )


def _find(client: Any, tag: str) -> Any | None:
    import docker

    try:
        return client.images.get(tag)
    except docker.errors.ImageNotFound:
        return None


def _build(client: Any, host: str, parameters: RemoteParameters) -> None:
    """Build on the host, unless its image was made of just this."""
    import docker

    if not (_SOURCES / "Dockerfile").exists():
        raise EnvironmentMissing(
            f"there is no Dockerfile in {_SOURCES}, so no image can be built on {host}: start from a clone, or give "
            "--image transfer or keep"
        )
    arguments = {"BASE_IMAGE": parameters.base_image, "VARIANT": parameters.variant}
    digest = _digest(_files(), arguments)
    image = _find(client, parameters.tag)
    if image is not None and image.labels.get(_CONTEXT_LABEL) == digest:
        say(f"the image {parameters.tag} on {host} is up to date")
        return
    say(f"building the image {parameters.tag} on {host}")
    steps = client.api.build(
        fileobj=_context(_files()),
        custom_context=True,
        tag=parameters.tag,
        buildargs={**arguments, "GIT_COMMIT": git_commit() or "unknown"},
        labels={_CONTEXT_LABEL: digest},
        # An image that was transferred has its steps, but no cache of them beside it.
        cache_from=[parameters.tag] if image is not None else None,
        network_mode="host",  # the network the host itself has is the one that reaches a package index
        rm=True,
        forcerm=True,
        decode=True,
    )
    try:
        _follow(steps)
    except (docker.errors.APIError, _StepFailed) as error:
        raise EnvironmentMissing(f"the image cannot be built on {host}: {one_line(error)}") from error


def _transfer(client: Any, host: str, tag: str) -> None:
    """Copy the image from this machine's engine, unless the host has the same."""
    import docker

    try:
        here = docker.from_env(timeout=600)
        image = _find(here, tag)
    except docker.errors.DockerException as error:
        raise EnvironmentMissing(f"no Docker engine answers on this machine: {one_line(error)}") from error
    if image is None:
        raise EnvironmentMissing(f"this machine has no image {tag}: `docker build -t {tag} .` first")
    there = _find(client, tag)
    if there is not None and there.id == image.id:
        say(f"the image {tag} on {host} is the one of this machine")
        return
    say(f"transferring the image {tag} to {host}, {image.attrs['Size'] / 1e9:.1f} GB")
    try:
        _follow(client.api.load_image(here.api.get_image(tag), quiet=True))
    except (docker.errors.DockerException, _StepFailed, OSError) as error:
        raise EnvironmentMissing(f"the image {tag} cannot be transferred to {host}: {one_line(error)}") from error


class _StepFailed(Exception):
    """What an engine reports in the middle of its answer."""


def _follow(answers: Iterable[Mapping[str, Any]]) -> None:
    """Show the steps of a build; raise what the engine reports as an error."""
    for answer in answers:
        if "error" in answer:
            raise _StepFailed(answer["error"])
        if str(answer.get("stream", "")).startswith("Step "):
            say(str(answer["stream"]).strip()[:110])


def _files() -> dict[str, Path]:
    """What the image is made of, by path: all that .dockerignore lets through, and the Dockerfile."""
    from docker.utils.build import exclude_paths

    lines = (_SOURCES / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    names = sorted(exclude_paths(str(_SOURCES), patterns, "Dockerfile"))
    return {name: _SOURCES / name for name in names if (_SOURCES / name).is_file()}


def _digest(files: Mapping[str, Path], arguments: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(sorted(arguments.items())).encode())
    for name, path in files.items():
        content = path.read_bytes()
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def _context(files: Mapping[str, Path]) -> io.BytesIO:
    """The build context as a tar archive; the engine's cache looks at names, modes and contents."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, path in files.items():
            entry = tarfile.TarInfo(name)
            # Whatever the umask was under which they were checked out.
            entry.size, entry.mode = path.stat().st_size, 0o755 if path.stat().st_mode & 0o100 else 0o644
            with path.open("rb") as content:
                archive.addfile(entry, content)
    packed.seek(0)
    return packed
