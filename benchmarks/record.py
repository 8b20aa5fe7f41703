"""What a benchmark has measured, on disk as each part of it ends: a part that fails late loses nothing.

Not a benchmark itself. One that has several parts measures each through a `Record`:

    record = Record(folder / "benchmark.json")
    record.measure("augmentation", lambda: augmentation(m=4))
    record.measure("training", lambda: training(m=4))
    sys.exit(record.end())
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dlperf import environment, tables
from dlperf.errors import one_line
from dlperf.terminal.tables import show_table

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
Figures = TypeVar("Figures", bound=Mapping[str, Any] | Sequence[Any])
Value = TypeVar("Value")


class MeasurementFailed(Exception):
    """A process that was to be measured failed; the text says which, and why, in one line."""


class Record:
    """The figures of a benchmark by part, in a JSON file.

    The file has `environment` (as `environment.describe`, and the load average at the start), `figures` by part,
    `seconds` that each part took, and `failed`: why a part has no figures, in one line.

    Attributes:
        figures: What each finished part gave.
        failed: Why a part gave nothing, by part.
    """

    def __init__(self, file: Path, **described: Any) -> None:
        """Prepare to write to `file`; nothing is written before the first part has ended.

        Args:
            file: The JSON file; its folder is made where it is missing.
            **described: What else the environment says, as the data that were measured on.
        """
        self._file = file
        self._environment = {**environment.describe(), "load_average": os.getloadavg(), **described}
        self._seconds: dict[str, float] = {}
        self.figures: dict[str, Any] = {}
        self.failed: dict[str, str] = {}

    def measure(self, part: str, work: Callable[[], Figures]) -> Figures | None:
        """Measure one part, and write what has been measured so far; return its figures, None where it failed.

        A part that is measured again has the newer figures, and the seconds of both.

        An interruption (Ctrl-C) is passed on: the file has the parts that ended before it.
        """
        print(f"measuring {part}", file=sys.stderr, flush=True)
        begun = time.perf_counter()
        try:
            figures = work()
        except Exception as error:
            if not isinstance(error, MeasurementFailed):
                traceback.print_exc()  # a bug of the benchmark, which its line alone does not show
            self.failed[part] = one_line(error)
            self._write()
            return None
        self._seconds[part] = round(self._seconds.get(part, 0.0) + time.perf_counter() - begun, 1)
        self.figures[part] = figures
        self._write()
        return figures

    def end(self) -> int:
        """Print the tables, and which parts failed; return the exit status, 1 if any did.

        Beside the JSON file, the same tables are written as Markdown.
        """
        texts = [f"Measured on {environment.hardware()}; command: `{self._environment['command']}`."]
        texts += [f"{part} failed: {reason}" for part, reason in self.failed.items()]
        for title, table in self._tables().items():
            show_table(title, table, wide=True)
            texts += [f"{title}:", tables.markdown(table)]
        self._file.with_suffix(".md").write_text("\n\n".join(text.strip() for text in texts) + "\n")
        print(f"figures: {os.path.relpath(self._file)}", file=sys.stderr)
        for part, reason in self.failed.items():
            print(f"{part} failed: {reason}", file=sys.stderr)
        return 1 if self.failed else 0

    def _tables(self) -> dict[str, pd.DataFrame]:
        """Lay out the figures: a part of rows is a table, parts of the same single numbers are the rows of one."""
        import pandas as pd

        rows: dict[str, list[dict[str, Any]]] = {}
        for part, figures in self.figures.items():
            if isinstance(figures, list):
                rows[part] = figures
            elif not any(isinstance(value, list | dict) for value in figures.values()):
                rows.setdefault(", ".join(figures), []).append({"part": part, **figures})
        found = {}
        for key, table in rows.items():
            parts = [row["part"] for row in table] if key not in self.figures else [key]
            found[" to ".join(dict.fromkeys((parts[0], parts[-1])))] = pd.DataFrame(table)
        return found

    def _write(self) -> None:
        content = {"environment": self._environment, "figures": self.figures, "seconds": self._seconds}
        content |= {"failed": self.failed} if self.failed else {}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._file.with_name(f"{self._file.name}.new")
        unfinished.write_text(json.dumps(content, indent=1) + "\n")
        unfinished.replace(self._file)


def in_own_process(module: str, *arguments: object) -> Any:
    """Run a benchmark module in a process of its own; return the JSON value of its last line.

    Raises:
        MeasurementFailed: If it ends with another exit status than 0; with the last line of its standard error.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    # TensorFlow and the legacy ImageDataGenerator write to standard error also where nothing is wrong.
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MeasurementFailed(failure(["python", *command[1:]], done.returncode, done.stderr))
    return json.loads(done.stdout.splitlines()[-1])


def failure(command: Sequence[str], exit_status: int, stderr: str) -> str:
    """Say in one line that a command failed, and why by the last line of what it wrote to standard error."""
    lines = stderr.strip().splitlines()
    return f"{' '.join(command)} ended with exit status {exit_status}" + (f": {lines[-1].strip()}" if lines else "")


def at_least(least: int) -> Callable[[str], int]:
    """Return what reads an option's text as an integer that is not below `least`, for `argparse`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"{text}: must be a whole number from {least} on")
        return number

    return read


def several(read: Callable[[str], Value]) -> Callable[[str], list[Value]]:
    """Return what reads an option's text as values with commas between, for `argparse`."""
    return lambda text: [read(part) for part in text.split(",")]


def add_output(parser: argparse.ArgumentParser, folder: str) -> None:
    """Give a benchmark the option `--output`, the folder its files go to: `folder` of the repository by default."""
    parser.add_argument(
        "--output", type=Path, default=ROOT / folder, metavar="FOLDER", help=f"where the figures go (default {folder})"
    )
