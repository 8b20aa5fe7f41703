"""Data of the user's own, as `dataset` names them: KIND:PATH."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from pathlib import Path

from dlperf.errors import BadInput
from dlperf.folders import looked_for

KINDS = {
    "npz": "a file with x_train, y_train, x_test and y_test",
    "images": "a folder with a folder per class",
    "parquet": "a file, or a folder of train-*.parquet and test-*.parquet",
}


@dataclass(frozen=True)
class Reading:
    """How data of the user's own are read; the data sets of the course take the defaults.

    Attributes:
        image_size: Side that images are brought to, in pixels; 0 leaves them as they are.
        skip_broken: Leave out files that cannot be read as images.
        split_seed: The examples that are tested on follow from it, where the data do not say.
    """

    image_size: int = 0
    skip_broken: bool = False
    split_seed: int = 0


AS_IT_IS = Reading()


def kind(dataset: str) -> str:
    """Return the KIND of KIND:PATH, "" for the name of a data set."""
    before, colon, path = dataset.partition(":")
    return before if colon and path and before in KINDS else ""


def path_in(dataset: str) -> str:
    """Return the PATH of KIND:PATH, "" for the name of a data set."""
    return dataset.removeprefix(f"{kind(dataset)}:") if kind(dataset) else ""


def name(dataset: str) -> str:
    """Return KIND:NAME with the last part of the path, as runs log it."""
    return f"{kind(dataset)}:{Path(path_in(dataset)).name}"


def existing(dataset: str) -> Path:
    """Return the path of the file or folder.

    Raises:
        BadInput: It is not there, or not of the kind.
    """
    path = Path(path_in(dataset))
    try:
        path = path.expanduser()
        there = path.is_file() or path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, no such user's home, a zero byte
        raise BadInput("dataset", dataset, f"cannot be looked for ({error}), must be {KINDS[kind(dataset)]}") from error
    if not there:
        raise BadInput("dataset", dataset, f"is not there: {looked_for(path)}")
    if (kind(dataset) == "npz" and path.is_dir()) or (kind(dataset) == "images" and path.is_file()):
        found = "folder" if path.is_dir() else "file"
        raise BadInput("dataset", dataset, f"is a {found}, must be {KINDS[kind(dataset)]}")
    return path


@functools.cache
def say(line: str) -> None:
    """Say a line once: a start verifies its data twice, before and in its run."""
    print(f"dlperf: {line}", file=sys.stderr)
