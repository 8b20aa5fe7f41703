"""`compare` on stores of an older MLflow: their schema is not changed, unless that is asked for."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import mlflow
import pytest

from dlperf.cli import entry_point
from dlperf.tracking import database_file, schema
from tests.support import older_stores, postgres
from tests.support.empty_store import make_store
from tests.support.made_trials import insert, made

pytestmark = pytest.mark.slow

Start = Callable[..., tuple[int, str, str]]
ASKED = ["--problem", "cutout", "--curves", "false"]


@pytest.fixture(scope="module")
def current(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of today, with twelve trials."""
    file = tmp_path_factory.mktemp("current") / "mlflow.db"
    make_store(file)
    insert(str(file), [made("cutout", number) for number in range(12)])
    return file


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Start:
    """Starts `compare` in this process, in a folder of its own."""
    for name in ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(uri: str, *arguments: str) -> tuple[int, str, str]:
        status = entry_point("compare", [*ASKED, *arguments, "--tracking_uri", uri])
        return (status, *capfd.readouterr())

    return run


def bytes_of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module", params=[older_stores.MLFLOW_2_0, older_stores.ONE_BEFORE])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, current: Path) -> Path:
    """A store of an older MLflow, with the same trials; for `old` to copy."""
    file = tmp_path_factory.mktemp("kept") / "mlflow.db"
    older_stores.older(current, file, request.param)
    return file


@pytest.fixture
def old(kept: Path, tmp_path: Path) -> Path:
    """A store of an older MLflow, with the same trials."""
    folder = tmp_path / "old store"
    folder.mkdir()
    return shutil.copy(kept, folder / "mlflow.db")


def test_a_migrated_copy_is_compared(start: Start, old: Path, current: Path, tmp_path: Path) -> None:
    """The file keeps its bytes, the tables are those of a store of today, and no run is logged."""
    before = bytes_of(old.parent)
    status, output, errors = start(f"sqlite:///{old}", "--output", str(tmp_path / "out"))
    assert status == 0, errors
    assert bytes_of(old.parent) == before
    (line,) = errors.strip().splitlines()
    assert line.startswith(f"dlperf compare: sqlite:///{old} has an older schema (")
    assert line.endswith(
        "a migrated copy is compared, and the file stays as it is; the comparison is no run of a store, "
        f"its tables are here and in {tmp_path / 'out'}"
    )
    assert "cutout: 12 finished trials in 1 setting" in output
    assert not list((tmp_path / "here").iterdir())
    shutil.copy(current, tmp_path / "today.db")
    assert start(f"sqlite:///{tmp_path}/today.db", "--output", str(tmp_path / "today"))[0] == 0
    for file in (tmp_path / "today" / "cutout" / "tables").iterdir():
        assert file.read_bytes() == (tmp_path / "out" / "cutout" / "tables" / file.name).read_bytes(), file.name
    assert (tmp_path / "today" / "report.md").read_text() == (tmp_path / "out" / "report.md").read_text()


def test_the_run_goes_to_another_store_that_is_named(
    start: Start, old: Path, current: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not to one that MLflow would upgrade; and a store is the same by whatever path."""
    before = bytes_of(old.parent)
    shutil.copy(old, tmp_path / "another old.db")
    (tmp_path / "link").symlink_to(old)
    for uri in (f"sqlite:///{tmp_path}/link", f"sqlite:///{tmp_path}/another old.db"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        status, _, errors = start(f"sqlite:///{old}")
        assert (status, "the comparison is no run of a store, its tables are here alone" in errors) == (0, True)
    assert hashlib.sha256((tmp_path / "another old.db").read_bytes()).hexdigest() == before["mlflow.db"]
    make_store(tmp_path / "new.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new.db")
    status, output, errors = start(f"sqlite:///{old}")
    assert status == 0, errors
    assert f"the comparison's run goes to sqlite:///{tmp_path}/new.db" in errors
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/new.db")
    (run,) = client.search_runs([client.get_experiment_by_name("dlperf/compare").experiment_id])
    assert (run.data.tags["dlperf.role"], run.info.status) == ("comparison", "FINISHED")
    assert f"run {run.info.run_id}" in output
    assert bytes_of(old.parent) == before


def test_upgrade_lets_mlflow_change_it(start: Start, old: Path) -> None:
    status, output, errors = start(f"sqlite:///{old}", "--upgrade", "true")
    assert status == 0, errors
    assert "a migrated copy" not in errors
    assert not schema.Schema(f"sqlite:///{old}").older
    client = mlflow.MlflowClient(f"sqlite:///{old}")
    runs = client.search_runs([client.get_experiment_by_name("dlperf/compare").experiment_id])
    assert [run.data.tags["dlperf.role"] for run in runs].count("comparison") == 1
    assert "cutout: 12 finished trials" in output


def test_nothing_found_in_an_older_store_names_it(start: Start, old: Path) -> None:
    status, _, errors = start(f"sqlite:///{old}", "--filter", "params.m = '3'")
    assert status == 1
    assert f"no finished trial of cutout with params.m = '3' at sqlite:///{old}; there are: 12 runs of cutout" in errors


def test_a_run_in_an_older_store_needs_the_upgrade(
    start: Start, old: Path, current: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLFLOW_RUN_ID, set by hand: `mlflow run` has upgraded the store by then."""
    before = bytes_of(old.parent)
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{old}")
    status, _, errors = start(f"sqlite:///{current}")
    assert (status, "set upgrade=true, or leave MLFLOW_RUN_ID out" in errors) == (3, True)
    assert bytes_of(old.parent) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE alembic_version SET version_num = 'fffffffffff1'", "was written by a newer MLflow than"),
        ("DROP TABLE runs; DROP TABLE experiments", "is no store of MLflow: none of its tables is there"),
    ],
)
def test_what_is_no_store_for_this_mlflow(
    start: Start, current: Path, tmp_path: Path, change: str, message: str
) -> None:
    file = tmp_path / "odd" / "mlflow.db"
    file.parent.mkdir()
    shutil.copy(current, file)
    with closing(sqlite3.connect(file)) as database:
        database.executescript(change)
    before = bytes_of(file.parent)
    status, _, errors = start(f"sqlite:///{file}")
    assert (status, message in errors, len(errors.splitlines())) == (3, True, 1)
    assert bytes_of(file.parent) == before


def test_a_store_that_writes_ahead_into_a_log_is_left_alone(start: Start, old: Path) -> None:
    """Reading one the usual way would leave two files beside it."""
    with closing(sqlite3.connect(old)) as database:
        database.execute("PRAGMA journal_mode = WAL")
    before = bytes_of(old.parent)
    assert start(f"sqlite:///{old}")[0] == 0
    assert bytes_of(old.parent) == before


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if reason := postgres.why_not():
        pytest.skip(reason)
    with postgres.running() as uri:
        older_stores.make(uri, older_stores.MLFLOW_2_0)
        yield uri


@pytest.mark.postgres
def test_a_database_of_a_server_is_upgraded_only_when_asked(start: Start, server: str) -> None:
    from sqlalchemy import create_engine, inspect

    def tables() -> set[str]:
        return set(inspect(create_engine(server)).get_table_names())

    before = tables()
    status, _, errors = start(server)
    assert status == 3
    (line,) = errors.strip().splitlines()
    assert " has an older schema (cc1f77228345; MLflow " in line
    assert line.endswith("back it up and set upgrade=true, or compare through its own tracking server")
    assert ("password" in line, tables()) == (False, before)
    status, _, errors = start(server, "--upgrade", "true")
    assert (status, "there are: no run of dlperf" in errors) == (1, True)
    assert before < tables()
    assert not schema.Schema(server).older


def test_a_file_that_cannot_be_written_is_compared_too(
    start: Start, current: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = database_file.Complaint("the tracking store cannot be written to", "advice for those who train")
    monkeypatch.setattr(database_file, "why_not_writable", lambda _: refused)
    before = bytes_of(current.parent)
    with monkeypatch.context() as copied:  # of the copy MLflow makes a store, which is asked too
        copied.setattr(database_file, "check_file", lambda _: None)
        status, output, errors = start(f"sqlite:///{current}")
    assert (status, "cutout: 12 finished trials" in output) == (0, True), errors
    assert "the tracking store cannot be written to: a copy is compared, and the file stays as it is; " in errors
    assert bytes_of(current.parent) == before
