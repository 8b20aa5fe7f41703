"""The comparison over a large store: wall time, CPU time and memory of whole starts.

`python -m benchmarks.compare` makes a SQLite store of 10,000 trials, 2,000 of each problem, and starts `compare` on
one problem at a time as a user does: from final metrics alone (`curves=false`), and with every figure.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dlperf import environment
from dlperf.problems.compare import COMPARED
from tests.made_trials import insert, made

ROOT = Path(__file__).resolve().parent.parent


def make_store(folder: Path, trials: int) -> None:
    """Make a store with as many trials of each problem."""
    import mlflow

    uri = f"sqlite:///{folder}/mlflow.db"
    mlflow.MlflowClient(uri).search_experiments(max_results=1)  # makes the tables
    for problem in COMPARED:
        insert(f"{folder}/mlflow.db", (made(problem, number) for number in range(trials)))


def measure(uri: str, problem: str, *arguments: str) -> dict[str, float]:
    """Start `compare` once; return its wall and CPU seconds, the interpreter's start included, and its peak memory."""
    command = [sys.executable, "entrypoints/compare.py", "--problem", problem, "--tracking_uri", uri, *arguments]
    begun = time.perf_counter()
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, env={**os.environ, "MLFLOW_RUN_ID": ""}
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit status {process.returncode}")
    return {
        "wall_seconds": time.perf_counter() - begun,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_memory_mb": usage.ru_maxrss * 1024 / 1e6,
    }


def main() -> None:
    """Measure, print and write results/compare/benchmark.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000, help="of each problem")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: a child's peak memory is at least what its parent takes when it starts it.
        maker = multiprocessing.get_context("spawn").Process(target=make_store, args=(Path(folder), given.trials))
        maker.start()
        maker.join()
        uri = f"sqlite:///{folder}/mlflow.db"
        for problem in COMPARED:
            for kind, arguments in (("final metrics", ("--curves", "false")), ("all figures", ())):
                taken = [measure(uri, problem, *arguments) for _ in range(given.repeats)]
                medians = {name: statistics.median(each[name] for each in taken) for name in taken[0]}
                rows.append({"problem": problem, "kind": kind, **{k: round(v, 2) for k, v in medians.items()}})
                print(rows[-1], flush=True)
    target = ROOT / "results" / "compare" / "benchmark.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    described = {key: environment.describe()[key] for key in ("command", "git_commit", "versions", "cpu", "cores")}
    target.write_text(json.dumps({**described, "trials_of_each": given.trials, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
