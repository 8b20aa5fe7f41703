"""Folders that a user names, and where the states of trials lie unless he does."""

from __future__ import annotations

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
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise BadInput(parameter, folder, f"must be a folder that can be written to ({error.strerror})") from error
    return folder


def state_folder(asked_for: str = "") -> Path:
    """Return the folder of states and journals: the one that is asked for, else DLPERF_STATE_DIR, else the cache's."""
    default = Path(platformdirs.user_cache_dir("dlperf")) / "state"
    return Path(asked_for or os.environ.get("DLPERF_STATE_DIR") or default).expanduser()
