"""Folders of images and Parquet files of the user's own, read once into a cache."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dlperf import data
from dlperf.data import image_folder, parquet_file
from dlperf.data.dataset import Dataset
from dlperf.data.image_file import decoded
from dlperf.errors import BadInput

READ = data.Reading()


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DLPERF_DOWNLOAD_DIR", str(tmp_path / "cache"))


def picture(number: int, width: int = 6, height: int = 5) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(folder: Path, numbers: range, **size: int) -> None:
    folder.mkdir(parents=True)
    for number in numbers:
        PIL.Image.fromarray(picture(number, **size)).save(folder / f"{number:03}.png")


def photos(root: Path, **size: int) -> str:
    """Ten images of cats and five of dogs."""
    save(root / "photos" / "dog", range(10, 15), **size)
    save(root / "photos" / "cat", range(10), **size)
    return f"images:{root / 'photos'}"


def numbers_in(images: Any) -> list[int]:
    """Which of the pictures these are."""
    known = {picture(number).tobytes(): number for number in range(20)}
    return [known[np.asarray(image).tobytes()] for image in images]


def folder(named: str, **reading: Any) -> Dataset:
    return image_folder.classification(named, data.Reading(**reading))


def test_a_folder_per_class(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    read = folder(photos(tmp_path))
    assert (read.name, read.source) == ("images:photos", "images:photos")
    assert read.label_names == ("cat", "dog")
    assert read.input_shape == (5, 6, 3)
    train, test = numbers_in(read.train_inputs), numbers_in(read.test_inputs)
    assert sorted(train + test) == list(range(15))
    assert train == sorted(train)  # in the order of class and name
    assert [number >= 10 for number in train + test] == [*read.train_labels, *read.test_labels]
    assert (sum(number < 10 for number in test), sum(number >= 10 for number in test)) == (2, 1)  # a fifth of each
    assert "images:" in (said := capfd.readouterr().err)
    assert "12 train, 3 test images of 2 classes, 5 x 6" in said


def test_the_split_follows_from_its_seed(tmp_path: Path) -> None:
    named = photos(tmp_path)
    first, again, other = (folder(named, split_seed=seed) for seed in (0, 0, 1))
    assert first.digest == again.digest != other.digest
    assert numbers_in(first.test_inputs) != numbers_in(other.test_inputs)


def test_folders_of_splits(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "test", "val")):
        save(tmp_path / split / "a" / "deeper", range(2 * number, 2 * number + 1))
        save(tmp_path / split / "b", range(2 * number + 1, 2 * number + 2))
    (tmp_path / "train" / "b" / "notes.txt").write_text("no image")
    (tmp_path / "train" / ".hidden").mkdir()
    read = folder(f"images:{tmp_path}")
    assert [numbers_in(images) for images in (read.train_inputs, read.test_inputs, read.validation_inputs)] == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]
    assert read.validation_labels is not None
    assert read.validation_labels.tolist() == [0, 1]


def test_pixels_are_those_of_pillow(tmp_path: Path) -> None:
    """The largest square in the middle, brought to the size; upright; grey in three channels."""
    save(tmp_path / "a", range(5), width=40, height=20)
    (tmp_path / "b").mkdir()
    for number in range(5):
        image = PIL.Image.fromarray(picture(number, 40, 20))
        turned = image.getexif()
        turned[0x0112] = 6  # the camera was held upright
        image.convert("L").save(tmp_path / "b" / f"{number}.png", exif=turned)
    read = folder(f"images:{tmp_path}", image_size=10)
    assert read.input_shape == (10, 10, 3)
    (wide,) = read.test_inputs[read.test_labels == 0]
    squares = [
        PIL.Image.fromarray(picture(number, 40, 20)).resize((10, 10), PIL.Image.Resampling.BILINEAR, (10, 0, 30, 20))
        for number in range(5)
    ]
    assert any((wide == np.asarray(square)).all() for square in squares)
    for image in read.train_inputs[read.train_labels == 1]:
        assert (image[..., 0] == image[..., 2]).all()
    assert decoded(tmp_path / "b" / "0.png", "it").shape == (40, 20, 3)


def test_a_second_start_maps_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = photos(tmp_path)
    first = folder(named)
    assert isinstance(first.train_inputs, np.memmap)
    assert first.train_inputs.ctypes.data % 64 == 0  # what a compiled program reads in place
    monkeypatch.setattr(PIL.Image, "open", lambda *_: pytest.fail("decoded again"))
    again = folder(named)
    assert again.digest == first.digest
    assert (again.train_inputs == first.train_inputs).all()
    monkeypatch.undo()
    monkeypatch.setenv("DLPERF_DOWNLOAD_DIR", str(tmp_path / "cache"))
    changed = tmp_path / "photos" / "cat" / "000.png"
    PIL.Image.fromarray(picture(19)).save(changed)
    os.utime(changed, ns=(1, 1))
    assert folder(named).digest != first.digest


def test_broken_files_are_named_and_left_out_only_if_asked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    named = photos(tmp_path)
    torn = tmp_path / "photos" / "cat" / "001.png"
    torn.write_bytes(torn.read_bytes()[:40])
    (tmp_path / "photos" / "dog" / "zero.jpg").touch()
    with pytest.raises(BadInput, match=r"cat/001\.png cannot be read as an image.*dog/zero\.jpg.*: skip_broken=true"):
        folder(named)
    read = folder(named, skip_broken=True)
    assert len(read.train_labels) + len(read.test_labels) == 14
    assert "2 that cannot be read are left out: cat/001.png, dog/zero.jpg" in capfd.readouterr().err
    assert not list((tmp_path / "cache" / "images").glob(".*part*"))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], "has no folder with images in it, must hold a folder per class"),
        (["picture.png"], "has no folder with images in it"),
        (["a/1.png", "b/notes.txt"], "the folder b has no image: each is a class, must have some"),
        (["a/1.png", "b/1.png"], "class 0 has one example, must have at least two"),
        (["train/a/1.png", "test/b/1.png"], r"test/b/1\.png is of a class that has no folder in train"),
    ],
)
def test_folders_that_cannot_be_trained_on(tmp_path: Path, files: list[str], says: str) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(picture(0)).save(root / name, "PNG")
    with pytest.raises(BadInput, match=says) as refused:
        data.check(f"images:{root}", "", 0)
    assert len(str(refused.value).splitlines()) == 1


def test_images_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    named = photos(tmp_path)
    PIL.Image.fromarray(picture(0, 7, 5)).save(tmp_path / "photos" / "dog" / "999.png")
    with pytest.raises(BadInput, match=r"of several sizes .*cat/000\.png 5 x 6, dog/999\.png 5 x 7.*give image_size"):
        data.check(named, "", 0)
    assert folder(named, image_size=4).input_shape == (4, 4, 3)


def encoded(number: int) -> bytes:
    out = io.BytesIO()
    PIL.Image.fromarray(picture(number)).save(out, "PNG")
    return out.getvalue()


def table(numbers: range, **columns: Any) -> pa.Table:
    images = [{"bytes": encoded(number), "path": ""} for number in numbers]
    return pa.table({"image": images, "label": [number % 2 for number in numbers], **columns})


def test_a_parquet_file_of_images(tmp_path: Path) -> None:
    path = tmp_path / "my.parquet"
    names = {"info": {"features": {"label": {"names": ["even", "odd"], "_type": "ClassLabel"}}}}
    pq.write_table(table(range(15)).replace_schema_metadata({"huggingface": json.dumps(names)}), path, row_group_size=4)
    read = parquet_file.classification(f"parquet:{path}", READ)
    assert read.label_names == ("even", "odd")
    assert sorted(numbers_in(read.train_inputs) + numbers_in(read.test_inputs)) == list(range(15))
    assert (np.array(numbers_in(read.test_inputs)) % 2 == read.test_labels).all()
    assert len(read.test_labels) == 2


def test_a_folder_of_parquet_files(tmp_path: Path) -> None:
    pq.write_table(table(range(4)), tmp_path / "train-00000-of-00002.parquet")
    pq.write_table(table(range(4, 6)), tmp_path / "train-00001-of-00002.parquet")
    pq.write_table(table(range(6, 8)), tmp_path / "test-00000-of-00001.parquet")
    read = parquet_file.classification(f"parquet:{tmp_path}", READ)
    assert (numbers_in(read.train_inputs), numbers_in(read.test_inputs)) == ([0, 1, 2, 3, 4, 5], [6, 7])


def test_a_parquet_file_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "my.parquet"
    rows = np.arange(20)
    pq.write_table(pa.table({"a": rows, "label": rows % 2, "b": rows / 2, "name": [str(row) for row in rows]}), path)
    read = parquet_file.classification(f"parquet:{path}", READ)
    together = np.concatenate([read.train_inputs, read.test_inputs])
    assert together.dtype == np.float32
    assert sorted(together.tolist()) == [[row, row / 2] for row in range(20)]
    assert (together[:, 0] % 2 == np.concatenate([read.train_labels, read.test_labels])).all()
    assert len(read.test_labels) == 4


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no parquet", r"my\.parquet cannot be read as a Parquet file"),
        ({"a": [1.0, 2.0]}, "my.parquet has columns a, must have label or labels"),
        ({"a": [1.0, 2.0], "label": ["x", "y"]}, "has labels of type (large_)?string in label, must be integers"),
        ({"a": [1.0, 2.0], "label": [0, None]}, "has labels of type int64, 1 of them missing in label"),
        ({"a": [1.0, 2.0], "label": [0, -1]}, "has label -1, must be 0 to classes - 1"),
        ({"a": [1.0] * 4, "label": [0, 2, 0, 2]}, "train has no example of class 1"),
        ({"a": ["x"] * 4, "label": [0, 1, 0, 1]}, "must have img or image, or columns of numbers"),
        ({"a": [1.0, None, 1.0, 1.0], "label": [0, 1, 0, 1]}, "has 1 missing values in a, must have none"),
        ({"a": [1.0, 1.0, np.inf, 1.0], "label": [0, 1, 0, 1]}, "has inf in example 2, must be finite numbers"),
        ({"img": [b"no image"] * 4, "label": [0, 1, 0, 1]}, "row 0 of train cannot be read as an image"),
    ],
)
def test_parquet_files_that_cannot_be_trained_on(tmp_path: Path, content: Any, says: str) -> None:
    path = tmp_path / "my.parquet"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(pa.table(content), path)
    with pytest.raises(BadInput, match=says) as refused:
        data.check(f"parquet:{path}", "", 0)
    assert refused.value.value == f"parquet:{path}"
    assert len(str(refused.value).splitlines()) == 1
