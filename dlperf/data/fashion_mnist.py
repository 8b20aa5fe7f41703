"""Fashion-MNIST: 70,000 pictures of clothes in ten classes, brought to CIFAR-10's format.

Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", 2017, and its repository zalandoresearch/fashion-mnist, which has addresses and MD5 sums. The files are
IDX: two zero bytes, the type (8: unsigned bytes), the number of dimensions, the dimensions as big-endian 32-bit
integers, and the bytes; gzipped.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from dlperf.data import download
from dlperf.errors import BadInput, EnvironmentMissing
from dlperf.folders import looked_for

if TYPE_CHECKING:
    from dlperf.data.dataset import Dataset

LABEL_NAMES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
TRAIN_SIZE, TEST_SIZE = 60_000, 10_000
FOLDER = "fashion-mnist"
_SIDE = 28
_SITE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FILES = (
    download.File(_SITE + "train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    download.File(_SITE + "train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
    download.File(_SITE + "t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
    download.File(_SITE + "t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
)
_SHAPES = ((TRAIN_SIZE, _SIDE, _SIDE), (TRAIN_SIZE,), (TEST_SIZE, _SIDE, _SIDE), (TEST_SIZE,))


def train_size() -> int:
    """Number of training images: 60,000."""
    return TRAIN_SIZE


def find(data_dir: str | Path = "") -> Path:
    """Find the folder with the four files: `data_dir`, then DLPERF_DATA_DIR, then the cache, then a download into it.

    Args:
        data_dir: The folder that holds `fashion-mnist/`, or that folder itself; "" if there is none.

    Returns:
        The folder that holds the files; all four are there.

    Raises:
        BadInput: `data_dir` is set and has no data. (DLPERF_DATA_DIR may hold other data sets only.)
        EnvironmentMissing: There are no data on this machine and the download failed.
    """
    from dlperf.data.cifar_search import ENVIRONMENT_VARIABLE

    for value in (data_dir, os.environ.get(ENVIRONMENT_VARIABLE, "")):
        place = Path(os.path.expanduser(value))
        for folder in (place, place / FOLDER) if value else ():
            if all(os.path.isfile(folder / file.name) for file in FILES):
                return folder
        if value and value == data_dir:
            gone = "" if os.path.exists(place) else f"is not there: {looked_for(place)}, "
            needed = ", ".join(file.name for file in FILES)
            raise BadInput("data_dir", data_dir, f"{gone}must hold {needed}, or {FOLDER}/")
    folder = download.place() / FOLDER
    try:
        download.fetch_files(FILES, folder)
    except EnvironmentMissing as problem:
        raise EnvironmentMissing(
            f"Fashion-MNIST is not on this machine and {problem}: use dataset=synthetic or dataset=digits, which need "
            f"no download, or put {', '.join(file.name for file in FILES)} into {folder}"
        ) from problem
    return folder


def read(path: Path, shape: tuple[int, ...]) -> bytes:
    """Read one file and verify its header and length.

    Args:
        path: A gzipped IDX file.
        shape: What it must hold.

    Returns:
        The bytes behind the header.

    Raises:
        BadInput: The file cannot be read, or holds something else.
    """
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
    size = len(header) + math.prod(shape)
    try:
        with gzip.open(path) as file:
            # A byte more than there may be, which is also what has the checksum looked at: all may not fit into memory.
            blob = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as problem:
        raise BadInput("data_dir", path, f"cannot be read as a .gz file ({problem})") from problem
    if not blob.startswith(header) or len(blob) != size:
        wanted = " x ".join(map(str, shape))
        raise BadInput("data_dir", path, f"must be IDX of {wanted} unsigned bytes, {size:,} bytes unpacked")
    return blob[len(header) :]


def verify(folder: Path) -> bool:
    """Read all four files once.

    Returns:
        True: they are verified.

    Raises:
        BadInput: As `read`, or for a label above 9.
    """
    for file, shape in zip(FILES, _SHAPES, strict=True):
        content = read(folder / file.name, shape)
        if len(shape) == 1 and max(content) >= len(LABEL_NAMES):
            raise BadInput("data_dir", folder / file.name, f"has label {max(content)}, must be 0 to 9")
    return True


def load(folder: Path) -> Dataset:
    """Load both splits: 28 x 28 grey pixels in the middle of 32 x 32, in three equal channels.

    Args:
        folder: As `find` returns it.

    Raises:
        BadInput: As `read`.
    """
    import numpy as np

    from dlperf.data.dataset import Dataset, aligned_empty

    arrays = [
        np.frombuffer(read(folder / file.name, shape), np.uint8).reshape(shape)
        for file, shape in zip(FILES, _SHAPES, strict=True)
    ]
    train_images, test_images = (aligned_empty((len(pixels), 32, 32, 3)) for pixels in (arrays[0], arrays[2]))
    for images, pixels in ((train_images, arrays[0]), (test_images, arrays[2])):
        images[:] = 0
        images[:, 2:-2, 2:-2] = pixels[..., None]
    return Dataset.build(
        name="fashion_mnist",
        train_inputs=train_images,
        train_labels=arrays[1].astype(np.int32),
        test_inputs=test_images,
        test_labels=arrays[3].astype(np.int32),
        label_names=LABEL_NAMES,
        source=str(folder),
    )
