"""Paths that a user names, and where the states of trials lie unless he does."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dlperf.errors import BadInput, one_line


def writable_folder(parameter: str, folder: Path) -> Path:
    """Make a folder unless it is there, and verify that files can be made in it.

    Args:
        parameter: What it was named by, for the error.
        folder: Where it is to be, as the user wrote it.

    Returns:
        The folder, as a whole path.

    Raises:
        BadInput: It cannot be written to, with the system's reason.
    """
    try:
        whole = folder.expanduser().absolute()
        make_lasting(whole)
        tempfile.TemporaryFile(dir=whole).close()
    except (OSError, RuntimeError) as error:  # the latter of ~NAME where nobody is called so
        reason = error.strerror if isinstance(error, OSError) else one_line(error)
        raise BadInput(parameter, folder, f"must be a folder that can be written to ({reason})") from error
    return whole


def looked_for(path: Path) -> str:
    """Say where a path that is not there was looked for, and how it comes to be seen; the end of a sentence."""
    whole = path.absolute()
    said, folder = f"looked for {whole}", whole.parent
    if "RAY_RAYLET_PID" in os.environ:  # of Ray's own processes, which run trials
        return f"{said} on {socket.gethostname()}; with engine=ray every node needs {folder}, mounted at this same path"
    if os.environ.get("DLPERF_GIT_COMMIT"):  # of the image, which alone has it
        mount = f"{folder}:{folder}:ro"
        return f"{said} in this container: mount its folder, docker run -v {mount} or mlflow run -A volume={mount}"
    if not path.is_absolute() and os.environ.get("MLFLOW_RUN_ID"):
        return f"{said}, since mlflow run starts in the project's folder: give the whole path"
    return said


def page_folder() -> Path:
    """Return where a page lies that is opened and that no folder was named for."""
    return _cache() / "page"


def state_folder(asked_for: str = "") -> Path:
    """Return the folder of states and journals: the one that is asked for, else DLPERF_STATE_DIR, else the cache's."""
    default = _cache() / "state"
    return Path(asked_for or os.environ.get("DLPERF_STATE_DIR") or default).expanduser()


def _cache() -> Path:
    import platformdirs  # data sets are checked before it is needed

    return Path(platformdirs.user_cache_dir("dlperf"))


def local_folder(location: str) -> Path | None:
    """Return the folder that a path or a `file:` address names; None for an address that leads elsewhere."""
    parts = urlsplit(location)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path) if parts.scheme else location)


def make_lasting(folder: Path) -> None:
    """Make a folder, and those above it, unless they are there; what is in it is found after a power failure too.

    Raises:
        OSError: If it cannot be made.
    """
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in reversed(new):
        sync(each.parent)


def sync(path: Path) -> None:
    """Wait until the disk has a file, or which names a folder has.

    Raises:
        OSError: If it cannot be written.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system on which folders cannot be waited for
            raise
    finally:
        os.close(descriptor)
