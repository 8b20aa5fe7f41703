"""What is written here: what the container writes, as it writes it, and what `remote` itself has to say."""

from __future__ import annotations

import sys
from typing import Any

from dlperf.errors import EnvironmentMissing, TrialFailed, one_line, without_logins
from dlperf.remote.link import Link


def say(message: str) -> None:
    """Write a line of `remote` itself to the standard error."""
    print(f"dlperf remote: {without_logins(message)}", file=sys.stderr, flush=True)


def follow(link: Link, container: Any) -> int:
    """Copy a container's output here, from its beginning on, until it ends.

    Args:
        link: The connection to the host.
        container: The container.

    Returns:
        Its exit status.

    Raises:
        EnvironmentMissing: If the connection is lost; the container is not.
        TrialFailed: If somebody else has removed it.
    """
    import docker
    import requests
    import urllib3

    try:
        for chunk in container.logs(stream=True, follow=True):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        container.wait()
        # Not what `wait` says: of a container that is removed meanwhile that is 0, whatever it ended with.
        container.reload()
        return int(container.attrs["State"]["ExitCode"])
    except docker.errors.NotFound as error:
        raise TrialFailed(f"the container {container.name} was ended and removed from elsewhere") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, docker.errors.APIError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # whoever reads our output has gone
            raise
        lost = f"the connection to {link.name} is lost"
        what = lost if link.is_lost() else f"{link.name}: its output broke off: {one_line(error)}"
        raise EnvironmentMissing(what) from error


def ended_for_memory(container: Any) -> bool:
    """Whether the kernel ended the container at its memory limit; not known of one that is removed by now."""
    import docker

    try:
        container.reload()
    except docker.errors.NotFound:
        return False
    return bool(container.attrs["State"].get("OOMKilled"))
