"""Starting a benchmark as a user does, at toy size."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.desk import ROOT
from tests.support.forked_measurements import MODULES, fork_measurements
from tests.support.warm_start import WarmProcess


@dataclass
class Ended:
    """A benchmark that has ended, and the folder it wrote to."""

    exit_status: int
    stdout: str
    stderr: str
    folder: Path

    @property
    def printed(self) -> Any:
        """The JSON value of the last line."""
        assert self.exit_status == 0, self.stderr[-3000:]
        return json.loads(self.stdout.splitlines()[-1])

    def written(self, name: str = "benchmark.json") -> dict[str, Any]:
        """The record, of whose parts none has failed."""
        assert self.exit_status == 0, self.stderr[-3000:]
        record: dict[str, Any] = json.loads((self.folder / name).read_text())
        assert set(record) == {"environment", "figures", "seconds"}
        assert set(record["seconds"]) == set(record["figures"])
        assert record["environment"]["command"].startswith("python -m benchmarks.")
        return record


Start = Callable[..., Ended]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """A function that starts `python -m benchmarks.MODULE ARGUMENTS`, with `--output` unless told otherwise."""

    def start(module: str, *arguments: object, output: bool = True) -> Ended:
        folder = tmp_path / "figures"
        command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
        command[3:3] = ["--output", str(folder)] if output else []
        errors = tmp_path / "errors"
        first = fork_measurements if module in MODULES else None
        process = WarmProcess(command, ROOT, os.environ, errors, first)
        written, _ = process.communicate()
        return Ended(process.wait(), written, errors.read_text(), folder)

    return start
