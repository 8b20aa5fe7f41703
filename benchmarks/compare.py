"""`python -m benchmarks.compare`, 20 minutes on 2 cores: whole starts of `compare` over a large store.

Wall time, CPU time and memory. A SQLite store of 10,000 made trials, 2,000 of each problem; `compare` is started on one
problem at a time as a user does: from final metrics alone (`curves=false`), and with every figure. The figures are
written to results/compare.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.record import ROOT, MeasurementFailed, Record, add_output, at_least, failure, several
from dlperf.entry_points import PROBLEMS
from tests.support.made_trials import insert, made


def make_store(folder: Path, names: Sequence[str], trials: int) -> dict[str, int]:
    """Make a store with as many trials of each problem; return their number.

    In a process of its own: a child's peak memory is at least what its parent takes when it starts it.

    Raises:
        MeasurementFailed: If it cannot be made.
    """
    maker = multiprocessing.get_context("spawn").Process(target=_make_store, args=(folder, names, trials))
    maker.start()
    maker.join()
    if maker.exitcode:
        raise MeasurementFailed(f"the store could not be made: exit status {maker.exitcode}")
    return {"trials": len(names) * trials}


def _make_store(folder: Path, names: Sequence[str], trials: int) -> None:
    import mlflow

    uri = f"sqlite:///{folder}/mlflow.db"
    mlflow.MlflowClient(uri).search_experiments(max_results=1)  # makes the tables
    for problem in names:
        insert(f"{folder}/mlflow.db", (made(problem, number) for number in range(trials)))


def measure(uri: str, problem: str, *arguments: str) -> dict[str, float]:
    """Start `compare` once; return its wall and CPU seconds, the interpreter's start included, and its peak memory.

    Raises:
        MeasurementFailed: If it fails.
    """
    command = [sys.executable, "entrypoints/compare.py", "--problem", problem, "--tracking_uri", uri, *arguments]
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=stderr, env={**os.environ, "MLFLOW_RUN_ID": ""}
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        stderr.seek(0)
        said = stderr.read()
    if process.returncode:
        raise MeasurementFailed(failure(command, process.returncode, said))
    return {
        "wall_seconds": time.perf_counter() - begun,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_memory_mb": usage.ru_maxrss * 1024 / 1e6,
    }


def medians(uri: str, problem: str, arguments: Sequence[str], repeats: int) -> dict[str, float]:
    """Start `compare` several times; return the medians."""
    taken = [measure(uri, problem, *arguments) for _ in range(repeats)]
    return {name: round(statistics.median(one[name] for one in taken), 2) for name in taken[0]}


def main() -> int:
    """Make the store, measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=at_least(1), default=2000, help="of each problem (default 2000)")
    parser.add_argument("--repeats", type=at_least(1), default=3, help="starts of each (default 3)")
    parser.add_argument("--problems", type=several(str), default=list(PROBLEMS), help="which, with commas between")
    add_output(parser, "results/compare")
    given = parser.parse_args()
    if unknown := set(given.problems) - set(PROBLEMS):
        parser.error(f"--problems {', '.join(unknown)}: must be of {', '.join(PROBLEMS)}")
    record = Record(given.output / "benchmark.json", trials_of_each=given.trials)
    with tempfile.TemporaryDirectory() as folder:
        if record.measure("store", partial(make_store, Path(folder), given.problems, given.trials)) is None:
            return record.end()
        uri = f"sqlite:///{folder}/mlflow.db"
        for problem in given.problems:
            for kind, arguments in (("final metrics", ("--curves", "false")), ("all figures", ())):
                record.measure(f"{problem}, {kind}", partial(medians, uri, problem, arguments, given.repeats))
    return record.end()


if __name__ == "__main__":
    sys.exit(main())
