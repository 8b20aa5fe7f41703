"""The image on the host: built there from this checkout, transferred from this machine's engine, or kept."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlperf
from dlperf.environment import git_commit
from dlperf.errors import EnvironmentMissing, one_line
from dlperf.remote.logs import say
from dlperf.remote.parameters import RemoteParameters

# What the image was made of, all of it, and the part of it that decides which packages are installed.
_CONTEXT_LABEL, _PACKAGES_LABEL = "dlperf.context", "dlperf.packages"
_DECIDE_PACKAGES = ("Dockerfile", "conda.yaml", "docker/requirements.sh")
_SOURCES = Path(dlperf.__file__).resolve().parents[1]
# An image is unpacked while its layers are still there: about twice what it takes in the end.
_WHOLE_GB = {"cpu": 6, "gpu": 20}
_CODE_GB = 1  # and what a run writes


def room_needed(client: Any, parameters: RemoteParameters) -> int:
    """Return the gigabytes that the host's engine needs for what `provide` will do, and for a run after it.

    Raises:
        EnvironmentMissing: If this machine has not what the image is made of.
    """
    there = _find(client, parameters.tag)
    if parameters.image == "keep":
        return _CODE_GB
    if parameters.image == "transfer":
        _, image = _of_this_machine(parameters)
        same = there is not None and there.id == image.id
    else:
        wanted = _Recipe.of(parameters).labels[_PACKAGES_LABEL]
        same = there is not None and there.labels.get(_PACKAGES_LABEL) == wanted
    return _CODE_GB if same else _WHOLE_GB[parameters.variant]


def provide(client: Any, host: str, parameters: RemoteParameters) -> str:
    """See to it that the host has the image; one that it replaces is removed there, unless something still needs it.

    Args:
        client: Docker's client of the host's engine.
        host: The host's name, for messages.
        parameters: Which image, and where it comes from.

    Returns:
        Its id: what its name stands for may change when somebody else starts.

    Raises:
        EnvironmentMissing: If it is missing, or cannot be built or transferred.
    """
    before = _find(client, parameters.tag)
    if parameters.image == "build":
        _build(client, host, parameters, before)
    elif parameters.image == "transfer":
        _transfer(client, host, parameters, before)
    elif before is None:
        raise EnvironmentMissing(
            f"{host} has no image {parameters.tag}: leave image=keep out, and it is built there, or build it there"
        )
    image = _find(client, parameters.tag)
    if image is None:
        raise EnvironmentMissing(f"{host}: the image {parameters.tag} was removed at this moment: start again")
    if before is not None:
        _remove_unused(client, before)
    return str(image.id)


@dataclass(frozen=True)
class _Recipe:
    """What an image is built of.

    Attributes:
        files: By their path in the build context.
        arguments: The build's arguments, the commit among them: it is written into the image.
    """

    files: dict[str, Path]
    arguments: dict[str, str]

    @classmethod
    def of(cls, parameters: RemoteParameters) -> _Recipe:
        """Read this checkout.

        Raises:
            EnvironmentMissing: If it is none.
        """
        if not (_SOURCES / "Dockerfile").exists():
            raise EnvironmentMissing(
                f"there is no Dockerfile in {_SOURCES}, so no image can be built: start from a clone, or give "
                "--image transfer or keep"
            )
        commit = git_commit() or "unknown"
        arguments = {"BASE_IMAGE": parameters.base_image, "VARIANT": parameters.variant, "GIT_COMMIT": commit}
        return cls(_files(), arguments)

    @property
    def labels(self) -> dict[str, str]:
        """The digests that say whether an image was made of exactly this, or has exactly these packages."""
        packages = {name: path for name, path in self.files.items() if name in _DECIDE_PACKAGES}
        without_commit = {name: text for name, text in self.arguments.items() if name != "GIT_COMMIT"}
        return {
            _CONTEXT_LABEL: _digest(self.files, self.arguments),
            _PACKAGES_LABEL: _digest(packages, without_commit),
        }


def _find(client: Any, tag: str) -> Any | None:
    import docker

    try:
        return client.images.get(tag)
    except docker.errors.ImageNotFound:
        return None


def _of_this_machine(parameters: RemoteParameters) -> tuple[Any, Any]:
    """Return the client of this machine's engine, and the image it has."""
    import docker

    try:
        client = docker.from_env(timeout=600)
        image = _find(client, parameters.tag)
    except docker.errors.DockerException as error:
        raise EnvironmentMissing(f"no Docker engine answers on this machine: {one_line(error)}") from error
    if image is None:
        build = f"docker build -t {parameters.tag} --build-arg VARIANT={parameters.variant} ."
        raise EnvironmentMissing(f"this machine has no image {parameters.tag}: `{build}` first")
    return client, image


def _build(client: Any, host: str, parameters: RemoteParameters, there: Any | None) -> None:
    """Build on the host, unless its image was made of just this."""
    import docker

    recipe = _Recipe.of(parameters)
    if there is not None and there.labels.get(_CONTEXT_LABEL) == recipe.labels[_CONTEXT_LABEL]:
        say(f"the image {parameters.tag} on {host} is up to date")
        return
    say(f"building the image {parameters.tag} on {host}")
    steps = client.api.build(
        fileobj=_context(recipe.files),
        custom_context=True,
        tag=parameters.tag,
        buildargs=recipe.arguments,
        labels=recipe.labels,
        # An image that was transferred has its steps, but no cache of them beside it.
        cache_from=[parameters.tag] if there is not None else None,
        network_mode="host",  # the network the host itself has is the one that reaches a package index
        rm=True,
        forcerm=True,
        decode=True,
    )
    try:
        _follow(steps)
    except (docker.errors.APIError, _StepFailed) as error:
        raise EnvironmentMissing(f"the image cannot be built on {host}: {one_line(error)}") from error


def _transfer(client: Any, host: str, parameters: RemoteParameters, there: Any | None) -> None:
    """Copy the image from this machine's engine, unless the host has the same."""
    import docker

    tag = parameters.tag
    here, image = _of_this_machine(parameters)
    if there is not None and there.id == image.id:
        say(f"the image {tag} on {host} is the one of this machine")
        return
    say(f"transferring the image {tag} to {host}, {image.attrs['Size'] / 1e9:.1f} GB")
    try:
        # A name without a tag would be all tags of that name.
        named = tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"
        _follow(client.api.load_image(here.api.get_image(named), quiet=True))
    except (docker.errors.DockerException, _StepFailed, OSError) as error:
        raise EnvironmentMissing(f"the image {tag} cannot be transferred to {host}: {one_line(error)}") from error


def _remove_unused(client: Any, image: Any) -> None:
    """Remove an image that has lost its name; a container that it belongs to keeps it."""
    import docker

    with contextlib.suppress(docker.errors.APIError):
        image.reload()
        if not image.tags:
            client.images.remove(image.id)


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
