"""CIFAR in every form in which people keep it: written from the binary layout, read into the same bits."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dlperf import data
from dlperf.data import array_pickle, cifar_search
from dlperf.data.cifar import Cifar
from dlperf.data.cifar_layout import CIFAR10, CIFAR100, Layout
from dlperf.data.refusal import Refusal
from dlperf.errors import BadInput

LAYOUTS = [CIFAR10, CIFAR100]
RECORDS = 24  # per training file of CIFAR-10: more than the labels by which its batches are told apart


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DLPERF_DATA_DIR", raising=False)
    for layout in LAYOUTS:
        monkeypatch.setattr(layout, "train_examples", 5 * RECORDS)
        monkeypatch.setattr(layout, "test_examples", RECORDS)


def batches(layout: Layout) -> list[tuple[np.ndarray, np.ndarray]]:
    """Planes, uint8 (n, 3072), and labels of every file, which begin as the published ones do."""
    draw = np.random.default_rng(len(layout.label_names))
    made = []
    for file, first in zip(layout.binary_files, (*layout.first_labels, layout.first_test_labels), strict=True):
        labels = draw.integers(0, len(layout.label_names), layout.records(file), dtype=np.uint8)
        labels[: len(first)] = first
        made.append((draw.integers(0, 256, (len(labels), 3072), dtype=np.uint8), labels))
    return made


def binary(layout: Layout, folder: Path) -> Path:
    folder = folder / layout.binary_folder
    folder.mkdir(parents=True)
    for file, (planes, labels) in zip(layout.binary_files, batches(layout), strict=True):
        coarse = [np.zeros_like(labels)] * (layout.label_bytes - 1)
        (folder / file).write_bytes(np.column_stack([*coarse, labels, planes]).tobytes())
    return folder


def python(layout: Layout, folder: Path) -> Path:
    folder = folder / layout.python_folder
    folder.mkdir(parents=True)
    for file, (planes, labels) in zip(layout.python_files, batches(layout), strict=True):
        (folder / file).write_bytes(of_python_2(layout.label_key, planes, labels))
    (folder / layout.python_meta).write_bytes(pickle.dumps({b"label_names": [b"frog"]}))
    return folder


def of_python_2(label_key: str, planes: np.ndarray, labels: np.ndarray) -> bytes:
    """A batch as Python 2 pickled the published ones, opcode by opcode: strings are what bytes are today."""

    def string(content: bytes) -> bytes:
        return b"T" + struct.pack("<I", len(content)) + content

    def integer(number: int) -> bytes:
        return b"J" + struct.pack("<i", number)

    shape = integer(len(planes)) + integer(planes.shape[1]) + b"\x86"
    kind = b"cnumpy\ndtype\n" + string(b"u1") + b"K\x00K\x01\x87R(K\x03" + string(b"|") + b"NNN"
    kind += integer(-1) + integer(-1) + b"K\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + string(b"b") + b"\x87R"
    array += b"(K\x01" + shape + kind + b"\x89" + string(planes.tobytes()) + b"tb"
    classes = b"](" + b"".join(integer(int(label)) for label in labels) + b"e"
    names = b"](" + string(b"a.png") * len(labels) + b"e"
    entries = [(b"batch_label", string(b"one of them")), (label_key.encode(), classes), (b"data", array)]
    entries.append((b"filenames", names))
    return b"\x80\x02}(" + b"".join(string(key) + value for key, value in entries) + b"u."


def archived(write: Callable[[Layout, Path], Path], name: str) -> Callable[[Layout, Path], Path]:
    def make(layout: Layout, folder: Path) -> Path:
        made = write(layout, folder.with_name("unpacked"))
        folder.mkdir()
        with tarfile.open(folder / name.format(10 if layout is CIFAR10 else 100), "w:gz") as tar:
            for file in sorted(made.iterdir(), reverse=True):  # in another order than the files are numbered
                tar.add(file, f"{made.name}/{file.name}")
        return folder

    return make


def parquet(layout: Layout, folder: Path, order: list[int] | None = None) -> Path:
    """As Hugging Face's hub has it: the batches of CIFAR-10 in the order of their archive."""
    folder = folder / "plain_text"
    folder.mkdir(parents=True)
    *train, test = batches(layout)
    order = order or ([3, 2, 1, 4, 0] if layout is CIFAR10 else [0])
    for split, parts in (("train", [train[number] for number in order]), ("test", [test])):
        rows = [(image, label) for planes, labels in parts for image, label in zip(planes, labels, strict=True)]
        images = [{"bytes": png(image), "path": None} for image, _ in rows]
        table = pa.table({"img": images, layout.label_columns[0]: [int(label) for _, label in rows]})
        pq.write_table(table, folder / f"{split}-00000-of-00001.parquet")
    return folder


def png(planes: np.ndarray) -> bytes:
    out = io.BytesIO()
    PIL.Image.fromarray(planes.reshape(3, 32, 32).transpose(1, 2, 0)).save(out, "PNG")
    return out.getvalue()


FORMS = {
    "binary": binary,
    "python": python,
    "binary archive": archived(binary, "cifar-{}-binary.tar.gz"),
    "python archive": archived(python, "cifar-{}-python.tar.gz"),
    "parquet": parquet,
}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_into_the_bits_of_the_binary_one(layout: Layout, form: str, tmp_path: Path) -> None:
    made = FORMS[form](layout, tmp_path / form)
    data.check(layout.name, made, 5 * RECORDS)
    read = data.load(layout.name, made)
    *train, test = batches(layout)
    for inputs, labels, parts in (
        (read.train_inputs, read.train_labels, train),
        (read.test_inputs, read.test_labels, [test]),
    ):
        planes = np.concatenate([part for part, _ in parts])
        assert (inputs == planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)).all()
        assert (labels == np.concatenate([part for _, part in parts])).all()
    assert read.digest == Cifar(layout).load(cifar_search.Found("binary", binary(layout, tmp_path / "b"))).digest
    assert len(read.label_names) == data.facts(layout.name).classes == len(layout.label_names)


@pytest.mark.slow  # Keras
def test_what_the_tests_write_keras_reads_alike(tmp_path: Path) -> None:
    from keras.src.datasets.cifar import load_batch

    for layout in LAYOUTS:
        folder = python(layout, tmp_path)
        for file, (planes, labels) in zip(layout.python_files, batches(layout), strict=True):
            images, classes = load_batch(str(folder / file), label_key=layout.label_key)
            assert (images == planes.reshape(-1, 3, 32, 32)).all()
            assert classes == labels.tolist()


def test_the_places_where_keras_and_torchvision_keep_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    keras = tmp_path / "keras" / "datasets"
    made = python(CIFAR10, keras / "cifar-10-batches-py-target")
    (keras / "cifar-10-batches-py-target_archive").write_bytes(b"the archive, which is larger to read")
    for place in (keras, keras / "cifar-10-batches-py-target", made):
        data.check("cifar10", place, 0)
        assert data.load("cifar10", place).source == str(made)
    assert f"CIFAR-10 is read from {made} (Python version)" in capfd.readouterr().err


@pytest.mark.parametrize("levels", range(4))
def test_a_folder_up_to_three_levels_above(tmp_path: Path, levels: int) -> None:
    made = binary(CIFAR10, tmp_path / "a" / "b")
    place = made.parents[levels - 1] if levels else made
    assert cifar_search.find(CIFAR10, place).path == made


def test_a_folder_four_levels_above(tmp_path: Path) -> None:
    binary(CIFAR10, tmp_path / "a" / "b" / "c")
    with pytest.raises(BadInput, match=r"holds no CIFAR-10, must be a folder that .* at most three levels below"):
        data.check("cifar10", tmp_path, 0)


def test_cifar_10_and_100_beside_each_other(tmp_path: Path) -> None:
    for layout in LAYOUTS:
        for write in (binary, python, parquet):
            write(layout, tmp_path / write.__name__ / layout.name)
    for layout in LAYOUTS:
        for name in ("binary", "python", "parquet"):
            found = cifar_search.find(layout, tmp_path / name)
            assert (found.form, found.path.parent.name) == (name, layout.name)


def test_what_is_damaged_is_said(tmp_path: Path) -> None:
    made = binary(CIFAR10, tmp_path)
    (made / "data_batch_2.bin").unlink()
    with pytest.raises(BadInput, match=r"cifar-10-batches-bin lacks data_batch_2\.bin, must be") as refused:
        data.check("cifar10", tmp_path, 0)
    assert len(str(refused.value).splitlines()) == 1
    python(CIFAR10, tmp_path)
    found = cifar_search.find(CIFAR10, tmp_path)
    assert found.form == "python"
    assert found.said("CIFAR-10").endswith(f"(Python version); {made} lacks data_batch_2.bin")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ({b"labels": [0] * RECORDS}, r"has data float64 \(0,\), must be uint8 \(24, 3072\)"),
        ({b"data": np.zeros((RECORDS, 3072)), b"labels": [0]}, r"has data float64 \(24, 3072\), must be uint8"),
        ({b"data": np.zeros((23, 3072), np.uint8), b"labels": [0]}, r"has data uint8 \(23, 3072\)"),
        ({b"data": np.zeros((RECORDS, 3072), np.uint8)}, r"has labels float64 \(0,\), must be integers \(24,\)"),
        ({b"data": np.zeros((RECORDS, 3072), np.uint8), b"labels": [0] * 23 + [10]}, "has label 10 in record 23"),
        ([1, 2], "holds a list, must hold a dictionary"),
    ],
)
def test_damaged_batches_are_named(tmp_path: Path, damage: Any, says: str) -> None:
    made = python(CIFAR10, tmp_path)
    (made / "data_batch_5").write_bytes(pickle.dumps(damage, protocol=4))
    with pytest.raises(BadInput, match=says) as refused:
        data.check("cifar10", tmp_path, 0)
    assert refused.value.value == made / "data_batch_5"


class Planted:
    """What a pickle can carry: a call, made when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("where", ["value", "key", "among labels", "in an array"])
def test_a_planted_payload_is_refused_and_not_run(tmp_path: Path, protocol: int, where: str) -> None:
    import os

    trace = tmp_path / "it was run"
    planted = Planted(os.mkdir, str(trace))
    content = {
        "value": {b"data": planted},
        "key": {planted: 1},
        "among labels": {b"labels": [1, 2, planted]},
        "in an array": {b"data": np.array([planted], object)},
    }[where]
    blob = pickle.dumps(content, protocol)
    made = python(CIFAR10, tmp_path)
    (made / "test_batch").write_bytes(blob)
    with pytest.raises(BadInput, match=r"names \S+\.\S+, which is no part of an array: refused, and nothing of it was"):
        data.check("cifar10", tmp_path, 0)
    assert not trace.exists()
    if where == "value":
        pickle.loads(blob)  # which was no idle threat
        assert trace.exists()


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"no pickle",
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"\x80\x02cnumpy\nload\n.",
        b"cnumpy.core.multiarray\nscalar\n.",
        b"(inumpy.testing._private.utils\nruntest\n.",
        b"\x80\x02Qx.",
        b"P1\n.",
        pickle.dumps({b"a": 1})[:-3],
    ],
)
def test_nothing_but_arrays_is_unpickled(blob: bytes) -> None:
    with pytest.raises(Refusal):
        array_pickle.read(io.BytesIO(blob))


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_that_python_3_pickled_are_read(protocol: int) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    content: dict[str, Any] = {"data": array, "labels": [3, 4], "text": "é", "nested": {"a": (1.5,)}}
    read = array_pickle.read(io.BytesIO(pickle.dumps(content, protocol)))
    assert (read["data"] == content["data"]).all()
    assert {name: read[name] for name in ("labels", "nested")} == {name: content[name] for name in ("labels", "nested")}


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]])
def test_parquet_rows_are_put_into_the_order_of_the_batches(tmp_path: Path, order: list[int]) -> None:
    read = data.load("cifar10", parquet(CIFAR10, tmp_path, order))
    assert (read.train_labels == np.concatenate([labels for _, labels in batches(CIFAR10)[:-1]])).all()


@pytest.mark.parametrize("order", [[0, 0, 1, 2, 3], [0, 1, 2, 3]])
def test_parquet_rows_in_no_known_order_are_refused(tmp_path: Path, order: list[int]) -> None:
    with pytest.raises(BadInput, match=r"in another order than CIFAR-10's batches|has 96 rows, must be 120"):
        data.check("cifar10", parquet(CIFAR10, tmp_path, order), 0)


def test_a_torn_archive_is_refused(tmp_path: Path) -> None:
    made = FORMS["python archive"](CIFAR10, tmp_path / "archive")
    (archive,) = made.iterdir()
    archive.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(BadInput, match=r"cannot be read to its end as a \.tar\.gz file") as refused:
        data.check("cifar10", made, 0)
    assert refused.value.value == archive


def test_an_archive_without_a_file_is_refused(tmp_path: Path) -> None:
    made = python(CIFAR10, tmp_path / "unpacked")
    (made / "data_batch_3").unlink()
    (tmp_path / "there").mkdir()
    with tarfile.open(tmp_path / "there" / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(made, made.name)
    with pytest.raises(BadInput, match=r"lacks data_batch_3, must be an archive of CIFAR-10 as it is published"):
        data.check("cifar10", tmp_path / "there", 0)
