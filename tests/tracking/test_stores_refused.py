"""Stores that cannot be used: one line, exit status 3, at once, and nothing left behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlperf.entry_points import PROBLEMS
from dlperf.errors import EnvironmentMissing
from dlperf.tracking import database_file
from tests.support.desk import ROOT

TRAININGS = ("main", *PROBLEMS)
# Whoever is root writes anywhere but for these capabilities.
AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
needs_setpriv = pytest.mark.skipif(
    bool(AS_ANYBODY) and shutil.which("setpriv") is None, reason="root needs setpriv to be refused anything"
)


def line_of(uri: str) -> str:
    """The line of a store that is refused; it comes within five seconds."""
    begun = time.monotonic()
    with pytest.raises(EnvironmentMissing) as raised:
        database_file.check_file(uri)
    assert time.monotonic() - begun < 5
    return str(raised.value)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A SQLite database that is no store yet."""
    file = tmp_path / "mlflow.db"
    with contextlib.closing(sqlite3.connect(file)) as made:
        made.executescript("CREATE TABLE runs (x); INSERT INTO runs VALUES (1)")
    return file


def test_a_database_that_can_be_written_keeps_its_bytes(database: Path) -> None:
    before = hashlib.sha256(database.read_bytes()).hexdigest()
    database_file.check_file(f"sqlite:///{database}")
    assert hashlib.sha256(database.read_bytes()).hexdigest() == before
    assert list(database.parent.iterdir()) == [database]


def test_a_store_that_is_yet_to_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In folders that MLflow makes; nothing is made by asking."""
    monkeypatch.chdir(tmp_path)
    for uri in ("sqlite:///mlflow.db", f"sqlite:///{tmp_path}/deep/er/mlflow.db", "sqlite://", "http://host:5000"):
        database_file.check_file(uri)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc is one for everybody, root too."""
    line = line_of("sqlite:////proc/deep/mlflow.db")
    assert line.startswith("the folder /proc cannot be written to (")
    assert "the tracking store /proc/deep/mlflow.db would be made there: start in another folder (cd), or set " in line
    assert "MLFLOW_TRACKING_URI" in line
    monkeypatch.chdir("/proc")
    assert line_of("sqlite:///mlflow.db").startswith("the folder /proc cannot be written to (")
    line = line_of(f"sqlite:///{tmp_path}/mlflow.db")  # the artifacts of a new store go to where it is made
    assert line.startswith("the folder /proc cannot be written to (")
    assert "in mlruns: start in another folder (cd)" in line


def test_a_locked_database(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "is locked by another program, for more than 3 seconds: end that (`fuser " in line_of(
            f"sqlite:///{database}"
        )


def test_a_write_of_another_program_is_waited_for(database: Path) -> None:
    other = sqlite3.connect(database, check_same_thread=False, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    threading.Timer(1, other.rollback).start()
    database_file.check_file(f"sqlite:///{database}")
    other.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda file: file.mkdir(), "is a folder, and has to be a file"),
        (
            lambda file: file.write_bytes(os.urandom(100_000)),
            "is damaged, or no SQLite database (file is not a database)",
        ),
        (lambda file: file.symlink_to("nowhere/at/all"), "cannot be"),
    ],
    ids=["a folder", "noise", "a link that leads nowhere"],
)
def test_what_is_no_database(tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    file = tmp_path / "mlflow.db"
    make(file)
    line = line_of(f"sqlite:///{file}")
    assert line.startswith(f"the tracking store {file} ")
    assert message in line
    assert "MLFLOW_TRACKING_URI" in line


def test_a_database_that_lost_its_end(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as made:
        made.executescript("CREATE TABLE many (x); INSERT INTO many VALUES (zeroblob(100000))")
    os.truncate(database, 20_000)
    assert "is damaged, or no SQLite database (database disk image is malformed)" in line_of(f"sqlite:///{database}")


def test_a_full_disk(small_disk: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(database, small_disk / "there.db")
    with contextlib.suppress(OSError), (small_disk / "fill").open("wb", buffering=0) as fill:
        while True:
            fill.write(bytes(4096))
    line = line_of(f"sqlite:///{small_disk}/there.db")
    assert "cannot be written to, its disk is full or fails (" in line
    assert "make room there" in line
    line = line_of(f"sqlite:///{small_disk}/new.db")
    assert line.startswith(f"the folder {small_disk} cannot be written to (No space left on device)")


@needs_setpriv
@pytest.mark.parametrize("mode", [0o444, 0o000])
def test_a_file_that_may_not_be_written_or_read(database: Path, mode: int) -> None:
    database.chmod(mode)
    said = "cannot be read (Permission denied)" if not mode else "cannot be written to (attempt to write a readonly"
    status, line = as_anybody("cutout", database.parent)
    assert status == 3
    assert line.startswith(f"dlperf cutout: the tracking store {database} {said}")


@needs_setpriv
@pytest.mark.parametrize("name", TRAININGS)
def test_every_entry_point_ends_at_once_in_a_folder_it_may_not_write(name: str, tmp_path: Path) -> None:
    """Before anything heavy is imported, and before any data are read."""
    folder = tmp_path / "another's"
    folder.mkdir(mode=0o555)
    begun = time.process_time(), os.times().children_user
    status, line = as_anybody(name, folder)
    assert os.times().children_user - begun[1] < 5  # seconds of a processor: the machine may be busy
    assert status == 3
    assert line == (
        f"dlperf {name}: the folder {folder} cannot be written to (Permission denied); the tracking store "
        f"{folder}/mlflow.db would be made there: start in another folder (cd), or set MLFLOW_TRACKING_URI to a "
        "tracking server or to a store elsewhere"
    )


@needs_setpriv
def test_compare_needs_a_store_and_says_so_at_once(tmp_path: Path) -> None:
    status, line = as_anybody("compare", tmp_path)
    assert status == 3
    assert line.startswith(
        f"dlperf compare: the tracking server sqlite:///{tmp_path}/mlflow.db cannot be used: there is no"
    )
    assert not list(tmp_path.iterdir())


@needs_setpriv
def test_what_logs_no_run_needs_no_store(tmp_path: Path) -> None:
    folder = tmp_path / "another's"
    folder.mkdir(mode=0o555)
    status, line = as_anybody("architectures", folder, "--subject", "alexnet", "--dry_run", "true")
    assert status == 0, line


def as_anybody(name: str, folder: Path, *arguments: str) -> tuple[int, str]:
    """Start an entry point in a folder, as one whom modes hold; return its status and its one line."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")} | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [*AS_ANYBODY, sys.executable, str(ROOT / "entrypoints" / f"{name}.py"), *arguments]
    done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stderr.strip()
