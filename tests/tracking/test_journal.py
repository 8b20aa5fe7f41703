"""The journal on disk: what is written is read, however it was torn, and sending it twice changes nothing."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlperf.errors import EnvironmentMissing
from dlperf.tracking.delivery import deliver
from dlperf.tracking.journal import Entry, Header, Journal, JournalHeld, kept
from dlperf.tracking.kept import send_kept

HEADER = Header("run", "", "cutout m=4", "cutout", "sqlite:///mlflow.db")
SAID = st.lists(
    st.tuples(st.sampled_from(["tags", "params"]), st.dictionaries(st.text(max_size=5), st.text(max_size=20))),
    max_size=6,
)


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
    expected = [Entry(kind, content, "run") for kind, content in said][: whole[first:cut].count(b"\n")]
    assert (journal.header, list(journal.waiting)) == (HEADER, expected)
    journal.append("tags", {"further": "1"})
    journal.close()
    assert list(Journal(folder).waiting) == [*expected, Entry("tags", {"further": "1"}, "run")]


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
    if ord("\n") == whole[place]:
        return  # a line more, which is another fault
    (folder / "entries").write_bytes(whole)
    number = whole[:place].count(b"\n") - 1
    expected = [Entry(kind, content, "run") for kind, content in said]
    expected[number] = Entry("damaged", None, "")
    with contextlib.closing(Journal(folder)) as journal:
        assert list(journal.waiting) == expected


def test_a_journal_has_one_owner(tmp_path: Path) -> None:
    folder = written(tmp_path / "run" / "journal", [("tags", {"a": "b"})])
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    (seen,) = kept(tmp_path)
    assert (seen.held, seen.waiting, seen.ended) == (True, 1, "")
    with pytest.raises(JournalHeld):
        Journal(folder)
    assert send_kept(mlflow.MlflowClient(), folder) is None
    holder.communicate("")
    (seen,) = kept(tmp_path)
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
    import zlib

    text = first.partition(b" ")[2].replace(b'"format": 1', b'"format": 9')
    (later / "entries").write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
    with pytest.raises(EnvironmentMissing, match="has format 9, this dlperf reads 1"):
        Journal(later)


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
    files = journal.new_files()
    (files / "a.txt").write_text("a")
    journal.append("files", {"folder": str(files.relative_to(journal.folder))})
    journal.append("ended", {"status": "FINISHED", "time": 5})
    journal.close()
    for kill in range(50):
        journal = Journal(tmp_path / "journal")
        count = deliver(client, list(journal.waiting)[: kill % 7 + 1], journal.folder)
        if kill % 3:  # else killed here
            journal.mark(count)
        journal.close()
    assert send_kept(client, tmp_path / "journal") is not None
    assert not (tmp_path / "journal").exists()
    for name, values in (("train_loss", [1 / n for n in range(1, 101)]), ("epoch_seconds", [0.5] * 100)):
        points = client.get_metric_history(run, name)
        assert sorted((point.step, point.value) for point in points) == list(enumerate(values, 1))
    logged = client.get_run(run)
    assert (logged.info.status, logged.data.tags["epoch"], len(logged.inputs.dataset_inputs)) == ("FINISHED", "100", 1)
    assert [file.path for file in client.list_artifacts(run)] == ["a.txt"]
