from __future__ import annotations

import os
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
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


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    with path.open("wb") as file:
        np.savez(file, **{"record.json": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(TrialFailed, match="cannot be read"):
        checkpoint.load(path)
