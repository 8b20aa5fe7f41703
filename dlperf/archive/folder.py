"""An archive: a folder of parts, and index.json, which says what they are and what their bytes have to be."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import dlperf
from dlperf.archive import parts
from dlperf.archive.checks import fault, is_run
from dlperf.archive.parts import ArchivedTrial
from dlperf.entry_points import PROBLEMS
from dlperf.errors import BadInput, EnvironmentMissing, one_line
from dlperf.folders import sync
from dlperf.locks import held

FORMAT = 1
REFERENCE = "reference"
"""The name of the archive that comes with dlperf."""
_INDEX = "index.json"
_LOCK = ".lock"
_WRITING = ".writing-"
_PART = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,200}\.parquet")
_DIGEST = re.compile(r"[0-9a-f]{64}")
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
        self._runs: dict[str, set[str]] = {}  # by part

    def __len__(self) -> int:
        """Return the number of trials."""
        return sum(part["trials"] for part in self._listed)

    def trials(self, problem: str = "") -> Iterator[ArchivedTrial]:
        """Read the trials of one problem, or all of them.

        Raises:
            EnvironmentMissing: If a part is missing, its bytes are not those that were written, it has a trial that
                dlperf cannot have written, or one that stands in another part too.
        """
        there: set[str] = set()
        for part in self._listed:
            if problem in ("", part["problem"]):
                trials = self._read(part)
                if twice := there & self._runs[part["file"]]:
                    raise EnvironmentMissing(
                        f"the archive {self.name}: {self.folder / part['file']} is damaged: the trial {min(twice)} "
                        "stands in another part too"
                    )
                there |= self._runs[part["file"]]
                yield from trials

    def runs(self) -> set[str]:
        """Return the runs of all trials; a part is read once.

        Raises:
            EnvironmentMissing: If a part is damaged.
        """
        for part in self._listed:
            if part["file"] not in self._runs:
                self._read(part)
        return set().union(*(self._runs[part["file"]] for part in self._listed))

    def add(self, trials: Sequence[ArchivedTrial]) -> int:
        """Write a part of the trials that are not here yet, and list it.

        Processes that add to one archive take turns. No file that is there is replaced but the index, which is so last;
        whatever ends the program before that, the archive stays what it was.

        Args:
            trials: Of one sweep, and so of one problem.

        Returns:
            How many trials were written.

        Raises:
            ValueError: If reading would refuse the part.
            EnvironmentMissing: If it cannot be written, or the archive is damaged.
        """
        if len({(trial.problem, trial.sweep) for trial in trials}) != 1 or any(map(fault, trials)):
            raise ValueError(next(filter(None, map(fault, trials)), "the trials are not of one sweep"))
        try:
            with held(self.folder / _LOCK, f"waiting for another process that adds to the archive {self.name}"):
                for left in self.folder.glob(f"{_WRITING}*"):  # by a writer that was killed: this is the only one now
                    shutil.rmtree(left, ignore_errors=True)
                self._listed = _listed(self.name, self.folder)
                there = self.runs()
                new = [trial for trial in trials if trial.run_id not in there]
                if new:
                    with tempfile.TemporaryDirectory(dir=self.folder, prefix=_WRITING) as folder:
                        self._write(Path(folder), new)
        except OSError as error:
            raise EnvironmentMissing(f"the archive {self.name} cannot be written ({one_line(error)})") from error
        return len(new)

    def _write(self, folder: Path, trials: Sequence[ArchivedTrial]) -> None:
        written, index = folder / "part", folder / _INDEX
        parts.write(written, trials)
        problem, sweep = trials[0].problem, trials[0].sweep
        file = self._free_name(f"{problem}-{sweep[:12]}")
        try:
            digest = hashlib.sha256(written.read_bytes()).hexdigest()
            part = {"file": file.name, "sha256": digest, "problem": problem, "sweep": sweep, "trials": len(trials)}
            facts = {name: sorted({t.tags.get(tag, "unknown") for t in trials}) for name, tag in _LISTED.items()}
            listed = [*self._listed, {**part, **facts}]
            contents = {"format": FORMAT, "written_by": f"dlperf {dlperf.__version__}", "parts": listed}
            index.write_text(json.dumps(contents, indent=1) + "\n")
            for each in (written, index):
                sync(each)
            os.replace(written, file)
            sync(self.folder)
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        os.replace(index, self.folder / _INDEX)
        sync(self.folder)
        self._listed = listed
        self._runs[file.name] = {trial.run_id for trial in trials}

    def _free_name(self, stem: str) -> Path:
        """Make an empty file of a name that no file has, listed or not."""
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        while True:
            file = self.folder / f"{next(names)}.parquet"
            with contextlib.suppress(FileExistsError):
                file.open("xb").close()
                return file

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
        runs = {t.run_id for t in trials if (t.problem, t.sweep) == (part["problem"], part["sweep"])}
        if not len(runs) == len(trials) == part["trials"]:
            raise EnvironmentMissing(f"the archive {self.name}: {file} has other trials than its index says")
        for trial in trials:
            if why := fault(trial):
                raise EnvironmentMissing(
                    f"the archive {self.name}: {file} is damaged, or not dlperf's: of the trial {trial.run_id!a} {why}"
                )
        self._runs[part["file"]] = runs
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
    try:
        folder = _reference() if name == REFERENCE else Path(name).expanduser()
        is_one = (folder / _INDEX).is_file()
    except (OSError, RuntimeError) as error:  # a name too long, a folder closed to us, somebody who has no home
        raise BadInput(parameter, name, f"cannot be looked at ({one_line(error)})") from error
    if not is_one:
        raise BadInput(parameter, name, f"must be {REFERENCE} or the folder of an archive, which has an {_INDEX}")
    return Archive(name, folder, _listed(name, folder))


def opened_to_add(folder: Path) -> Archive:
    """Open the archive in a folder that can be written to, or begin it there.

    Raises:
        EnvironmentMissing: If its index is damaged, or a newer dlperf's.
    """
    return Archive(str(folder), folder, _listed(str(folder), folder))


def _reference() -> Path:
    return Path(str(resources.files("dlperf.archive").joinpath(REFERENCE)))


def _listed(name: str, folder: Path) -> list[dict[str, Any]]:
    """Return what the index lists; nothing where there is none yet.

    Raises:
        EnvironmentMissing: If it is damaged, or a newer dlperf's.
    """
    file = folder / _INDEX
    try:
        if not file.exists():
            return []
        index = json.loads(file.read_bytes())
        number, listed = index["format"], index["parts"]
        if isinstance(number, int | float) and number > FORMAT:
            raise EnvironmentMissing(
                f"the archive {name} has format {one_line(number)}, of a newer dlperf; this one ({dlperf.__version__}) "
                f"reads format {FORMAT}"
            )
        if number != FORMAT or isinstance(number, bool) or not isinstance(listed, list):
            raise ValueError("it has another format")
        for part in listed:
            _check(part)
        if len({part["file"] for part in listed}) < len(listed):
            raise ValueError("a part is listed twice")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise EnvironmentMissing(f"the archive {name}: {file} is damaged, or no index ({one_line(error)})") from error
    return listed


def _check(part: Any) -> None:
    """Refuse an entry of the index that lacks what is read of it, or whose file this archive cannot have written.

    Raises:
        ValueError: It is such a one, or ...
        KeyError: lacks something, or ...
        TypeError: has something of another type.
    """
    file, digest, problem, sweep, trials = (part[name] for name in ("file", "sha256", "problem", "sweep", "trials"))
    if not _PART.fullmatch(file):
        raise ValueError(f"no part is called {file!a}")
    if problem not in PROBLEMS:
        raise ValueError(f"a part is of the problem {problem!a}, which is none of {', '.join(PROBLEMS)}")
    if not (_DIGEST.fullmatch(digest) and is_run(sweep) and type(trials) is int and 0 < trials < 1_000_000_000):
        raise ValueError("a part lacks what tells it")
