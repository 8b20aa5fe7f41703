"""Writers of one archive: they take turns, replace no file, and may be killed at any moment."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlperf.archive import folder as archive_folder
from dlperf.archive.folder import Archive, opened, opened_to_add
from tests.support.archives import archived as trial
from tests.support.desk import Desk

SWEEP = "5" * 32
# Adds trials to sweeps of its own and to those that another writer adds to as well.
WRITER = """
import sys
from pathlib import Path
from dlperf.archive.folder import opened_to_add
from tests.support.archives import archived
archive = opened_to_add(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    archive.add([archived(f"{name}{number}", sweep=f"{number:032}") for name in (sys.argv[2], "both")])
    print(number, flush=True)
"""


def test_parts_are_never_rewritten(tmp_path: Path) -> None:
    archive = Archive("new", tmp_path)
    assert archive.add([trial("a1")]) == 1
    first = tmp_path / "cutout-555555555555.parquet"
    before = first.read_bytes()
    assert archive.add([trial("a1"), trial("a2")]) == 1  # the sweep went on
    assert archive.add([trial("a2")]) == 0
    assert first.read_bytes() == before
    again = opened("archive", str(tmp_path))
    assert [t.run_id for t in again.trials()] == ["a1", "a2"]
    assert (len(again), list(again.trials("scaling"))) == (2, [])
    assert {path.name for path in tmp_path.iterdir()} == {
        *(first.name, "cutout-555555555555-2.parquet", "index.json", ".lock"),
    }


def test_a_file_that_no_index_lists_is_not_replaced(tmp_path: Path) -> None:
    mine = {"cutout-555555555555.parquet": "mine", "cutout-555555555555-2.parquet": "mine too"}
    for name, text in mine.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "cutout-555555555555-3.parquet").symlink_to("nowhere")
    opened_to_add(tmp_path).add([trial()])
    assert {name: (tmp_path / name).read_text() for name in mine} == mine
    assert not (tmp_path / "nowhere").exists()
    (part,) = json.loads((tmp_path / "index.json").read_text())["parts"]
    assert part["file"] == "cutout-555555555555-4.parquet"
    assert list(opened("archive", str(tmp_path)).trials()) == [trial()]


def test_two_that_opened_an_archive_at_once_damage_nothing(tmp_path: Path) -> None:
    one, other = opened_to_add(tmp_path), opened_to_add(tmp_path)
    assert one.add([trial("a1"), trial("a2")]) == 2
    assert other.add([trial(f"a{number}") for number in range(1, 5)]) == 2  # the others are there by now
    assert one.add([trial("x", sweep="6" * 32)]) == 1
    assert [t.run_id for t in opened("archive", str(tmp_path)).trials()] == ["a1", "a2", "a3", "a4", "x"]


def test_an_archive_that_was_being_added_to_stays_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive("new", tmp_path)
    archive.add([trial("a1")])
    before = {path.name for path in tmp_path.iterdir()}
    monkeypatch.setattr(archive_folder.json, "dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        archive.add([trial("a2", sweep="6" * 32)])
    assert [t.run_id for t in opened("archive", str(tmp_path)).trials()] == ["a1"]
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("wrong", [{"problem": "chess"}, {"tags": {}}, {"name": ""}])
def test_what_reading_refuses_is_not_written(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"its (problem|tag|name) "):
        Archive("new", tmp_path).add([trial("a1"), trial("a2", **wrong)])
    with pytest.raises(ValueError, match="the trials are not of one sweep"):
        Archive("new", tmp_path).add([trial("a1"), trial("a2", sweep="6" * 32)])
    assert not list(tmp_path.iterdir())


def writer(folder: Path, name: str, parts: int) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), name, str(parts)],
        **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE},
        text=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "open\n"
    return started


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_processes_take_turns(tmp_path: Path) -> None:
    writers = [writer(tmp_path, name, 15) for name in ("one", "other")]
    for each in writers:
        go(each)
    for each in writers:
        each.communicate(timeout=60)
        assert each.returncode == 0
    runs = sorted(t.run_id for t in opened("archive", str(tmp_path)).trials())
    assert runs == sorted(f"{name}{number}" for name in ("one", "other", "both") for number in range(15))


@pytest.mark.parametrize("seconds", [0.0, 0.003, 0.01, 0.03, 0.06])
def test_a_writer_that_is_killed_leaves_an_archive_that_reads_and_no_lock(tmp_path: Path, seconds: float) -> None:
    killed = writer(tmp_path, "killed", 10_000)
    go(killed)
    assert killed.stdout is not None
    killed.stdout.readline()  # the first part
    time.sleep(seconds)
    killed.kill()
    output, _ = killed.communicate(timeout=20)
    told = 1 + len(output.splitlines()) - (not output.endswith("\n") and bool(output))
    there = {t.run_id for t in opened("archive", str(tmp_path)).trials()}
    assert there >= {f"killed{number}" for number in range(told)}
    began = time.monotonic()
    assert opened_to_add(tmp_path).add([trial("after", sweep="6" * 32)]) == 1
    assert time.monotonic() - began < 5
    assert {t.run_id for t in opened("archive", str(tmp_path)).trials()} == {*there, "after"}
    assert not list(tmp_path.glob(".writing-*"))


def test_who_waits_for_long_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys, time, pathlib; from dlperf.locks import held\n"
         "with held(pathlib.Path(sys.argv[1]), ''): print('held', flush=True); time.sleep(2)", str(tmp_path / ".lock")],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    holder.stdout.readline()
    assert opened_to_add(tmp_path).add([trial()]) == 1
    assert holder.wait(10) == 0
    assert capfd.readouterr().err == f"waiting for another process that adds to the archive {tmp_path}\n"


@pytest.mark.slow
def test_two_imports_make_every_run_once(tmp_path: Path, desk: Desk) -> None:
    """By the second, the store has what the first has made."""
    Archive("new", tmp_path).add([trial(f"{number:032}") for number in range(12)])
    command = [sys.executable, "-m", "dlperf", "archive", "--import", str(tmp_path)]
    imports = [desk.popen(command) for _ in range(2)]
    said = [each.communicate(timeout=120)[0] for each in imports]
    assert [each.returncode for each in imports] == [0, 0], said
    assert sorted(line.split()[0] for output in said for line in output.splitlines() if "runs made" in line) == [
        "0",
        "12",
    ]
    assert len(desk.client.search_runs(["0"], "tags.`dlperf.role` = 'trial'")) == 12
