"""Folders that are made: their names are on the disk before anything that lies in them is relied on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from dlperf import folders
from dlperf.tracking.journal import Header, Journal
from dlperf.training import checkpoint


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was waited for, in its order."""
    paths: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda number: paths.append(Path(os.readlink(f"/proc/self/fd/{number}"))))
    return paths


def test_each_new_folder_is_waited_for_in_the_one_above_it_once(tmp_path: Path, synced: list[Path]) -> None:
    for _ in range(2):
        folders.make_lasting(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]


def test_states_journals_and_waiting_artifacts_in_new_folders_are_on_the_disk(
    tmp_path: Path, synced: list[Path]
) -> None:
    run = tmp_path / "state" / "run"
    checkpoint.save(run / "state.npz", {"weights": np.zeros(3)}, {})
    assert [path.name for path in synced[:2]] == [tmp_path.name, "state"]
    assert synced[-1] == run
    assert synced[-2].suffix == ".partial"
    del synced[:]
    journal = Journal(run / "journal", Header("run", "", "cutout", "cutout", "sqlite:///mlflow.db"))
    assert synced[:2] == [run, run / "journal"]
    made = tmp_path / "made" / "tables"
    made.mkdir(parents=True)
    (made / "cutout.csv").touch()
    own = run / "journal" / journal.take_files(made.parent)
    assert {own, own.parent, own / "tables", own / "tables" / "cutout.csv", run / "journal"} <= set(synced)


def test_a_file_system_that_cannot_wait_for_a_folder_is_no_reason_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(number: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    code = errno.EINVAL
    folders.make_lasting(tmp_path / "a")
    code = errno.EIO
    with pytest.raises(OSError, match="Input/output error"):
        folders.make_lasting(tmp_path / "b")
