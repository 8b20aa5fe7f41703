"""`python -m benchmarks.dry_run`, 15 minutes on 2 cores: what dry_run promises of an epoch, beside what it takes.

Of each trial a few steps are timed as dry_run does; then it is trained for `--epochs` epochs in a process of its own.
The figures are the seconds of an epoch with its evaluations, promised and real, and their ratio, which is to lie
between 1 / 1.3 and 1.3. `--small` takes digits and small networks; else CIFAR-10 has to be there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.record import Record, add_output, at_least, in_own_process
from dlperf import entry_points
from dlperf.parameters import parse
from dlperf.runner.dry_run import measured_plan
from dlperf.trial import DataUsed

_CORRECTED = {"protocol": "corrected"}
_IMAGES = {"train_examples": "5000"}
_SCALING = {"mode": "strong", "train_examples": "2048"}
TRIALS = {
    "optimizers adam": {"optimizer": "adam", "dropout": "false"},
    "optimizers rmsprop": {"optimizer": "rmsprop", "dropout": "true", "learning_rate": "0.001", **_CORRECTED},
    "cutout m=0": {"m": "0", "depth": "20", **_IMAGES},
    "cutout m=4": {"m": "4", "depth": "8", **_IMAGES, **_CORRECTED},
    "cutout MobileNet": {"m": "0", "model": "keras:MobileNet", **_IMAGES, **_CORRECTED},
    "scaling plain": {"workers": "1", "strategy": "none", **_SCALING},
    "scaling two": {"workers": "2", **_SCALING},
    "approximators narrow": {"units": "64,128,64"},
    "approximators wide": {"units": "512"},
}
SMALL = {
    "optimizers adam": {"optimizer": "adam", "dropout": "false", "dataset": "digits"},
    "cutout m=0": {"m": "0", "depth": "8", "dataset": "digits", "train_examples": "128"},
    "scaling plain": {
        "workers": "1",
        "strategy": "none",
        "mode": "strong",
        "model": "convnet",
        "train_examples": "256",
    },
}
"""Parameters by part; the first word is the problem's name."""


class _Silent:
    """The report of a trial that nobody follows."""

    def data(self, used: DataUsed) -> None:
        """Report nothing."""

    def facts(self, params: Mapping[str, str], tags: Mapping[str, str], environment: Mapping[str, Any]) -> None:
        """Report nothing."""

    def epochs(self, first: int, metrics: Sequence[Mapping[str, float]]) -> None:
        """Report nothing."""


def compare(part: str, given: Mapping[str, str], epochs: int) -> dict[str, float]:
    """Return the promised and the real seconds of an epoch, the test at the end shared out among them."""
    name, whole = part.split()[0], {**given, "epochs": str(epochs)}
    problem = entry_points.load_problem(name)
    plan = measured_plan(problem, parse(problem.parameters, whole).trials)
    (promised,) = plan.columns["seconds per round" if problem.distributed else "seconds per epoch"]
    real = in_own_process("dry_run", "--trial", json.dumps({"problem": name, **whole}))["seconds"] / epochs
    return {"promised_seconds": promised, "real_seconds": real, "ratio": promised / real}


def seconds_of(trial: dict[str, str]) -> float:
    """Train a trial; return the seconds of its epochs and of its evaluations, which scaling has none of."""
    from dlperf.engines.execution import Task, execute

    name = trial.pop("problem")
    problem = entry_points.load_problem(name)
    (parameters,) = parse(problem.parameters, trial).trials
    accounts = execute(problem, Task(name, parameters, name), _Silent()).accounts
    return accounts["train"] + (0.0 if problem.distributed else accounts["evaluation"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    add_output(parser, "results/dry_run")
    parser.add_argument("--epochs", type=at_least(1), default=5, help="epochs that are really trained (default 5)")
    parser.add_argument("--small", action="store_true", help="digits and small networks")
    parser.add_argument("--trial", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.trial:
        print(json.dumps({"seconds": seconds_of(options.trial)}))
        sys.exit()
    record = Record(options.output / "benchmark.json")
    for part, given in (SMALL if options.small else TRIALS).items():
        record.measure(part, lambda part=part, given=given: compare(part, given, options.epochs))  # type: ignore[misc]
    sys.exit(record.end())
