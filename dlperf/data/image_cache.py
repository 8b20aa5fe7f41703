"""Images of the user's own, decoded once into a file that every later start maps.

Peak memory while they are decoded: some hundred of them. Mapped pixels take memory as they are read, and the system
takes it back when it is short of it; a trial of `cutout` or `scaling` copies those that it trains on.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlperf.data import download, user_data
from dlperf.data.arrays import class_names, fitting_labels
from dlperf.data.dataset import Dataset, digest_of
from dlperf.data.image_file import decoded
from dlperf.data.refusal import Refusal
from dlperf.data.user_data import Reading
from dlperf.processor import cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VERSION = 1  # of what the same images are made into
_AT_A_TIME = 128
_NAMED = 5  # files in an error, of those that cannot be read


@dataclass(frozen=True)
class Encoded:
    """An image as it is found.

    Attributes:
        split: "train", "validation" or "test".
        label: Its class.
        place: How it is called.
        content: The file's content, or its path.
    """

    split: str
    label: int
    place: str
    content: bytes | Path


def cached(
    dataset: str,
    reading: Reading,
    *,
    states: Iterable[tuple[str, int, int]],
    count: int,
    label_names: tuple[str, ...],
    images: Callable[[], Iterator[Encoded]],
) -> Dataset:
    """Return images as a data set, from the cache if they are there.

    Args:
        dataset: What the user named.
        reading: How they are read.
        states: Names, sizes and times of modification of the files that they come from: what the cache goes by.
        count: How many there are.
        label_names: What the classes are called.
        images: Finds them; called where the cache does not have them.

    Returns:
        The data set, its pixels mapped.

    Raises:
        Refusal: They cannot be used.
        EnvironmentMissing: The cache cannot be written.
    """
    identity = [_VERSION, reading.image_size, reading.skip_broken, reading.split_seed, label_names, *states]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]
    folder = download.place() / "images" / key

    def produce(work: Path, complete: Path) -> None:
        complete.mkdir()
        _write(complete, reading, images(), count, label_names)

    download.appear(folder, ["facts.json"], produce)
    facts = json.loads((folder / "facts.json").read_text())
    arrays: dict[str, Any] = {}
    for split, rows in facts["rows"].items():
        shape = (rows, *facts["shape"])
        arrays[f"{split}_inputs"] = np.memmap(folder / f"{split}.pixels", np.uint8, "r", shape=shape)
        arrays[f"{split}_labels"] = np.load(folder / f"{split}_labels.npy", allow_pickle=False)
    said = f"{dataset}: " + ", ".join(f"{rows:,} {split}" for split, rows in facts["rows"].items())
    left_out = facts["left_out"]
    said += f" images of {len(facts['label_names'])} classes, {facts['shape'][0]} x {facts['shape'][1]}"
    if left_out:
        said += f"; {len(left_out):,} that cannot be read are left out: {', '.join(left_out[:_NAMED])}"
        said += ", ..." if len(left_out) > _NAMED else ""
    user_data.say(said)
    name = user_data.name(dataset)
    names = tuple(facts["label_names"])
    return Dataset.build(name=name, **arrays, label_names=names, digest=facts["digest"], source=name)


def _write(folder: Path, reading: Reading, images: Iterator[Encoded], count: int, label_names: tuple[str, ...]) -> None:
    """Decode images into a file per split; facts.json comes last."""
    labels: dict[str, list[int]] = {}
    left_out: list[str] = []
    reasons: list[str] = []
    first: tuple[str, tuple[int, ...]] | None = None
    with ExitStack() as stack:
        files: dict[str, Any] = {}
        for image, pixels in _decoded(images, reading.image_size, count):
            if isinstance(pixels, Refusal):
                left_out.append(image.place)
                reasons.append(str(pixels))
                continue
            first = first or (image.place, pixels.shape)
            if pixels.shape != first[1]:
                sizes = f"{first[0]} {_size(first[1])}, {image.place} {_size(pixels.shape)}"
                raise Refusal(f"images are of several sizes ({sizes}): give image_size, the side to bring them to")
            if image.split not in files:
                files[image.split] = stack.enter_context((folder / f"{image.split}.pixels").open("wb"))
            files[image.split].write(pixels.tobytes())
            labels.setdefault(image.split, []).append(image.label)
    if left_out and not reading.skip_broken:
        further = f" and {len(reasons) - _NAMED:,} more" if len(reasons) > _NAMED else ""
        raise Refusal(f"{'; '.join(reasons[:_NAMED])}{further}: skip_broken=true leaves out what cannot be read")
    if first is None or not {"train", "test"} <= labels.keys():
        raise Refusal(
            f"holds {len(labels.get('train', []))} images to train and {len(labels.get('test', []))} to test "
            "on, must hold some of both"
        )
    arrays: dict[str, tuple[NDArray[Any], NDArray[np.int32]]] = {}
    typed = {split: np.array(labels[split], np.int32) for split in ("train", "test", "validation") if split in labels}
    names = class_names(typed["train"], "train", label_names)
    for split, own in typed.items():
        fitting_labels(own, split, len(names))
        np.save(folder / f"{split}_labels.npy", own)
        arrays[split] = np.memmap(folder / f"{split}.pixels", np.uint8, "r", shape=(len(own), *first[1])), own
    facts = {
        "shape": first[1],
        "rows": {split: len(own) for split, (_, own) in arrays.items()},
        "label_names": names,
        "digest": digest_of(*(array for pair in arrays.values() for array in pair)),
        "left_out": left_out,
    }
    (folder / "facts.json").write_text(json.dumps(facts))


def _decoded(images: Iterator[Encoded], size: int, count: int) -> Iterator[tuple[Encoded, NDArray[np.uint8] | Refusal]]:
    """Decode images on all cores, in their order, under a progress bar."""

    def one(image: Encoded) -> NDArray[np.uint8] | Refusal:
        try:
            return decoded(image.content, image.place, size)
        except Refusal as refusal:
            return refusal

    from rich.console import Console
    from rich.progress import Progress

    with ThreadPoolExecutor(cores()) as pool, Progress(console=Console(stderr=True), disable=_quiet()) as bar:
        task = bar.add_task("reading images", total=count)
        while some := list(itertools.islice(images, _AT_A_TIME)):
            yield from zip(some, pool.map(one, some), strict=True)
            bar.advance(task, len(some))


def _quiet() -> bool:
    return not sys.stderr.isatty()


def _size(shape: Sequence[int]) -> str:
    return f"{shape[0]} x {shape[1]}"
