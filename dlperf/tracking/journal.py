"""What a run says, on disk before it is sent: lines with a checksum each, in order, and how many of them were sent.

A journal is a folder: `entries`, whose first line says of which run it is; `sent`, a number of entries; and files/, the
artifacts that are waiting. Only the process that runs the run, or that sends for it, has it open.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import sys
import time
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlperf.errors import EnvironmentMissing, one_line
from dlperf.interruption import signals_deferred

_FORMAT = 1
FOLDERS = {"files", "model"}
"""Kinds of entries whose content names a `folder` of files, relative to the journal's."""
_SYNC_SECONDS = 0.5  # epochs of small networks last milliseconds, and a disk takes as long to be sure of them


class JournalHeld(Exception):
    """Another process has it open."""


@dataclass(frozen=True)
class Entry:
    """One thing that a run says.

    Attributes:
        kind: What is said; `delivery` knows how each is sent.
        content: What JSON can hold.
        run_id: The run that it is said of.
    """

    kind: str
    content: Any
    run_id: str


@dataclass(frozen=True)
class Header:
    """Of which run a journal is.

    Attributes:
        run_id: The run.
        parent: The run above it; "" for none.
        name: The run's name.
        problem: The entry point.
        uri: The tracking server that it is for, without a login.
    """

    run_id: str
    parent: str
    name: str
    problem: str
    uri: str


class Journal:
    """A journal that this process writes, or sends.

    What cannot be written (a full disk) stays in memory, is told once, and is written with what is said later.

    Attributes:
        folder: Where it lies.
        header: Of which run it is.
        waiting: The entries that have not been sent, oldest first.
    """

    def __init__(self, folder: Path, header: Header | None = None) -> None:
        """Open a journal, or begin one.

        Args:
            folder: Its folder; it is made where there is none.
            header: Of which run it is; None opens one that is there.

        Raises:
            JournalHeld: Another process has it open.
            EnvironmentMissing: There is none, and no header, or it is of another format.
        """
        self.folder = folder
        self._unwritten: list[bytes] = []
        self._complained = False
        self._synced = 0.0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "entries").open("ab", buffering=0)
        except OSError as error:
            raise EnvironmentMissing(f"the journal in {folder} cannot be opened: {one_line(error)}") from error
        with contextlib.suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                self._file.close()
                raise JournalHeld from error
        there, entries, size = _read(folder)
        if there is None and header is None:
            raise EnvironmentMissing(f"the journal in {folder} cannot be read: it does not say of which run it is")
        self._size = size if there else 0
        self._file.truncate(self._size)  # without the line that a kill, or a full disk, left unfinished
        self.header: Header = there or header  # type: ignore[assignment]
        if there is None:
            self._write(_line({"format": _FORMAT, **vars(self.header)}))
        self._sent = min(_sent(folder), len(entries))
        self.waiting: deque[Entry] = deque(entries[self._sent :])

    def append(self, kind: str, content: Any, run_id: str = "") -> None:
        """Add an entry, of the journal's own run unless another is named."""
        entry = Entry(kind, content, run_id or self.header.run_id)
        with signals_deferred():
            self._write(_line([entry.kind, entry.content, entry.run_id]))
            self.waiting.append(entry)

    def new_files(self) -> Path:
        """Return a new, empty folder for artifacts that an entry will name.

        Raises:
            OSError: It cannot be made.
        """
        folder = self.folder / "files" / f"{time.time_ns()}"
        folder.mkdir(parents=True)
        return folder

    def mark(self, count: int) -> None:
        """Note that the oldest `count` of the waiting entries were sent; their files are removed."""
        sent = [self.waiting.popleft() for _ in range(count)]
        self._sent += count
        # Where this is lost, they are sent again, which changes nothing on the server.
        with contextlib.suppress(OSError):
            partial = self.folder / "sent.partial"
            partial.write_text(str(self._sent))
            partial.replace(self.folder / "sent")
        for entry in sent:
            if entry.kind in FOLDERS:
                shutil.rmtree(self.folder / entry.content["folder"], ignore_errors=True)

    def close(self) -> None:
        """Let others open it."""
        self._file.close()

    def remove(self) -> None:
        """Delete it, and the folder above it where nothing else is in that."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._file.close()
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()

    def _write(self, line: bytes) -> None:
        self._unwritten.append(line)
        content = b"".join(self._unwritten)
        try:
            if self._file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)  # without what was written of a line in part
            if not self._complained:
                self._complained = True
                print(
                    f"dlperf {self.header.name}: the journal in {self.folder} cannot be written "
                    f"({error.strerror or error}): what is not sent before the program ends is lost",
                    file=sys.stderr,
                )
            return
        self._size += len(content)
        self._unwritten = []


@dataclass(frozen=True)
class Kept:
    """A journal as it lies on disk.

    Attributes:
        folder: Its folder.
        header: Of which run it is.
        waiting: Entries that were not sent.
        ended: How the run ended by what waits, as MLflow's status; "" where it has not.
        held: Whether a process has it open.
    """

    folder: Path
    header: Header
    waiting: int
    ended: str
    held: bool


def journals(state_dir: Path) -> Iterator[tuple[Path, Header]]:
    """Find the journals below a folder of states: the folder of each, and of which run it is."""
    for entries in sorted(state_dir.glob("*/journal/entries")):
        with contextlib.suppress(OSError), entries.open("rb") as file:
            header = _header(file.readline(), entries.parent)
            if header:
                yield entries.parent, header


def kept(state_dir: Path) -> Iterator[Kept]:
    """Read the journals below a folder of states, without opening them."""
    for folder, header in journals(state_dir):
        _, entries, _ = _read(folder)
        waiting = entries[_sent(folder) :]
        ended = [entry.content["status"] for entry in waiting if entry.kind == "ended"]
        yield Kept(folder, header, len(waiting), ended[-1] if ended else "", _is_held(folder))


def is_there(folder: Path) -> bool:
    """Whether a folder holds a journal."""
    return (folder / "entries").exists()


def _line(content: Any) -> bytes:
    text = json.dumps(content).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read(folder: Path) -> tuple[Header | None, list[Entry], int]:
    """Return the header, the entries, and how many bytes of the file are whole lines."""
    content = (folder / "entries").read_bytes()
    size = content.rfind(b"\n") + 1
    entries = []
    lines = content[:size].splitlines()
    for number, line in enumerate(lines[1:], 1):
        said = _content(line)
        if said is None:
            print(f"dlperf: entry {number} of the journal in {folder} is damaged and left out", file=sys.stderr)
        entries.append(Entry(*said) if said else Entry("damaged", None, ""))
    return _header(lines[0], folder) if lines else None, entries, size


def _content(line: bytes) -> Any:
    """Return what a line holds; None where it is not what was written."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    return json.loads(text) if checksum == b"%08x" % zlib.crc32(text) else None


def _header(line: bytes, folder: Path) -> Header | None:
    """Read a journal's first line; None where it is damaged.

    Raises:
        EnvironmentMissing: If it is of another format.
    """
    given = _content(line)
    if not given:
        return None
    if (number := given.pop("format")) != _FORMAT:
        raise EnvironmentMissing(f"the journal in {folder} has format {number}, this dlperf reads {_FORMAT}")
    return Header(**given)


def _sent(folder: Path) -> int:
    try:
        return int((folder / "sent").read_text())
    except (OSError, ValueError):
        return 0


def _is_held(folder: Path) -> bool:
    with (folder / "entries").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False
