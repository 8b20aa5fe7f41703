"""npz files of the user's own: every shape and type that can be meant, and one line for the others."""

from __future__ import annotations

import contextlib
import mmap
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlperf import data
from dlperf.data import npz
from dlperf.errors import BadInput

NUMBERS = ["?", "u1", "i1", "<u2", ">i4", "<i8", "<f2", "<f4", ">f4", "<f8", ">f8"]
LABELS = ["u1", "i1", "<u2", ">i4", "<i8", "<u8"]


def saved(folder: Path | str, *, compressed: bool = False, without: str = "", **arrays: Any) -> str:
    """A file of two classes, with some of its arrays replaced, as `dataset` names it."""
    content = {
        "x_train": np.arange(12.0).reshape(6, 2),
        "y_train": np.array([0, 1, 0, 1, 0, 1]),
        "x_test": np.ones((2, 2)),
        "y_test": np.array([1, 0]),
        **arrays,
    }
    path = Path(folder, "my.npz")
    (np.savez_compressed if compressed else np.savez)(path, **{k: v for k, v in content.items() if k != without})
    return f"npz:{path}"


@settings(max_examples=60)
@given(
    shape=st.lists(st.integers(1, 4), max_size=3),
    kind=st.sampled_from(NUMBERS),
    labels=st.sampled_from(LABELS),
    column=st.booleans(),
    compressed=st.booleans(),
    order=st.sampled_from("CF"),
    random_seed=st.integers(0, 2**32 - 1),
)
def test_what_was_written_is_read(
    shape: list[int], kind: str, labels: str, column: bool, compressed: bool, order: Any, random_seed: int
) -> None:
    draw = np.random.default_rng(random_seed)
    inputs = {
        split: np.asarray(draw.integers(0, 2 if kind == "?" else 100, (rows, *shape)), kind, order=order)
        for split, rows in (("train", 5), ("test", 2), ("validation", 3))
    }
    classes = {split: draw.permutation(len(own)).astype(labels) % 2 for split, own in inputs.items()}
    with tempfile.TemporaryDirectory() as folder:
        arrays = {f"x_{split}": own for split, own in inputs.items()}
        arrays |= {f"y_{split}": own[:, None] if column else own for split, own in classes.items()}
        read = npz.classification(saved(folder, compressed=compressed, **arrays))
        for split, own in inputs.items():
            found, found_labels = getattr(read, f"{split}_inputs"), getattr(read, f"{split}_labels")
            assert found.dtype == (np.uint8 if kind == "u1" else np.float32)
            assert (np.asarray(found).reshape(own.shape) == own.astype(np.float32)).all()
            assert (found_labels == classes[split]).all()
            assert not found.flags.writeable
    if kind == "u1" and len(shape) == 2:
        assert read.input_shape == (*shape, 1)  # grey images
        assert read.holds_images
    assert read.name == read.source == "npz:my.npz"


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    one, two = saved(tmp_path / "a"), saved(tmp_path / "b", compressed=True)
    other = saved(tmp_path / "c", y_test=np.array([1, 1]))
    assert data.load(one).digest == data.load(two).digest != data.load(other).digest
    assert data.load(one) is data.load(one)


def test_large_arrays_are_mapped(tmp_path: Path) -> None:
    pixels = np.arange(6 * 16, dtype=np.uint8).reshape(6, 4, 4)
    read = npz.classification(saved(tmp_path, x_train=pixels, x_test=pixels[:2]))
    memory: Any = read.train_inputs
    while isinstance(memory, np.ndarray):
        memory = memory.base
    assert isinstance(memory, mmap.mmap)
    assert (read.train_inputs[..., 0] == pixels).all()


def test_class_names(tmp_path: Path) -> None:
    assert npz.classification(saved(tmp_path, class_names=np.array(["no", "yes"]))).label_names == ("no", "yes")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a lacking array": ({"without": "y_test"}, r"lacks y_test \(it has x_train, y_train, x_test\), must have x_train"),
    "half a validation split": ({"x_validation": np.ones((1, 2))}, "lacks y_validation"),
    "objects": ({"x_train": np.array([[1], [2, 3]], object)}, "x_train holds Python objects, must be an array of num"),
    "text": ({"x_train": np.array([["a", "b"]] * 6)}, r"x_train is <U1 \(6, 2\), must be numbers"),
    "complex numbers": ({"x_train": np.ones((6, 2), complex)}, "x_train is complex128"),
    "a number": ({"x_train": np.float64(1)}, r"x_train is float64 \(\), must be numbers \(N, ...\)"),
    "NaN": ({"x_train": np.full((6, 2), np.nan)}, "x_train has nan in example 0, must be finite numbers of float32"),
    "infinity": ({"x_test": np.array([[1, 1], [1, np.inf]])}, "x_test has inf in example 1, must be finite"),
    "too large a number": ({"x_train": np.full((6, 2), 1e300)}, "x_train has 1e[+]300 in example 0"),
    "labels with a point": ({"y_train": np.zeros(6)}, r"y_train is float64 \(6,\), must be integers \(N,\)"),
    "one-hot labels": ({"y_train": np.eye(6, dtype=int)}, r"y_train is int64 \(6, 6\), must be integers \(N,\)"),
    "truth values": ({"y_train": np.zeros(6, bool)}, r"y_train is bool \(6,\), must be integers"),
    "labels from 1": ({"y_train": np.array([1, 2] * 3)}, "y_train has no example of class 0; it has labels 1 to 2"),
    "a class without examples": ({"y_train": np.array([0, 2] * 3)}, "y_train has no example of class 1"),
    "a label of a billion": ({"y_train": np.array([0, 10**9] * 3)}, "y_train has no example of class 1"),
    "one class": ({"y_train": np.zeros(6, int)}, "y_train has one class, must have two at least"),
    "a negative label": ({"y_train": np.array([0, -1] * 3)}, "y_train has label -1, must be 0 to classes - 1"),
    "a test label": ({"y_test": np.array([0, 2])}, "y_test has label 2, must be 0 to 1, the classes to train on"),
    "fewer labels": ({"y_train": np.array([0, 1])}, "x_train has 6 examples and y_train 2, must be as many"),
    "another shape to test": (
        {"x_test": np.ones((2, 3))},
        r"x_test has examples float32 \(3,\), must be float32 \(2,\)",
    ),
    "another type to test": ({"x_test": np.ones((2, 2), np.uint8)}, r"x_test has examples uint8 \(2,\), must be float"),
    "nothing": (
        {"x_train": np.ones((0, 2)), "y_train": np.zeros(0, int)},
        r"x_train is float64 \(0, 2\), and has no ex",
    ),
    "fewer names": ({"class_names": np.array(["one"])}, "y_train has label 1, must be 0 to 0, as many as there are cl"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_trained_on_is_refused_in_one_line(tmp_path: Path, what: str) -> None:
    changed, says = WRONG[what]
    named = saved(tmp_path, **changed)
    with pytest.raises(BadInput, match=says) as refused:
        data.check(named, "", 0)
    assert (refused.value.parameter, refused.value.value) == ("dataset", named)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and nothing more", b"\x93NUMPY no archive", b"x" * 1000])
def test_what_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "my.npz"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="is no npz file, as "):
        data.check(f"npz:{path}", "", 0)


@settings(max_examples=40)
@given(cut=st.integers(0, 3000), flipped=st.integers(0, 3000))
def test_a_damaged_file_is_refused_or_read(cut: int, flipped: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        named = saved(folder, compressed=bool(cut % 2))
        path = Path(folder, "my.npz")
        blob = bytearray(path.read_bytes())
        blob[flipped % len(blob)] ^= 0xFF
        path.write_bytes(blob[: len(blob) - cut // 10])
        with contextlib.suppress(BadInput):  # and nothing else
            npz.classification(named)


def test_a_header_that_promises_more_than_there_is_is_refused(tmp_path: Path) -> None:
    named = saved(tmp_path)
    whole = tmp_path / "my.npz"
    with zipfile.ZipFile(whole) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    members["x_train.npy"] = members["x_train.npy"].replace(b"(6, 2)", b"(6, 9)")
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(BadInput, match="x_train cannot be read as an array"):
        data.check(named, "", 0)


def test_samples_of_a_function(tmp_path: Path) -> None:
    points = np.arange(12).reshape(6, 2)
    samples = npz.regression(saved(tmp_path, x_train=points, y_train=np.arange(6.0)[:, None], y_test=np.array([2, 3])))
    assert (samples.train.inputs.dtype, samples.train.targets.dtype) == (np.float64, np.float64)
    assert (samples.train.inputs == points).all()
    assert samples.train.targets.tolist() == [0, 1, 2, 3, 4, 5]
    assert samples.test.targets.tolist() == [2, 3]
    assert not len(samples.validation.targets)
    for wrong, says in (
        ({"x_train": np.ones((6, 2, 2))}, r"x_train is float64 \(6, 2, 2\), must be points \(N, d\)"),
        ({"y_train": np.ones((6, 2))}, r"y_train is float64 \(6, 2\), must be values \(N,\) or \(N, 1\)"),
        ({"y_train": np.full(6, np.inf)}, "y_train has inf in example 0"),
        ({"y_test": np.full(2, 0.5)}, "y_test is 0.5 in every example, must vary"),
        ({"x_test": np.ones((2, 5))}, r"x_test has examples float64 \(5,\), must be float64 \(2,\)"),
    ):
        with pytest.raises(BadInput, match=says):
            npz.regression(saved(tmp_path, **wrong))


def test_a_folder_of_cifar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="data_dir=/x: must be left out with dataset=npz"):
        data.check(saved(tmp_path), "/x", 0)
