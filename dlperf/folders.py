"""Folders that a user names."""

from __future__ import annotations

import tempfile
from pathlib import Path

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
