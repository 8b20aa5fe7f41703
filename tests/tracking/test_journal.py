"""The journal on disk: what is written is read, however it was torn, and sending it twice changes nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlperf.errors import EnvironmentMissing
from dlperf.tracking.delivery import deliver
from dlperf.tracking.journal import Entry, Header, Journal, JournalHeld, journals, on_disk
from dlperf.tracking.unsent import send_unsent
from tests.support.desk import eventually

HEADER = Header("run", "", "cutout m=4", "cutout", "sqlite:///mlflow.db")
SAID = st.lists(
    st.tuples(st.sampled_from(["tags", "params"]), st.dictionaries(st.text(max_size=5), st.text(max_size=20))),
    max_size=6,
)


def entries(said: list[tuple[str, Any]]) -> list[Entry]:
    return [Entry(kind, content, "run", number) for number, (kind, content) in enumerate(said, 1)]


def written(folder: Path, said: list[tuple[str, Any]]) -> Path:
    """Write a journal, and close it."""
    journal = Journal(folder, HEADER)
    for kind, content in said:
        journal.append(kind, content)
    journal.close()
    return folder


@settings(max_examples=100, deadline=None)
@given(SAID, st.data())
def test_a_torn_journal_gives_what_was_whole(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, Any]], data: st.DataObject
) -> None:
    folder = written(tmp_path_factory.mktemp("torn") / "journal", said)
    whole = (folder / "entries").read_bytes()
    first = whole.index(b"\n") + 1
    cut = data.draw(st.integers(first, len(whole)))
    (folder / "entries").write_bytes(whole[:cut])
    journal = Journal(folder)
    expected = entries(said)[: whole[first:cut].count(b"\n")]
    assert (journal.header, list(journal.waiting)) == (HEADER, expected)
    journal.append("tags", {"further": "1"})
    journal.close()
    with contextlib.closing(Journal(folder)) as journal:
        assert list(journal.waiting) == [*expected, Entry("tags", {"further": "1"}, "run", len(expected) + 1)]


@settings(max_examples=100, deadline=None)
@given(SAID.filter(bool), st.data())
def test_a_flipped_bit_costs_one_entry_and_is_told(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, Any]], data: st.DataObject
) -> None:
    folder = written(tmp_path_factory.mktemp("flipped") / "journal", said)
    whole = bytearray((folder / "entries").read_bytes())
    places = [n for n in range(whole.index(b"\n") + 1, len(whole)) if whole[n] != ord("\n")]
    place, bit = data.draw(st.sampled_from(places)), data.draw(st.sampled_from([1, 2, 4, 16, 32, 64, 128]))
    whole[place] ^= bit
    (folder / "entries").write_bytes(whole)
    number = whole[:place].count(b"\n")
    expected = [entry for entry in entries(said) if entry.number != number]
    with contextlib.closing(Journal(folder)) as journal:
        assert list(journal.waiting) == expected


def test_no_flipped_bit_lets_more_count_as_sent(tmp_path: Path) -> None:
    folder = written(tmp_path / "journal", [("tags", {"a": "1"}), ("tags", {"b": "2"})])
    with contextlib.closing(Journal(folder)) as journal:
        journal.mark(1)
        assert [entry.number for entry in journal.waiting] == [2]
    sent = bytearray((folder / "sent").read_bytes())
    for place in range(len(sent) - 1):  # without the end of the line
        for bit in range(8):
            sent[place] ^= 1 << bit
            (folder / "sent").write_bytes(sent)
            with contextlib.closing(Journal(folder)) as journal:
                assert [entry.number for entry in journal.waiting] == [1, 2]
            sent[place] ^= 1 << bit


def test_the_last_entry_is_made_sure_of_though_nothing_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_sure = []
    fsync = os.fsync
    with contextlib.closing(Journal(tmp_path / "journal", HEADER)) as journal:
        monkeypatch.setattr(os, "fsync", lambda number: (made_sure.append(time.monotonic()), fsync(number)))
        journal.append("tags", {"a": "1"})
        journal.append("tags", {"b": "2"})
        said = time.monotonic()
        eventually(lambda: any(moment > said for moment in made_sure))
        assert len(made_sure) <= 2


def test_what_an_earlier_kill_left_of_a_sent_journal_goes_too(tmp_path: Path) -> None:
    folder = written(tmp_path / "run" / "journal", [("tags", {"a": "1"})])
    (tmp_path / "run" / "journal.sent").mkdir()
    (tmp_path / "run" / "journal.sent" / "entries").write_text("left")
    Journal(folder).remove()
    assert not (tmp_path / "run").exists()


def test_a_journal_has_one_owner(tmp_path: Path) -> None:
    folder = written(tmp_path / "run" / "journal", [("tags", {"a": "b"})])
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    (seen,) = on_disk(tmp_path)
    assert (seen.held, seen.waiting, seen.ended) == (True, 1, "")
    with pytest.raises(JournalHeld):
        Journal(folder)
    with pytest.raises(JournalHeld):
        send_unsent(mlflow.MlflowClient(), folder)
    holder.communicate("")
    (seen,) = on_disk(tmp_path)
    assert not seen.held
    Journal(folder).close()


HOLDS = """
import sys
from pathlib import Path
from dlperf.tracking.journal import Journal
journal = Journal(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def test_a_full_disk_is_told_once_and_written_later(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = small_disk / "run" / "journal"
    journal = Journal(folder, HEADER)
    fill = small_disk / "fill"
    with fill.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    for number in range(100):
        journal.append("tags", {f"tag {number}": "x" * 100})
    assert capsys.readouterr().err.count("cannot be written (No space left on device)") == 1
    assert len(journal.waiting) == 100
    fill.unlink()
    journal.append("tags", {"last": "y"})
    journal.close()
    assert [next(iter(entry.content)) for entry in Journal(folder).waiting] == [f"tag {n}" for n in range(100)] + [
        "last"
    ]


def test_what_is_not_a_journal_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.mkdir()
    (folder / "entries").write_bytes(b"no journal\n")
    with pytest.raises(EnvironmentMissing, match="does not say of which run it is"):
        Journal(folder)
    later = written(tmp_path / "later", [])
    first, *_ = (later / "entries").read_bytes().splitlines()
    text = first.partition(b" ")[2].replace(b'"format": 1', b'"format": 9')
    (later / "entries").write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
    with pytest.raises(EnvironmentMissing, match="has format 9, this dlperf reads 1"):
        Journal(later)


def test_a_damaged_first_line_costs_no_entry_and_nothing_new_counts_as_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path / "run" / "journal", [("tags", {"a": "1"}), ("tags", {"b": "2"})])
    with contextlib.closing(Journal(folder)) as journal:
        journal.mark(1)
    content = bytearray((folder / "entries").read_bytes())
    content[20] ^= 1
    (folder / "entries").write_bytes(content)
    assert not list(journals(tmp_path))
    assert "is damaged: a start of run run mends it" in capsys.readouterr().err
    with contextlib.closing(Journal(folder, HEADER)) as journal:
        journal.append("tags", {"c": "3"})
    assert "is damaged and mended; as it was: " in capsys.readouterr().err
    assert (folder / "entries.damaged").read_bytes() == content
    with contextlib.closing(Journal(folder)) as journal:
        assert list(journal.waiting) == [Entry("tags", {"b": "2"}, "run", 2), Entry("tags", {"c": "3"}, "run", 3)]


def test_a_journal_of_another_format_stops_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "good" / "journal", [])
    later = written(tmp_path / "later" / "journal", [])
    text = (later / "entries").read_bytes().partition(b" ")[2].rstrip().replace(b'"format": 1', b'"format": 9')
    (later / "entries").write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
    assert [folder.parent.name for folder, _ in journals(tmp_path)] == ["good"]
    assert "has format 9" in capsys.readouterr().err


def test_what_is_refused_for_good_holds_up_nothing_after_it(
    tmp_path: Path, empty_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(empty_database, tmp_path)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run, gone = (client.create_run("0").info.run_id for _ in range(2))
    client.log_param(run, "m", "4")
    journal = Journal(tmp_path / "journal", Header(run, "", "", "cutout", ""))
    journal.append("params", {"m": "7"})
    journal.append("ended", {"status": "FINISHED", "time": 5})
    journal.close()
    assert send_unsent(client, tmp_path / "journal") == 2
    assert client.get_run(run).info.status == "FINISHED"
    assert f"refuses params of run {run}" in capsys.readouterr().err

    client.delete_run(gone)
    folder = written(tmp_path / "gone", [])
    shutil.rmtree(folder)
    with contextlib.closing(Journal(folder, Header(gone, "", "", "cutout", ""))) as journal:
        journal.append("tags", {"a": "b"})
    with pytest.raises(EnvironmentMissing, match=f"bring it back with `mlflow runs restore --run-id {gone}`"):
        send_unsent(client, folder)
    client.restore_run(gone)
    assert send_unsent(client, folder) == 1


def test_artifacts_wait_elsewhere_where_the_disk_of_the_journal_is_full(small_disk: Path, tmp_path: Path) -> None:
    journal = Journal(small_disk / "journal", HEADER)
    made = tmp_path / "made"
    made.mkdir()
    (made / "large").write_bytes(bytes(8_000_000))
    with contextlib.closing(journal):
        assert journal.take_files(made) == str(made)
        journal.append("files", {"folder": str(made)})
        journal.mark(1)
        assert not made.exists()


def test_entries_sent_but_not_marked_are_in_the_store_once(tmp_path: Path, empty_database: Path) -> None:
    """Killed fifty times between sending and marking."""
    shutil.copy(empty_database, tmp_path)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run = client.create_run("0").info.run_id
    journal = Journal(tmp_path / "journal", Header(run, "", "", "cutout", ""))
    for epoch in range(1, 101):
        journal.append("metrics", [["train_loss", 1 / epoch, 1000 + epoch, epoch], ["epoch_seconds", 0.5, 1, epoch]])
        if epoch % 10 == 0:
            journal.append("tags", {"epoch": str(epoch)})
    journal.append("data", {"name": "digits", "digest": "abc", "source": "embedded", "splits": {"train": 3}})
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a.txt").write_text("a")
    journal.append("files", {"folder": journal.take_files(tmp_path / "made")})
    journal.append("ended", {"status": "FINISHED", "time": 5})
    journal.close()
    for kill in range(50):
        journal = Journal(tmp_path / "journal")
        count = deliver(client, list(journal.waiting)[: kill % 7 + 1], journal.folder)
        if kill % 3:  # else killed here
            journal.mark(count)
        journal.close()
    assert send_unsent(client, tmp_path / "journal")
    assert not (tmp_path / "journal").exists()
    for name, values in (("train_loss", [1 / n for n in range(1, 101)]), ("epoch_seconds", [0.5] * 100)):
        points = client.get_metric_history(run, name)
        assert sorted((point.step, point.value) for point in points) == list(enumerate(values, 1))
    logged = client.get_run(run)
    assert (logged.info.status, logged.data.tags["epoch"], len(logged.inputs.dataset_inputs)) == ("FINISHED", "100", 1)
    assert [file.path for file in client.list_artifacts(run)] == ["a.txt"]


def test_a_run_that_was_taken_for_killed_has_no_failure_once_its_end_is_sent(empty_database: Path) -> None:
    """A start with another DLPERF_STATE_DIR does not find the journal, and ends the run."""
    client = mlflow.MlflowClient(f"sqlite:///{empty_database}")
    run = client.create_run("0").info.run_id
    client.set_tag(run, "dlperf.failure", "its process was killed")
    client.set_terminated(run, "KILLED")
    for entry in entries([("tags", {"dlperf.ended": "finished"}), ("ended", {"status": "FINISHED", "time": 5})]):
        deliver(client, [replace(entry, run_id=run)], Path())
    ended = client.get_run(run)
    assert (ended.info.status, ended.data.tags["dlperf.ended"]) == ("FINISHED", "finished")
    assert "dlperf.failure" not in ended.data.tags
