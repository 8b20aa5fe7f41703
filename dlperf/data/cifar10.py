"""CIFAR-10 in its binary layout: 60,000 real 32x32 colour images in ten classes.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and the page
https://www.cs.toronto.edu/~kriz/cifar.html, which describes the layout: the five training files and the test file
hold 10,000 records apiece, of 3,073 bytes: a label byte (0 to 9) and then 1,024 red, 1,024 green and 1,024 blue bytes,
every plane row by row. The *Python* version of the archive is a pickle and is not read: a data folder must not be able
to run code.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dlperf.data import download
from dlperf.errors import BadInput, EnvironmentMissing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dlperf.data.dataset import Dataset

LABEL_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDER = "cifar-10-batches-bin"
TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILE = "test_batch.bin"
FILES = (*TRAIN_FILES, TEST_FILE)
RECORD_BYTES = 1 + 3 * 32 * 32
RECORDS_PER_FILE = 10_000
ENVIRONMENT_VARIABLE = "DLPERF_DATA_DIR"
ARCHIVE = download.Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    size=170_052_171,
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    members=tuple(f"{FOLDER}/{file}" for file in FILES),
)


def train_size() -> int:
    """Number of training images: 50,000."""
    return len(TRAIN_FILES) * RECORDS_PER_FILE


def cache_folder() -> Path:
    """Where a download is kept."""
    return download.place() / FOLDER


def find(data_dir: str | Path = "") -> Path:
    """Find the folder with the six files: `data_dir`, then DLPERF_DATA_DIR, then the cache, then a download into it.

    The first of the two that is set decides: if it lacks the data, nothing else is tried, because training on other
    files than the ones named would go unnoticed.

    Args:
        data_dir: The folder that holds `cifar-10-batches-bin/` or that folder itself; "" if there is none.

    Returns:
        The absolute path of the folder that holds the files themselves. All six are there; `verify` looks inside.

    Raises:
        BadInput: `data_dir` or DLPERF_DATA_DIR is set and has no data.
        EnvironmentMissing: There are no data on this machine and the download failed.
    """
    for parameter, value in (("data_dir", data_dir), (ENVIRONMENT_VARIABLE, os.environ.get(ENVIRONMENT_VARIABLE))):
        if value:
            return _folder_in(parameter, str(value))
    folder = cache_folder()
    if not _holds_all(str(folder)):
        try:
            download.fetch(ARCHIVE, folder)
        except EnvironmentMissing as problem:
            raise EnvironmentMissing(
                f"CIFAR-10 is not on this machine and {problem}: use dataset=digits, which needs no download, "
                f"or put {FILES[0]} to {TRAIN_FILES[-1]} and {TEST_FILE} into {folder}, "
                f"or name the folder that has them with data_dir or {ENVIRONMENT_VARIABLE}"
            ) from problem
    return Path(os.path.realpath(folder))


def read_records(path: Path) -> bytes:
    """Read one file and verify it: the number of records and every label. Plain Python, about 10 ms a file.

    Args:
        path: A .bin file.

    Returns:
        The records, `RECORDS_PER_FILE` times `RECORD_BYTES` bytes.

    Raises:
        BadInput: The file cannot be read, is truncated or too long, or has a label above 9.
    """
    expected = RECORDS_PER_FILE * RECORD_BYTES
    allowed = f"must be {RECORDS_PER_FILE:,} records of {RECORD_BYTES:,} bytes = {expected:,} bytes"
    try:
        # The size first: a file that is something else altogether may not fit into memory.
        size = path.stat().st_size
        blob = path.read_bytes() if size == expected else b""
    except OSError as problem:
        raise BadInput("data_dir", path, f"cannot be read ({problem.strerror}), {allowed}") from problem
    if len(blob) != expected:
        whole, rest = divmod(size, RECORD_BYTES)
        torn = f" and {rest:,} bytes of another" if rest else ""
        raise BadInput("data_dir", path, f"has {size:,} bytes, {whole:,} whole records{torn}, {allowed}")
    labels = blob[::RECORD_BYTES]
    if max(labels) >= len(LABEL_NAMES):
        record = next(index for index, label in enumerate(labels) if label >= len(LABEL_NAMES))
        raise BadInput(
            "data_dir", path, f"has label {labels[record]} in record {record:,}, must be 0 to {len(LABEL_NAMES) - 1}"
        )
    return blob


def verify(folder: Path) -> None:
    """Read all six files once and refuse any that `read_records` refuses.

    Args:
        folder: As `find` returns it.

    Raises:
        BadInput: As `read_records`.
    """
    for file in FILES:
        read_records(folder / file)


def load(folder: Path) -> Dataset:
    """Load both splits in the order of the files.

    Args:
        folder: As `find` returns it.

    Returns:
        50,000 training and 10,000 test images, channels last.

    Raises:
        BadInput: As `read_records`.
    """
    from dlperf.data.dataset import Dataset

    train_images, train_labels = _split(folder, TRAIN_FILES)
    test_images, test_labels = _split(folder, (TEST_FILE,))
    return Dataset.build(
        name="cifar10",
        train_inputs=train_images,
        train_labels=train_labels,
        test_inputs=test_images,
        test_labels=test_labels,
        label_names=LABEL_NAMES,
        source=str(folder),
    )


def _split(folder: Path, files: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    # NumPy is imported here, not above: `verify` must run before anything heavy is imported.
    import numpy as np

    from dlperf.data.dataset import aligned_empty

    images = aligned_empty((len(files) * RECORDS_PER_FILE, 32, 32, 3))
    labels = np.empty(len(images), np.int32)
    for number, file in enumerate(files):
        # File by file into the final array: the data set then never stands twice in memory.
        rows = slice(number * RECORDS_PER_FILE, (number + 1) * RECORDS_PER_FILE)
        records = np.frombuffer(read_records(folder / file), np.uint8).reshape(RECORDS_PER_FILE, RECORD_BYTES)
        labels[rows] = records[:, 0]
        images[rows] = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images, labels


def _folder_in(parameter: str, value: str) -> Path:
    """The folder with the files in the place a user named, which is that folder or its parent."""
    place = os.path.expanduser(value)
    if not os.path.isdir(place):
        problem = "is no folder"
    else:
        inner = os.path.join(place, FOLDER)
        folder = inner if os.path.isdir(inner) else place
        if _holds_all(folder):
            return Path(os.path.realpath(folder))
        missing = [file for file in FILES if not os.path.isfile(os.path.join(folder, file))]
        problem = f"lacks {', '.join(missing)}"
    raise BadInput(parameter, value, f"{problem}, must be the folder that holds {FOLDER}/ or that folder itself")


def _holds_all(folder: str) -> bool:
    # os.path rather than Path: it answers False instead of raising for names no file system accepts.
    return all(os.path.isfile(os.path.join(folder, file)) for file in FILES)
