"""A trial's state on disk: arrays and a JSON record in one file with a checksum, and the file before it beside it.

A reader finds the newest state that is whole. The file is a mark, the checksum of what follows, and a `.npz`, as NumPy
reads it; one that begins with the `.npz` is of version 0.1.0.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlperf.errors import TrialFailed
from dlperf.folders import make_lasting, sync
from dlperf.interruption import signals_deferred

_RECORD = "record.json"
_MARK = b"dlperf state 1"
_DIGEST_BYTES = 16
_OLD_START = b"PK"  # of every archive in zip's format


class _Damaged(Exception):
    """A file is not what was written."""


def save(path: Path, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> None:
    """Write `arrays` and `record` to `path`, so that a reader finds this state or the one before, never a part.

    Args:
        path: The file; its folder is made. The state that it held is kept beside it.
        arrays: Arrays of plain dtypes by name (no objects: nothing here is pickled).
        record: What JSON can hold.

    Raises:
        OSError: It cannot be written; the states before are as they were.
    """
    # A signal amid this would leave an archive that closes itself half written, which is another error.
    with signals_deferred():
        make_lasting(path.parent)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        encoded = np.frombuffer(json.dumps(record).encode(), np.uint8)
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **{_RECORD: encoded}, **arrays)
        body = content.getbuffer()
        try:
            with partial.open("wb") as file:
                for part in (_MARK, _digest(body), body):
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                path.replace(_before(path))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        # Without this the renaming itself may be lost when the machine, not only the process, goes down.
        sync(path.parent)


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Read what `save` wrote last, or before that where the last is damaged: that is told in one line.

    Returns:
        The arrays and the record, or None where there is no state.

    Raises:
        TrialFailed: If there are states, and none is whole.
    """
    complaints = []
    for file in (path, _before(path)):
        if not file.exists():
            continue
        try:
            state = _read(file)
        except _Damaged as error:
            complaints.append(str(error))
            continue
        if complaints:
            # The next `save` keeps what stands at `path`, and that must not be the damaged one.
            path.unlink(missing_ok=True)
            said = f"dlperf: the state in {path} is damaged ({complaints[0]}): going on from the one before"
            print(said, file=sys.stderr)
        return state
    if complaints:
        raise TrialFailed(
            f"the state in {path} cannot be read ({complaints[0]}), nor is there a whole one before it; delete it to "
            "train from the start"
        )
    return None


def record(path: Path) -> dict[str, Any] | None:
    """Read the record alone of the newest state that has one, without the checksum of all; None where there is none."""
    for file in (path, _before(path)):
        try:
            with zipfile.ZipFile(file) as archive, archive.open(f"{_RECORD}.npy") as member:
                stored: dict[str, Any] = json.loads(np.lib.format.read_array(member).tobytes())
                return stored
        except Exception:  # of bytes that are not theirs zipfile and NumPy say it in many ways
            continue
    return None


def exists(path: Path) -> bool:
    """Whether there is a state, or one before it."""
    return path.exists() or _before(path).exists()


def _before(path: Path) -> Path:
    return path.with_name(f"{path.stem}.before{path.suffix}")


def _digest(body: Any) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        body = memoryview(path.read_bytes())
        if body[: len(_OLD_START)] != _OLD_START:
            head = len(_MARK) + _DIGEST_BYTES
            expected, body = bytes(body[:head]), body[head:]
            if expected != _MARK + _digest(body):
                raise _Damaged("its checksum is another")
        with np.load(io.BytesIO(body), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != _RECORD}
            record: dict[str, Any] = json.loads(file[_RECORD].tobytes())
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise _Damaged(str(error)) from error
    return arrays, record
