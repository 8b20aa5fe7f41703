"""What a run says, on disk before it is sent: numbered lines with a checksum each, and up to which they were sent.

A journal is a folder: `entries`, whose first line says of which run it is; `sent`, the number of the last entry that
was sent; and files/, the artifacts that are waiting. Only the process that runs the run, or that sends for it, has it
open.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from dlperf.errors import EnvironmentMissing, one_line
from dlperf.folders import make_lasting, sync
from dlperf.interruption import signals_deferred

FOLDERS = {"files", "model"}
"""Kinds of entries whose content names a `folder` of files, relative to the journal's or absolute."""
_FORMAT = 1
_SYNC_SECONDS = 0.5  # epochs of small networks last milliseconds, and a disk takes as long to be sure of them
_AT_ONCE = 200
_ENTRIES, _SENT, _FILES = "entries", "sent", "files"


class JournalHeld(Exception):
    """Another process has it open."""


@dataclass(frozen=True)
class Entry:
    """One thing that a run says.

    Attributes:
        kind: What is said; `delivery` knows how each is sent.
        content: What JSON can hold.
        run_id: The run that it is said of.
        number: Its place in the journal, from 1.
    """

    kind: str
    content: Any
    run_id: str
    number: int = 0


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
            EnvironmentMissing: It cannot be opened, there is none and no header, or it is of another format.
        """
        self.folder = folder
        self._unwritten: list[bytes] = []
        self._complained = False
        self._synced = 0.0
        self._sync_to_come: threading.Timer | None = None
        try:
            make_lasting(folder)
            self._file = (folder / _ENTRIES).open("ab", buffering=0)
            sync(folder)
            _lock(self._file)
            there, entries, self._size = _read(folder)
        except OSError as error:
            raise EnvironmentMissing(f"the journal in {folder} cannot be opened: {one_line(error)}") from error
        if there is None and header is None:
            raise EnvironmentMissing(f"the journal in {folder} cannot be read: it does not say of which run it is")
        self.header: Header = there or header  # type: ignore[assignment]
        if there is None:
            self._begin(entries)
        else:
            self._file.truncate(self._size)  # without the line that a kill, or a full disk, left unfinished
        sent = _sent(folder)
        self.waiting: deque[Entry] = deque(entry for entry in entries if entry.number > sent)
        self._last = max([sent, *(entry.number for entry in entries)])

    @property
    def is_on_disk(self) -> bool:
        """Whether all that waits would outlive this process."""
        return not self._unwritten

    def append(self, kind: str, content: Any, run_id: str = "") -> None:
        """Add an entry, of the journal's own run unless another is named."""
        with signals_deferred():
            self._last += 1
            entry = Entry(kind, content, run_id or self.header.run_id, self._last)
            self._write(_line([entry.number, entry.kind, entry.content, entry.run_id]), sync=kind == "ended")
            self.waiting.append(entry)

    def next_entries(self) -> list[Entry]:
        """Return the oldest entries that wait, as many as may go in one call."""
        return list(islice(self.waiting, _AT_ONCE))

    def take_files(self, folder: Path) -> str:
        """Move a folder of artifacts to the journal; return what an entry is to name.

        Where the disk under the journal is full, that is the folder where it is.
        """
        own = self.folder / _FILES / str(time.time_ns())
        try:
            make_lasting(own)
            shutil.copytree(folder, own, dirs_exist_ok=True)
            for path in (own, *own.rglob("*")):
                sync(path)
        except OSError:
            shutil.rmtree(own, ignore_errors=True)
            return str(folder)
        shutil.rmtree(folder, ignore_errors=True)
        return str(own.relative_to(self.folder))

    def mark(self, count: int) -> None:
        """Note that the oldest `count` of the waiting entries were sent; their files are removed."""
        sent = [self.waiting.popleft() for _ in range(count)]
        # Where this is lost, they are sent again, which changes nothing on the server.
        with contextlib.suppress(OSError):
            partial = self.folder / f"{_SENT}.partial"
            partial.write_bytes(_line(sent[-1].number))
            partial.replace(self.folder / _SENT)
        for entry in sent:
            if entry.kind in FOLDERS:
                shutil.rmtree(self.folder / entry.content["folder"], ignore_errors=True)

    def close(self) -> None:
        """Let others open it."""
        if timer := self._sync_to_come:  # which may fire, and forget itself, amid this
            timer.cancel()
            self._sync_unasked()
        self._file.close()

    def remove(self) -> None:
        """Delete it, and the folder above it where nothing else is in that."""
        # Under another name first: a kill amid this would leave entries that no longer say that they were sent.
        done = self.folder.with_name(f"{self.folder.name}.sent")
        shutil.rmtree(done, ignore_errors=True)  # of an earlier kill
        with contextlib.suppress(OSError):
            self.folder.replace(done)
        shutil.rmtree(done, ignore_errors=True)
        self.close()
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()

    def _begin(self, entries: Sequence[Entry]) -> None:
        """Write the first line, before the whole ones of a journal whose first line is damaged, which is kept aside."""
        if self._size:
            aside = self.folder / f"{_ENTRIES}.damaged"
            with contextlib.suppress(OSError):
                shutil.copy(self.folder / _ENTRIES, aside)
            print(f"dlperf: the journal in {self.folder} is damaged and mended; as it was: {aside}", file=sys.stderr)
        else:
            (self.folder / _SENT).unlink(missing_ok=True)
        self._file.truncate(0)
        self._size = 0
        lines = [[entry.number, entry.kind, entry.content, entry.run_id] for entry in entries]
        for content in ({"format": _FORMAT, **vars(self.header)}, *lines):
            self._write(_line(content))

    def _write(self, line: bytes, *, sync: bool = False) -> None:
        self._unwritten.append(line)
        content = b"".join(self._unwritten)
        try:
            if self._file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if sync or time.monotonic() - self._synced > _SYNC_SECONDS:
                self._sync()
            elif self._sync_to_come is None:
                self._sync_to_come = threading.Timer(_SYNC_SECONDS, self._sync_unasked)
                self._sync_to_come.daemon = True
                self._sync_to_come.start()
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

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def _sync_unasked(self) -> None:
        """Make sure of what was written last, though nothing may follow it for long."""
        self._sync_to_come = None
        with contextlib.suppress(OSError, ValueError):  # it may have been closed since
            self._sync()


@dataclass(frozen=True)
class JournalOnDisk:
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
    for entries in sorted(state_dir.glob(f"*/journal/{_ENTRIES}")):
        try:
            with entries.open("rb") as file:
                header = _header(file.readline(), entries.parent)
        except OSError:  # it has been sent meanwhile
            continue
        except EnvironmentMissing as error:
            print(f"dlperf: {error}", file=sys.stderr)
            continue
        if header:
            yield entries.parent, header
        else:
            said = f"the journal in {entries.parent} is damaged: a start of run {entries.parents[1].name} mends it"
            print(f"dlperf: {said}", file=sys.stderr)


def on_disk(state_dir: Path) -> Iterator[JournalOnDisk]:
    """Read the journals below a folder of states, without opening them."""
    for folder, header in journals(state_dir):
        with contextlib.suppress(FileNotFoundError):  # it has been sent meanwhile
            _, entries, _ = _read(folder)
            sent = _sent(folder)
            waiting = [entry for entry in entries if entry.number > sent]
            ended = [entry.content["status"] for entry in waiting if entry.kind == "ended"]
            yield JournalOnDisk(folder, header, len(waiting), ended[-1] if ended else "", _is_held(folder))


def _line(content: Any) -> bytes:
    text = json.dumps(content).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read(folder: Path) -> tuple[Header | None, list[Entry], int]:
    """Return the header, the entries, and how many bytes of the file are whole lines."""
    content = (folder / _ENTRIES).read_bytes()
    size = content.rfind(b"\n") + 1
    entries = []
    lines = content[:size].splitlines()
    for place, line in enumerate(lines[1:], 1):
        said = _content(line)
        if said is None:
            print(f"dlperf: line {place} of the journal in {folder} is damaged and left out", file=sys.stderr)
            continue
        number, kind, told, run_id = said
        entries.append(Entry(kind, told, run_id, number))
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
    """Return the number of the last entry that was sent; 0, so that all are sent again, where that cannot be read."""
    try:
        return int(_content((folder / _SENT).read_bytes()) or 0)
    except OSError:
        return 0


def _lock(file: Any) -> None:
    """Hold a file.

    Raises:
        JournalHeld: Another process holds it.
    """
    for attempt in range(4):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if attempt == 3:
                file.close()
                raise JournalHeld from error
            time.sleep(0.05)  # somebody may be looking whether it is held
        except OSError:  # a file system without locks
            return
        else:
            return


def _is_held(folder: Path) -> bool:
    with (folder / _ENTRIES).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:  # it is, or the file system has no locks, so that it may be
            return True
    return False
