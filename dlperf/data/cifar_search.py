"""Where CIFAR lies on this machine, and in which of its forms: folders of both versions, their archives, Parquet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dlperf.data import download
from dlperf.data.cifar_layout import Layout
from dlperf.errors import BadInput, EnvironmentMissing
from dlperf.folders import looked_for

ENVIRONMENT_VARIABLE = "DLPERF_DATA_DIR"
_LEVELS = 3
# In the order in which they are taken where several are found; archives come last, because they have to be unpacked.
Form = Literal["binary", "python", "parquet", "archive"]
_CALLED: dict[Form, str] = {
    "binary": "binary version",
    "python": "Python version",
    "parquet": "Parquet files",
    "archive": "archive",
}


@dataclass(frozen=True)
class Found:
    """A data set in one of its forms.

    Attributes:
        form: Which one.
        path: The folder of its files, or the archive.
        damaged: What else was found, and lacks something, in words.
    """

    form: Form
    path: Path
    damaged: tuple[str, ...] = ()

    def said(self, title: str) -> str:
        """Say it in a line."""
        others = "".join(f"; {damage}" for damage in self.damaged)
        return f"{title} is read from {self.path} ({_CALLED[self.form]}){others}"


def cache_folder(layout: Layout) -> Path:
    """Where a download is kept."""
    return download.place() / layout.binary_folder


def find(layout: Layout, data_dir: str | Path = "") -> Found:
    """Find a data set: below `data_dir`, then DLPERF_DATA_DIR, then in the cache, then a download into it.

    The first of the two that is set decides: if it lacks the data, nothing else is tried, because training on other
    files than the ones named would go unnoticed.

    Args:
        layout: Which data set.
        data_dir: The folder of the files or one up to three levels above, or an archive; "" if there is none.

    Returns:
        Where it is; nothing is lacking there, what is in the files is for their reader.

    Raises:
        BadInput: `data_dir` or DLPERF_DATA_DIR is set and has no data.
        EnvironmentMissing: There are no data on this machine and the download failed.
    """
    for parameter, value in (("data_dir", data_dir), (ENVIRONMENT_VARIABLE, os.environ.get(ENVIRONMENT_VARIABLE))):
        if value:
            return _below(layout, parameter, str(value))
    folder = cache_folder(layout)
    if not _holds_all(str(folder), layout.binary_files):
        try:
            download.fetch(layout.archive, folder)
        except EnvironmentMissing as problem:
            raise EnvironmentMissing(
                f"{layout.title} is not on this machine and {problem}: use dataset=digits, which needs no download, "
                f"or put {layout.binary_files[0]} to {layout.binary_files[-1]} into {folder}, "
                f"or name a folder that has it in any form with data_dir or {ENVIRONMENT_VARIABLE}"
            ) from problem
    return Found("binary", Path(os.path.realpath(folder)))


def parquet_files(folder: Path, split: str) -> list[Path]:
    """Return the Parquet files of a split in a folder, in the order of their numbers."""
    return sorted([*folder.glob(f"{split}-*.parquet"), *folder.glob(f"{split}.parquet")])


def _below(layout: Layout, parameter: str, value: str) -> Found:
    """The data set in the place a user named, or below it."""
    place = os.path.expanduser(value)
    problem = "is no folder" if os.path.exists(place) else f"is not there: {looked_for(Path(place))}"
    damaged = list[str]()
    if os.path.isfile(place) and os.path.basename(place) in layout.archives:
        return Found("archive", Path(os.path.realpath(place)))
    if os.path.isdir(place):
        problem = f"holds no {layout.title}"
        archives = list[Found]()
        for level in _levels(place):
            complete = list[Found]()
            for folder in level:
                for form, lacking in _in_folder(layout, folder):
                    if lacking:
                        damaged.append(f"{folder} lacks {', '.join(lacking)}")
                    elif form == "archive":
                        archives.append(_archive(layout, folder))
                    else:
                        complete.append(Found(form, Path(os.path.realpath(folder))))
            if complete:
                found = min(complete, key=lambda found: list(_CALLED).index(found.form))
                return replace(found, damaged=tuple(damaged))
        if archives:
            return replace(archives[0], damaged=tuple(damaged))
    found_there = "; ".join(damaged) or problem
    raise BadInput(
        parameter,
        value,
        f"{found_there}, must be a folder that holds {layout.binary_folder}/, {layout.python_folder}/, one of their "
        "archives, or train-*.parquet and test-*.parquet, at most three levels below",
    )


def _levels(place: str) -> Iterator[list[str]]:
    """The folder, those in it, and so on."""
    level = [place]
    for _ in range(_LEVELS + 1):
        yield level
        level = [inner for folder in level for inner in _folders_in(folder)]


def _folders_in(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if entry.is_dir())
    except OSError:  # one that may not be read holds nothing for this user
        return []


def _in_folder(layout: Layout, folder: str) -> Iterator[tuple[Form, list[str]]]:
    """The forms that lie in a folder itself, with what they lack."""
    name = os.path.basename(os.path.realpath(folder))
    python_files = (*layout.python_files, *((layout.python_meta,) if len(layout.python_train) == 1 else ()))
    files: tuple[tuple[Form, str, tuple[str, ...]], ...] = (
        ("binary", layout.binary_folder, layout.binary_files),
        ("python", layout.python_folder, python_files),
    )
    for form, called, wanted in files:
        lacking = [file for file in wanted if not os.path.isfile(os.path.join(folder, file))]
        # Files of these names are CIFAR's; some of them, or none in a folder of its name, are what is left of it.
        if not lacking or name == called or (len(wanted) > 3 and len(lacking) < len(wanted)):
            yield form, lacking
    if all(parquet_files(Path(folder), split) for split in ("train", "test")) and _is_parquet_of(layout, folder):
        yield "parquet", []
    if any(os.path.isfile(os.path.join(folder, archive)) for archive in layout.archives):
        yield "archive", []


def _archive(layout: Layout, folder: str) -> Found:
    names = (os.path.join(folder, archive) for archive in layout.archives)
    return Found("archive", Path(os.path.realpath(next(filter(os.path.isfile, names)))))


def _is_parquet_of(layout: Layout, folder: str) -> bool:
    """Whether Parquet files have the label of this data set: CIFAR-10's and CIFAR-100's are called alike."""
    import pyarrow
    import pyarrow.parquet

    try:
        names = pyarrow.parquet.read_schema(parquet_files(Path(folder), "train")[0]).names
    except (OSError, pyarrow.ArrowException):
        return False
    return any(label in names for label in layout.label_columns)


def _holds_all(folder: str, files: tuple[str, ...]) -> bool:
    # os.path rather than Path: it answers False instead of raising for names no file system accepts.
    return all(os.path.isfile(os.path.join(folder, file)) for file in files)
