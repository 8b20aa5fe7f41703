"""The file of a SQLite store: whether runs can be logged into it, known in a moment, before anything heavy is imported.

MLflow tries ten times over 100 seconds to open a database that cannot be opened, and then says what SQLite said.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from dlperf.errors import EnvironmentMissing

_DEFAULT_FILE = "mlflow.db"
_SECONDS_LOCKED = 3.0  # another program's write takes a fraction of one
_NEW_STORE_BYTES = 2_000_000  # what MLflow's empty tables take, twice
_ELSEWHERE = "set MLFLOW_TRACKING_URI to a tracking server or to a store elsewhere"
_START_ELSEWHERE = f"start in another folder (cd), or {_ELSEWHERE}"


def file_of(uri: str) -> Path | None:
    """Return the file of a SQLite store; None for every other store, and for one in memory."""
    scheme, _, path = uri.partition(":///")
    path = path.partition("?")[0]
    if scheme.partition("+")[0] != "sqlite" or path in ("", ":memory:") or path.startswith("file:"):
        return None
    if "%" in path:  # whether that is a character or a code depends on SQLAlchemy's version
        from sqlalchemy.engine import make_url

        path = make_url(uri).database or ""
    return Path(path).absolute()


def named_store() -> str:
    """Return the store that the environment names, as MLflow does but for folders of runs, which it refuses."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(_DEFAULT_FILE).absolute()}"


def check_there(uri: str) -> None:
    """Verify that a store is there, where it is a file.

    Raises:
        EnvironmentMissing: If it is not.
    """
    file = file_of(uri)
    if file and not file.is_file():  # MLflow would make it
        raise EnvironmentMissing(
            f"the tracking server {uri} cannot be used: there is no such file; name the store that has the trials in "
            "MLFLOW_TRACKING_URI or tracking_uri"
        )


def check_file(uri: str) -> None:
    """Verify that runs can be logged into a store, where it is a file, or that MLflow can make it.

    Raises:
        EnvironmentMissing: If it cannot be made, written or read, or is locked or damaged.
    """
    file = file_of(uri)
    if file is None:
        return
    if os.path.lexists(file):
        if complaint := why_not_writable(file):
            raise EnvironmentMissing(str(complaint))
        return
    if why := why_no_new_file(file.parent, _NEW_STORE_BYTES):
        raise EnvironmentMissing(f"{why}; the tracking store {file} would be made there: {_START_ELSEWHERE}")
    # Where MLflow keeps the artifacts of a SQLite store's default experiment.
    if why := why_no_new_file(Path.cwd()):
        raise EnvironmentMissing(
            f"{why}; MLflow would keep the artifacts of the new store {file} there, in mlruns: start in another "
            "folder (cd), or set MLFLOW_TRACKING_URI to a tracking server or to a store that is there already"
        )


def why_no_new_file(folder: Path, size: int = 1) -> str:
    """Say why no file can be made in a folder, or in the nearest one above that exists; "" if one can.

    Args:
        folder: It need not exist.
        size: Bytes that have to fit.
    """
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            while size > 0:
                size -= probe.write(bytes(size))
    except OSError as error:
        return f"the folder {folder} cannot be written to ({error.strerror})"
    return ""


class Complaint(NamedTuple):
    """What keeps a database from being used.

    Attributes:
        reason: What is wrong.
        advice: What a user who wants to log runs there can do.
    """

    reason: str
    advice: str

    def __str__(self) -> str:
        """Both, for one line."""
        return f"{self.reason}: {self.advice}"


def why_not_writable(file: Path) -> Complaint | None:
    """Say why SQLite cannot write a database that is there; None if it can.

    A table is made and taken back: that needs a journal beside the file, and room for it, but leaves no byte changed.
    """
    try:
        with _opened(file, "rw", _SECONDS_LOCKED) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("CREATE TABLE dlperf_probe (x)")
            database.execute("ROLLBACK")
    except (sqlite3.Error, OSError) as error:
        return _why(file, error)
    return None


def _why(file: Path, error: Exception) -> Complaint:
    store = f"the tracking store {file}"
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what it extends
    if file.is_dir():
        return Complaint(f"{store} is a folder, and has to be a file", _ELSEWHERE)
    if code == sqlite3.SQLITE_BUSY:
        return Complaint(
            f"{store} is locked by another program, for more than {_SECONDS_LOCKED:.0f} seconds",
            f"end that (`fuser {file}` names it), or {_ELSEWHERE}",
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return Complaint(f"{store} is damaged, or no SQLite database ({error})", f"move it away, or {_ELSEWHERE}")
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        reason = f"{store} cannot be written to, its disk is full or fails ({error})"
        return Complaint(reason, f"make room there, or {_ELSEWHERE}")
    if not os.access(file, os.R_OK):
        return Complaint(f"{store} cannot be read (Permission denied)", _START_ELSEWHERE)
    if why := why_no_new_file(file.parent):
        return Complaint(f"{why}, and the tracking store {file.name} is in it", _START_ELSEWHERE)
    return Complaint(f"{store} cannot be written to ({error})", _START_ELSEWHERE)


@contextlib.contextmanager
def _opened(file: Path, mode: str, timeout: float) -> Iterator[sqlite3.Connection]:
    uri = f"file:{quote(str(file))}?mode={mode}"
    if mode == "ro" and _keeps_a_log(file) and not os.path.exists(f"{file}-wal"):
        uri += "&immutable=1"  # or SQLite would leave an empty log beside it, and fail where it cannot
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)) as database:
        yield database


def _keeps_a_log(file: Path) -> bool:
    """Whether a database writes ahead into a log (journal_mode WAL), by its header."""
    with file.open("rb") as content:
        return content.read(20)[18:] == b"\x02\x02"


def tables_and_revision(file: Path) -> tuple[set[str], str]:
    """Return the names of a database's tables, and the revision of MLflow's schema, "" if it has none.

    Raises:
        EnvironmentMissing: If it cannot be read.
    """
    try:
        with _opened(file, "ro", _SECONDS_LOCKED) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "alembic_version" not in tables:
                return tables, ""
            revisions = database.execute("SELECT version_num FROM alembic_version")
            return tables, next((revision for (revision,) in revisions), "")
    except (sqlite3.Error, OSError) as error:
        raise EnvironmentMissing(str(_why(file, error))) from error


def copy(file: Path, to: Path) -> None:
    """Copy a database as it stands, without a change to it.

    Raises:
        EnvironmentMissing: If it cannot be read, or there is no room for the copy.
    """
    try:
        with _opened(file, "ro", _SECONDS_LOCKED) as database, contextlib.closing(sqlite3.connect(to)) as target:
            database.backup(target)
    except (sqlite3.Error, OSError) as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise EnvironmentMissing(
                f"no room for a copy of {file} in {to.parent} ({error}): set TMPDIR to a folder on another disk"
            ) from error
        raise EnvironmentMissing(str(_why(file, error))) from error
