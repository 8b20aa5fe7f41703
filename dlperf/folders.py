"""Folders that a user names, and where the states of trials lie unless he does."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import platformdirs

from dlperf.errors import BadInput


def writable_folder(parameter: str, folder: Path) -> Path:
    """Make a folder unless it is there, and verify that files can be made in it.

    Args:
        parameter: What it was named by, for the error.
        folder: Where it is to be.

    Returns:
        The folder.

    Raises:
        BadInput: It cannot be written to, with the system's reason.
    """
    try:
        make_lasting(folder)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise BadInput(parameter, folder, f"must be a folder that can be written to ({error.strerror})") from error
    return folder


def page_folder() -> Path:
    """Return where a page lies that is opened and that no folder was named for."""
    return Path(platformdirs.user_cache_dir("dlperf")) / "page"


def state_folder(asked_for: str = "") -> Path:
    """Return the folder of states and journals: the one that is asked for, else DLPERF_STATE_DIR, else the cache's."""
    default = Path(platformdirs.user_cache_dir("dlperf")) / "state"
    return Path(asked_for or os.environ.get("DLPERF_STATE_DIR") or default).expanduser()


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
