from __future__ import annotations

import os
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlperf.errors import TrialFailed
from dlperf.training import checkpoint

arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int64]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
names = st.text("abcdefgh_0123", min_size=1, max_size=8)


@given(st.dictionaries(names, arrays, max_size=4), st.dictionaries(names, st.floats(allow_nan=False), max_size=4))
def test_what_is_saved_is_loaded_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, saved: dict[str, np.ndarray], record: dict[str, float]
) -> None:
    path = tmp_path_factory.mktemp("state") / "run" / "state.npz"
    checkpoint.save(path, saved, record)
    loaded = checkpoint.load(path)
    assert loaded is not None
    assert loaded[1] == record
    assert {n: (a.dtype, a.shape, a.tobytes()) for n, a in loaded[0].items()} == {
        n: (a.dtype, a.shape, a.tobytes()) for n, a in saved.items()
    }


def test_no_state_is_none(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path / "state.npz") is None


def test_a_failed_save_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.npz"
    checkpoint.save(path, {"a": np.arange(3)}, {"epoch": 1})

    def no_space(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(path, {"a": np.arange(4)}, {"epoch": 2})
    loaded = checkpoint.load(path)
    assert loaded is not None
    assert loaded[1] == {"epoch": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["state.npz"]


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_damaged_state_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "state.npz"
    checkpoint.save(path, {"a": np.arange(100)}, {})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TrialFailed, match=r"state\.npz cannot be read"):
        checkpoint.load(path)


@settings(max_examples=200)
@given(st.data())
def test_a_torn_or_altered_state_gives_the_one_before(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("state") / "state.npz"
    for epoch in (1, 2, 3):
        checkpoint.save(path, {"a": np.full(20, epoch, "float32")}, {"epoch": epoch})
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[position] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[position:]
    path.write_bytes(content)
    loaded = checkpoint.load(path)
    assert loaded is not None
    assert loaded[1] == {"epoch": 2}
    assert loaded[0]["a"].tolist() == [2.0] * 20
    # A second reader finds the same, and what is saved next is kept beside it.
    assert (again := checkpoint.load(path)) is not None
    assert again[1] == {"epoch": 2}
    checkpoint.save(path, {"a": np.zeros(1)}, {"epoch": 3})
    path.write_bytes(b"")
    assert (before := checkpoint.load(path)) is not None
    assert before[1] == {"epoch": 2}


def test_that_a_state_was_damaged_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "state.npz"
    for epoch in (1, 2):
        checkpoint.save(path, {}, {"epoch": epoch})
    path.write_bytes(path.read_bytes()[:-1])
    checkpoint.load(path)
    said = capsys.readouterr().err
    assert said.startswith(f"dlperf: the state in {path} is damaged (")
    assert said.endswith("): going on from the one before\n")
    assert said.count("\n") == 1


def test_two_damaged_states_are_named_and_an_interrupted_renaming_is_none(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    for epoch in (1, 2):
        checkpoint.save(path, {}, {"epoch": epoch})
    path.unlink()  # killed between the two renamings
    assert checkpoint.exists(path)
    assert checkpoint.load(path) == ({}, {"epoch": 1})
    for file in tmp_path.iterdir():
        file.write_bytes(b"torn")
    with pytest.raises(TrialFailed, match="nor is there a whole one before it; delete it to train from the start"):
        checkpoint.load(path)


def test_a_state_of_version_0_1_0_has_no_checksum_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    with path.open("wb") as file:
        np.savez(file, **{"record.json": np.frombuffer(b'{"epoch": 1}', np.uint8), "a": np.arange(3)})
    loaded = checkpoint.load(path)
    assert loaded is not None
    assert (loaded[1], loaded[0]["a"].tolist()) == ({"epoch": 1}, [0, 1, 2])


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    with path.open("wb") as file:
        np.savez(file, **{"record.json": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(TrialFailed, match="cannot be read"):
        checkpoint.load(path)


def test_the_record_is_read_without_the_arrays(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    assert checkpoint.record(path) is None
    checkpoint.save(path, {"a": np.arange(3)}, {"epoch": 1})
    checkpoint.save(path, {"a": np.arange(3)}, {"epoch": 2})
    assert checkpoint.record(path) == {"epoch": 2}
    path.write_bytes(path.read_bytes()[:50])
    assert checkpoint.record(path) == {"epoch": 1}


def test_no_flipped_bit_keeps_the_record_from_being_asked_for(tmp_path: Path) -> None:
    """It is read without the checksum, for a list: of a state that is not what was written it is any, or none."""
    path = tmp_path / "state.npz"
    checkpoint.save(path, {"w": np.arange(2.0)}, {"training": {"history": [{}]}})
    written = bytearray(path.read_bytes())
    told = set()
    for place in range(len(written)):
        for bit in range(8):
            written[place] ^= 1 << bit
            path.write_bytes(written)
            told.add(checkpoint.record(path) is None)
            written[place] ^= 1 << bit
    assert told == {False, True}
