"""The host's volume, which keeps what was sent: a model, or data, comes there once, under the digest of its content."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dlperf.errors import EnvironmentMissing, in_one_line
from dlperf.remote import container as containers
from dlperf.remote import docker_engine, own_files
from dlperf.remote.link import Link
from dlperf.remote.logs import say
from dlperf.remote.own_files import OwnFile

_ROOM_GB = 1  # beside what is sent
# What arrives lies under another name until all of it is there, and is removed a day after a connection that was lost.
_ARRIVING = ".arriving-"
_LIST = 'mkdir -p "$1" && ls -A "$1"'
_KEEP = (
    'set -e; [ -e "$2" ] || mv -T "$1" "$2"; rm -rf "$1";'
    f' find "$3" -maxdepth 1 -name "{_ARRIVING}*" -mmin +1440 -exec rm -rf {{}} +'
)


def send(link: Link, client: Any, image: str, volume: str, own: Sequence[OwnFile]) -> None:
    """Bring the files into a volume of the host, those that it does not have.

    Args:
        link: The connection to the host.
        client: Docker's client of its engine.
        image: An image of dlperf there.
        volume: What --data says.
        own: The files.

    Raises:
        BadInput: If a file changes while it is sent.
        EnvironmentMissing: If there is no room, or the engine cannot keep them.
    """
    if not own:
        return
    folder, mounts = own_files.folder_for(volume), containers.mounts(volume)
    with _shell(client, image, mounts, _LIST, folder) as listing:
        there = _output(listing).split()
    for each in own:
        if each.digest in there:
            say(f"{each.name} is on {link.name} already")
            continue
        docker_engine.check_disk(link, client, each.size / 1e9 + _ROOM_GB)
        say(f"sending {each.name} to {link.name}, {each.size / 1e6:,.1f} MB")
        arriving = f"{_ARRIVING}{uuid.uuid4().hex}"
        places = (f"{folder}/{arriving}", f"{folder}/{each.digest}", folder)
        with _shell(client, image, mounts, _KEEP, *places) as keeping:
            keeping.put_archive(folder, own_files.packed(each, arriving))
            own_files.refuse_changed(each)
            _output(keeping)


@contextmanager
def _shell(client: Any, image: str, mounts: Sequence[Any], script: str, *arguments: str) -> Iterator[Any]:
    """Make a container that runs a script as root, who alone writes there, and remove it after the block."""
    container = client.containers.create(
        image,
        ["-c", script, "sh", *arguments],
        name=f"dlperf-files-{uuid.uuid4().hex}",
        entrypoint=["sh"],
        user="0:0",
        network_mode="none",
        mounts=list(mounts),
    )
    try:
        yield container
    finally:
        containers.remove(container)


def _output(container: Any) -> str:
    """Run a container to its end and return its standard output."""
    container.start()
    if int(container.wait()["StatusCode"]):
        said = in_one_line(container.logs(stdout=False, stderr=True).decode(errors="replace"))
        raise EnvironmentMissing(f"the host's volume cannot take files: {said}")
    return str(container.logs(stdout=True, stderr=False).decode())
