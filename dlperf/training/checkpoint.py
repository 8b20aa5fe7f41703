"""A trial's state on disk: arrays and a JSON record in one file, replaced atomically."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlperf.errors import TrialFailed

_RECORD = "record.json"


def save(path: Path, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> None:
    """Write `arrays` and `record` to `path`, so that a reader finds the old state or the new one, never a part.

    Args:
        path: The file; its folder is made.
        arrays: Arrays of plain dtypes by name (no objects: nothing here is pickled).
        record: What JSON can hold.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    encoded = np.frombuffer(json.dumps(record).encode(), np.uint8)
    try:
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **{_RECORD: encoded}, **arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # Without this the rename itself may be lost when the machine, not only the process, goes down.
        os.fsync(folder)
    finally:
        os.close(folder)


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Read what `save` wrote.

    Returns:
        The arrays and the record, or None where there is no state.

    Raises:
        TrialFailed: If the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != _RECORD}
            record: dict[str, Any] = json.loads(file[_RECORD].tobytes())
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise TrialFailed(f"the state in {path} cannot be read ({error}); delete it to train from the start") from error
    return arrays, record
