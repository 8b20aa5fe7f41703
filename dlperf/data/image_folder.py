"""`images:FOLDER`: a folder per class, in folders train and test or not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dlperf.data import user_data
from dlperf.data.arrays import held_out_fifth
from dlperf.data.dataset import Dataset
from dlperf.data.image_cache import Encoded, cached
from dlperf.data.refusal import Refusal, refused
from dlperf.data.user_data import Reading

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm")
_SPLITS = {"train": "train", "test": "test", "validation": "validation", "val": "validation", "valid": "validation"}


def classification(dataset: str, reading: Reading) -> Dataset:
    """Read the images of a folder.

    Args:
        dataset: `images:FOLDER`. In it are folders `train` and `test`, and maybe `validation` (or `val`), with a folder
            per class in each; or a folder per class, of which a fifth is then tested on. Images may lie deeper in the
            folder of their class; what has not the ending of an image is no image.
        reading: Size, what is done with broken files, and which fifth is tested on.

    Raises:
        BadInput: The folder cannot be used.
        EnvironmentMissing: The cache cannot be written.
    """
    root = user_data.existing(dataset)
    with refused("dataset", dataset):
        found = _split(root, reading.split_seed)
        names = tuple(sorted({name for split, name, _ in found if split == "train"}))
        for _, name, file in found:
            if name not in names:
                raise Refusal(f"{file.relative_to(root)} is of a class that has no folder in train")

        def images() -> Iterator[Encoded]:
            for split, name, file in found:
                yield Encoded(split, names.index(name), str(file.relative_to(root)), file)

        states = ((f"{split}:{file.relative_to(root)}", *_state(file)) for split, _, file in found)
        return cached(dataset, reading, states=states, count=len(found), label_names=names, images=images)


def files(dataset: str) -> list[Path]:
    """Return the images of a folder.

    Raises:
        BadInput: The folder is not there, or does not hold images as `classification` takes them.
    """
    root = user_data.existing(dataset)
    with refused("dataset", dataset):
        return [file for _, _, file in _split(root, 0)]


def _split(root: Path, seed: int) -> list[tuple[str, str, Path]]:
    """Split, class and path of every image, in the order of class and name."""
    folders = {_SPLITS[folder.name.lower()]: folder for folder in _folders(root) if folder.name.lower() in _SPLITS}
    if {"train", "test"} <= folders.keys():
        return [(split, *image) for split in sorted(folders) for image in _images(folders[split], root)]
    found = _images(root, root)
    labels = np.unique([name for name, _ in found], return_inverse=True)[1].astype(np.int32)
    tested = held_out_fifth(labels, seed)
    return [("test" if test else "train", *image) for image, test in zip(found, tested, strict=True)]


def _images(folder: Path, root: Path) -> list[tuple[str, Path]]:
    """Class and path of the images in the folders of a folder.

    Raises:
        Refusal: There is no such folder, or one without images.
    """
    found = []
    for of_class in _folders(folder):
        files = sorted(_files(of_class))
        if not files:
            raise Refusal(f"the folder {of_class.relative_to(root)} has no image: each is a class, must have some")
        found += [(of_class.name, file) for file in files]
    if not found:
        raise Refusal(
            "has no folder with images in it, must hold a folder per class, or folders train and test with such folders"
        )
    return found


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(inner for inner in folder.iterdir() if inner.is_dir() and not inner.name.startswith("."))
    except OSError as error:
        raise Refusal(f"cannot be read ({error.strerror})") from error


def _files(folder: Path) -> Iterator[Path]:
    for inner, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(_ENDINGS) and not name.startswith("."):
                yield Path(inner, name)


def _state(file: Path) -> tuple[int, int]:
    try:
        state = file.stat()
    except OSError as error:  # a link to nowhere
        raise Refusal(f"{file} cannot be read ({error.strerror})") from error
    return state.st_size, state.st_mtime_ns
