"""The data sets: located and verified before a run exists, loaded once for a whole sweep.

Nothing here imports NumPy at module level, and `check` does not for CIFAR's binary files, Fashion-MNIST and digits: bad
input must be answered before anything heavy is imported and before MLflow holds a run.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlperf.data import digits, fashion_mnist, user_data
from dlperf.data.cifar import Cifar
from dlperf.data.cifar_layout import CIFAR10, CIFAR100
from dlperf.data.user_data import AS_IT_IS, Reading, kind, path_in
from dlperf.errors import BadInput, did_you_mean

__all__ = [
    "NAMES", "Facts", "Reading", "check", "check_kind", "facts", "kind", "load", "load_samples", "path_in",
    "stored_files",
]  # fmt: skip

if TYPE_CHECKING:
    from dlperf.data.dataset import Dataset, Samples

# The sets that are files; digits come with a package.
_FROM_FILES: dict[str, Any] = {"cifar10": Cifar(CIFAR10), "cifar100": Cifar(CIFAR100), "fashion_mnist": fashion_mnist}
NAMES = (*_FROM_FILES, "digits")
_CLASSES = {name: 100 if name == "cifar100" else 10 for name in NAMES}


@dataclass(frozen=True)
class Facts:
    """What has to be known of labelled examples before they are trained on.

    Attributes:
        train: Examples that are there to train on, and to choose those to validate on from.
        validation: Examples that are there to validate on alone.
        input_shape: Shape of one.
        classes: Number of classes.
    """

    train: int
    validation: int
    input_shape: tuple[int, ...]
    classes: int


def facts(name: str, data_dir: str | Path = "", reading: Reading = AS_IT_IS) -> Facts:
    """Return the facts of a data set: known without reading it, except for the user's own, which are loaded.

    Args:
        name: One of `NAMES`, or KIND:PATH.
        data_dir: As for `check`.
        reading: As for `load`.

    Raises:
        BadInput: There is no data set of this name, or it cannot be used.
    """
    _check_name(name)
    if kind(name):
        loaded = load(name, data_dir, reading)
        held_out = 0 if loaded.validation_labels is None else len(loaded.validation_labels)
        return Facts(len(loaded.train_labels), held_out, loaded.input_shape, len(loaded.label_names))
    module = _FROM_FILES.get(name, digits)
    return Facts(module.train_size(), 0, (32, 32, 3), _CLASSES[name])


def check(name: str, data_dir: str | Path, train_examples: int, reading: Reading = AS_IT_IS) -> None:
    """Refuse what could not be trained on: verifies the files to the last label (a download happens here too).

    Args:
        name: One of `NAMES`, or KIND:PATH.
        data_dir: The folder that the user named, "" if none (see `cifar_search.find`); for digits and the user's own
            data there is none.
        train_examples: Number of training examples asked for, 0 for all.
        reading: As for `load`.

    Raises:
        BadInput: `dataset`, `data_dir` or `train_examples` cannot be used, or a file is truncated or mislabelled.
        EnvironmentMissing: The data are not on this machine and could not be downloaded.
    """
    available = facts(name, data_dir, reading).train
    if not 0 <= train_examples <= available:
        raise BadInput("train_examples", train_examples, f"must be 0 (all) to {available}, which is all {name} has")
    if name in _FROM_FILES:
        found = _FROM_FILES[name].find(data_dir)
        if not _FROM_FILES[name].verify(found):
            _load(name, found)
    elif data_dir:
        raise BadInput("data_dir", data_dir, f"must be left out with dataset={name}, which needs no such folder")


def load(name: str, data_dir: str | Path = "", reading: Reading = AS_IT_IS) -> Dataset:
    """Load a data set; every call returns the same (read-only) arrays, so that a sweep loads them once.

    Args:
        name: One of `NAMES`, or KIND:PATH.
        data_dir: As for `check`.
        reading: How data of the user's own are read.

    Returns:
        The whole data set, all splits.

    Raises:
        BadInput: As for `check`.
        EnvironmentMissing: As for `check`.
    """
    _check_name(name)
    if kind(name):
        return _load_user_data(name, reading)
    return _load(name, _FROM_FILES[name].find(data_dir) if name in _FROM_FILES else None)


def stored_files(name: str) -> list[Path]:
    """Return the files that data of the user's own consist of, so that they can be copied.

    Args:
        name: KIND:PATH.

    Raises:
        BadInput: They are not there, or do not lie as they have to.
    """
    if kind(name) == "npz":
        return [user_data.existing(name)]
    if kind(name) == "images":
        from dlperf.data import image_folder

        return image_folder.files(name)
    from dlperf.data import parquet_file

    return parquet_file.files(name)


@functools.lru_cache(maxsize=2)
def load_samples(name: str) -> Samples:
    """Load the samples of a function from `npz:FILE`, once for a whole sweep.

    Raises:
        BadInput: The file cannot be used.
    """
    from dlperf.data import npz

    return npz.regression(name)


@functools.lru_cache(maxsize=2)
def _load(name: str, found: Any) -> Dataset:
    return digits.load() if found is None else _FROM_FILES[name].load(found)


@functools.lru_cache(maxsize=2)
def _load_user_data(name: str, reading: Reading) -> Dataset:
    if kind(name) == "npz":
        from dlperf.data import npz

        return npz.classification(name)
    if kind(name) == "images":
        from dlperf.data import image_folder

        return image_folder.classification(name, reading)
    from dlperf.data import parquet_file

    return parquet_file.classification(name, reading)


def check_kind(name: str, names: tuple[str, ...], kinds: tuple[str, ...] = tuple(user_data.KINDS)) -> None:
    """Refuse what is neither one of `names` nor KIND:PATH of one of `kinds`; no file is looked at.

    Raises:
        BadInput: Naming what is allowed.
    """
    if name in names or kind(name) in kinds:
        return
    allowed = ", ".join([*names, *(f"{each}:PATH" for each in kinds)])
    raise BadInput("dataset", name, f"must be one of {allowed}{did_you_mean(name, names)}")


def _check_name(name: str) -> None:
    check_kind(name, NAMES)
