"""An archive: a folder of parts, and index.json, which says what they are and what their bytes have to be."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import dlperf
from dlperf.archive import parts
from dlperf.archive.parts import ArchivedTrial
from dlperf.errors import BadInput, EnvironmentMissing, one_line

FORMAT = 1
REFERENCE = "reference"
"""The name of the archive that comes with dlperf."""
_INDEX = "index.json"
_LISTED = {"hardware": "dlperf.hardware", "software": "dlperf.software", "versions": "dlperf.version"}  # by their tags


class Archive:
    """A folder of parts, each with the finished trials of one sweep; a part is never rewritten.

    Attributes:
        name: What the user calls it.
        folder: Where it lies.
    """

    def __init__(self, name: str, folder: Path, listed: Sequence[dict[str, Any]] = ()) -> None:
        """Take what the index lists; `opened` and `opened_to_add` read it."""
        self.name, self.folder = name, folder
        self._listed = list(listed)

    def __len__(self) -> int:
        """Return the number of trials."""
        return sum(part["trials"] for part in self._listed)

    def trials(self, problem: str = "") -> Iterator[ArchivedTrial]:
        """Read the trials of one problem, or all of them.

        Raises:
            EnvironmentMissing: If a part is missing, or its bytes are not those that were written.
        """
        for part in self._listed:
            if problem in ("", part["problem"]):
                yield from self._read(part)

    def add(self, sweep: str, trials: Sequence[ArchivedTrial]) -> Path:
        """Write a part, and list it; whatever ends the program in between, the archive stays what it was.

        Args:
            sweep: The run of the sweep.
            trials: Of one problem, none of which is here yet.

        Raises:
            EnvironmentMissing: If it cannot be written.
        """
        problem = trials[0].problem
        file = self.folder / self._free_name(f"{problem}-{sweep[:12]}")
        try:
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".writing-") as folder:
                self._write(file, Path(folder), sweep, trials)
        except OSError as error:
            raise EnvironmentMissing(f"the archive {self.name} cannot be written ({one_line(error)})") from error
        return file

    def _write(self, file: Path, folder: Path, sweep: str, trials: Sequence[ArchivedTrial]) -> None:
        written = folder / file.name
        parts.write(written, trials)
        digest = hashlib.sha256(written.read_bytes()).hexdigest()
        os.replace(written, file)
        facts = {name: sorted({t.tags.get(tag, "unknown") for t in trials}) for name, tag in _LISTED.items()}
        part = {
            "file": file.name,
            "sha256": digest,
            "problem": trials[0].problem,
            "sweep": sweep,
            "trials": len(trials),
        }
        listed = [*self._listed, {**part, "trials": len(trials), **facts}]
        index = folder / _INDEX
        contents = {"format": FORMAT, "written_by": f"dlperf {dlperf.__version__}", "parts": listed}
        index.write_text(json.dumps(contents, indent=1) + "\n")
        os.replace(index, self.folder / _INDEX)
        self._listed = listed

    def _free_name(self, stem: str) -> str:
        names = (f"{stem}{'' if number == 1 else f'-{number}'}.parquet" for number in range(1, len(self._listed) + 2))
        taken = {part["file"] for part in self._listed}
        return next(name for name in names if name not in taken)

    def _read(self, part: dict[str, Any]) -> list[ArchivedTrial]:
        file = self.folder / part["file"]
        try:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            raise EnvironmentMissing(f"the archive {self.name}: {file} cannot be read ({error.strerror})") from error
        if digest != part["sha256"]:
            raise EnvironmentMissing(
                f"the archive {self.name}: {file} is damaged: its bytes are not those of its index"
            )
        try:
            trials = parts.read(file)
        except ValueError as error:
            raise EnvironmentMissing(f"the archive {self.name}: {file} is no part of one: {one_line(error)}") from error
        listed = {trial.run_id for trial in trials if trial.problem == part["problem"] and trial.started >= 0}
        if not len(listed) == len(trials) == part["trials"]:
            raise EnvironmentMissing(f"the archive {self.name}: {file} has other trials than its index says")
        return trials


def opened(parameter: str, name: str) -> Archive:
    """Open an archive.

    Args:
        parameter: What the user named it by, for the error.
        name: Its folder, or REFERENCE for the one that comes with dlperf.

    Raises:
        BadInput: If it is no archive.
        EnvironmentMissing: If its index is damaged, or a newer dlperf's.
    """
    folder = (
        Path(str(resources.files("dlperf.archive").joinpath(REFERENCE)))
        if name == REFERENCE
        else Path(name).expanduser()
    )
    if not (folder / _INDEX).is_file():
        raise BadInput(parameter, name, f"must be {REFERENCE} or the folder of an archive, which has an {_INDEX}")
    return Archive(name, folder, _index(name, folder / _INDEX))


def opened_to_add(folder: Path) -> Archive:
    """Open the archive in a folder that can be written to, or begin it there.

    Raises:
        EnvironmentMissing: If its index is damaged, or a newer dlperf's.
    """
    index = folder / _INDEX
    return Archive(str(folder), folder, _index(str(folder), index) if index.exists() else ())


def _index(name: str, file: Path) -> list[dict[str, Any]]:
    try:
        index = json.loads(file.read_bytes())
        number, listed = index["format"], index["parts"]
        if isinstance(number, int | float) and number > FORMAT:
            raise EnvironmentMissing(
                f"the archive {name} has format {number}, of a newer dlperf; this one ({dlperf.__version__}) reads "
                f"format {FORMAT}"
            )
        if number != FORMAT or isinstance(number, bool) or not all(map(_is_part, listed)):
            raise ValueError("a part lacks what tells it")
        if len({part["file"] for part in listed}) < len(listed):
            raise ValueError("a part is listed twice")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise EnvironmentMissing(f"the archive {name}: {file} is damaged, or no index ({one_line(error)})") from error
    return list(listed)


def _is_part(listed: Any) -> bool:
    """Whether an entry of the index has what is read of it, and its file lies in the folder itself."""
    kinds = {"file": str, "sha256": str, "problem": str, "sweep": str, "trials": int}
    return (
        all(isinstance(listed[name], kind) for name, kind in kinds.items())
        and Path(listed["file"]).name == listed["file"]
        and "\0" not in listed["file"]
    )
