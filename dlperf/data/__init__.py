"""The data sets: located and verified before a run exists, loaded once for a whole sweep.

Nothing here imports NumPy at module level, and `check` never does: bad input must be answered before anything heavy
is imported and before MLflow holds a run.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlperf.data import cifar10, digits, fashion_mnist
from dlperf.errors import BadInput

if TYPE_CHECKING:
    from dlperf.data.dataset import ImageDataset

# The sets that are files; digits come with a package.
_FROM_FILES: dict[str, Any] = {"cifar10": cifar10, "fashion_mnist": fashion_mnist}
NAMES = (*_FROM_FILES, "digits")


def train_size(name: str) -> int:
    """Number of training images of a data set, known without reading it.

    Args:
        name: One of `NAMES`.

    Returns:
        50,000 for cifar10; 60,000 for fashion_mnist; 1,437 for digits.

    Raises:
        BadInput: There is no data set of this name.
    """
    _check_name(name)
    return _FROM_FILES[name].train_size() if name in _FROM_FILES else digits.TRAIN_SIZE


def check(name: str, data_dir: str | Path, train_examples: int) -> None:
    """Refuse what could not be trained on: verifies the files to the last label (a download happens here too).

    Args:
        name: One of `NAMES`.
        data_dir: The folder that the user named, "" if none (see `cifar10.find`); digits are embedded and take none.
        train_examples: Number of training images asked for, 0 for all.

    Raises:
        BadInput: `dataset`, `data_dir` or `train_examples` cannot be used, or a file is truncated or mislabelled.
        EnvironmentMissing: The data are not on this machine and could not be downloaded.
    """
    available = train_size(name)
    if not 0 <= train_examples <= available:
        raise BadInput("train_examples", train_examples, f"must be 0 (all) to {available}, which is all {name} has")
    if name in _FROM_FILES:
        _FROM_FILES[name].verify(_FROM_FILES[name].find(data_dir))
    elif data_dir:
        raise BadInput("data_dir", data_dir, f"must be left out with dataset={name}, which needs no files")


def load(name: str, data_dir: str | Path = "") -> ImageDataset:
    """Load a data set; every call returns the same (read-only) arrays, so that a sweep loads them once.

    Args:
        name: One of `NAMES`.
        data_dir: As for `check`.

    Returns:
        The whole data set, both splits.

    Raises:
        BadInput: As for `check`.
        EnvironmentMissing: As for `check`.
    """
    _check_name(name)
    return _load(name, _FROM_FILES[name].find(data_dir) if name in _FROM_FILES else None)


@functools.lru_cache(maxsize=2)
def _load(name: str, folder: Path | None) -> ImageDataset:
    return digits.load() if folder is None else _FROM_FILES[name].load(folder)


def _check_name(name: str) -> None:
    if name not in NAMES:
        raise BadInput("dataset", name, f"must be one of {', '.join(NAMES)}")
