"""`python -m benchmarks.approximators`, 15 minutes on 2 cores: an epoch of problem 5's networks, and its floor.

Seconds per epoch of a stratified sample of the 143 networks: the notebook's way, ours, and what the multiplications
alone would take; both ways on this machine in one run, written to results/approximators. The notebook's way is one
`fit` after another in one process with all cores, validating after each epoch; ours is the sweep's engine, a worker per
core. Both train the notebook's protocol for the same number of epochs; compilation is left out of both. Of each network
and repeat the mean over epochs is taken, of the repeats the median. Ours has one evaluation more (on the test set, at
the end), logs nothing here, and its workers are taken to be always busy. Leave the machine alone while it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.record import Record, add_output, at_least, in_own_process, several
from dlperf.accounting.mlp import multiplications, networks
from dlperf.processor import cores

TRAINED, VALIDATED, BATCH = 80_000, 20_000, 1000
Units = tuple[int, ...]


@dataclass(frozen=True)
class Repeat:
    """What one repeat measured: a core's multiplications per second, and seconds of an epoch by network."""

    core_rate: float
    fit_seconds: dict[str, float]
    our_core_seconds: dict[str, float]


def sample(every: int) -> list[Units]:
    """Return every so-manieth network, ordered by depth and then by multiplications."""
    ordered = sorted(networks(), key=lambda units: (len(units), multiplications(units)))
    return ordered[every // 2 :: every]


def notebook_seconds(units: Units, epochs: int) -> list[float]:
    """Seconds of each epoch of `model.fit`, its validation included, after a first one that traces and compiles."""
    import keras

    from dlperf.data import eggholder
    from dlperf.models.mlp import regression_mlp
    from dlperf.training.notebook_optimizers import Nadam

    class Timer(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.ends: list[float] = []

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            self.ends.append(time.perf_counter())

    drawn = eggholder.draw(0, continuous=False)
    keras.utils.clear_session()
    model = regression_mlp(units, random_seed=0, fast_gradient=False)
    rmse = keras.metrics.RootMeanSquaredError("rmse")
    model.compile(Nadam(), "mse", metrics=[rmse])
    timer = Timer()
    stopping = keras.callbacks.EarlyStopping("val_rmse", patience=20, restore_best_weights=True, mode="min")
    model.fit(
        *(drawn.train.inputs, drawn.train.targets), batch_size=BATCH, epochs=epochs + 1, verbose=0,
        validation_data=(drawn.test.inputs, drawn.test.targets), callbacks=[stopping, timer],
    )  # fmt: skip
    return [end - begin for begin, end in zip(timer.ends, timer.ends[1:], strict=False)]


def our_seconds(sampled: Sequence[Units], epochs: int) -> dict[str, dict[str, float]]:
    """Account seconds of each network, trained by one worker per core."""
    from dlperf.engines import local, longest_first
    from dlperf.engines.execution import Task
    from dlperf.problems.approximators.parameters import ApproximatorsParameters
    from dlperf.problems.approximators.problem import PROBLEM

    accounts: dict[str, dict[str, float]] = {}

    class Listener:
        """Logs nothing."""

        def started(self, task: Task) -> Any:
            return self

        def ended(self, task: Task, outcome: Any) -> None:
            if isinstance(outcome, Exception):
                raise outcome
            accounts[task.name] = dict(outcome.accounts)

        def data(self, used: Any) -> None: ...

        def facts(self, params: Any, tags: Any, environment: Any) -> None: ...

        def epochs(self, first: int, metrics: Any) -> None: ...

    tasks = []
    for units in sampled:
        name = _name(units)
        parameters = ApproximatorsParameters.resolve({"units": name, "epochs": epochs, "patience": 0})
        tasks.append(Task(PROBLEM.name, parameters, name))
    with tempfile.TemporaryDirectory() as folder:  # so that checkpoints are written
        for task in tasks:
            task.state_file = Path(folder) / task.name / "state.npz"
        local.run(longest_first(PROBLEM, tasks), Listener(), cores())
    return accounts


def core_rate() -> float:
    """Single-precision multiplications per second of a core in a large matrix product while all cores do the same."""
    program = "from dlperf.runner.dry_run import matrix_product_rate as rate; print(max(rate() for _ in range(5)))"
    one_thread = {**os.environ, **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")}
    started = [
        subprocess.Popen([sys.executable, "-c", program], env=one_thread, stdout=subprocess.PIPE, text=True)
        for _ in range(cores())
    ]
    return statistics.mean(float(process.communicate()[0]) for process in started)


def floor_seconds(units: Units, rate: float) -> float:
    """Core-seconds that the multiplications of an epoch take: forward, two gradients (one in the first layer)."""
    forward = multiplications(units)
    return ((3 * forward - 2 * units[0]) * TRAINED + forward * VALIDATED) / rate


def one_repeat(sampled: Sequence[Units], epochs: int) -> dict[str, Any]:
    """Measure every network both ways; return a `Repeat` as a dictionary."""
    rate = core_rate()
    fit = {
        _name(units): statistics.mean(in_own_process("approximators", "--network", _name(units), "--epochs", epochs))
        for units in sampled
    }
    accounts = our_seconds(sampled, epochs)
    counted = ("train", "evaluation", "checkpoint", "reporting")
    ours = {name: sum(accounts[name][account] for account in counted) / epochs for name in fit}
    return asdict(Repeat(rate, fit, ours))


def network_rows(sampled: Sequence[Units], repeats: Sequence[Repeat]) -> list[dict[str, Any]]:
    """Return the medians over the repeats by network."""
    rate = statistics.median(repeat.core_rate for repeat in repeats)
    rows = []
    for units in sampled:
        name = _name(units)
        fit = statistics.median(repeat.fit_seconds[name] for repeat in repeats)
        ours = statistics.median(repeat.our_core_seconds[name] for repeat in repeats)
        floor = floor_seconds(units, rate)
        rows.append(
            {
                "units": name,
                "fit_seconds": fit,
                "our_core_seconds": ours,
                "floor_core_seconds": floor,
                "ratio_one_worker": fit / ours,
                "ratio_all_workers": fit / ours * cores(),
                "over_floor": ours / floor,
            }
        )
    return rows


def sweep_epoch(rows: Sequence[Mapping[str, Any]], rate: float) -> dict[str, float]:
    """Return an epoch of all 143 networks, as the sampled ones' share of it says."""
    share = len(networks()) / len(rows)
    fit, ours, floor = (
        share * sum(float(row[name]) for row in rows)
        for name in ("fit_seconds", "our_core_seconds", "floor_core_seconds")
    )
    return {
        "fit_seconds": fit,
        "our_seconds": ours / cores(),
        "ratio": fit / ours * cores(),
        "our_core_seconds": ours,
        "floor_core_seconds": floor,
        "floor_core_seconds_of_all_143": sum(floor_seconds(units, rate) for units in networks()),
        "over_floor": ours / floor,
        "core_rate_multiplications_per_second": rate,
    }


def main() -> int:
    """Measure the sample and write the figures; or one network the notebook's way in this process, printed as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=at_least(1), default=10, help="measure one network in so many (default 10)")
    parser.add_argument("--epochs", type=at_least(1), default=5, help="epochs that are timed (default 5)")
    parser.add_argument("--repeats", type=at_least(1), default=3, help="repeats of all, both ways in turn (default 3)")
    parser.add_argument("--network", type=several(at_least(1)), help="measure only the notebook's way on this network")
    add_output(parser, "results/approximators")
    given = parser.parse_args()
    if given.network:
        print(json.dumps(notebook_seconds(tuple(given.network), given.epochs)))
        return 0
    sampled = sample(given.every)
    if not sampled:
        parser.error(f"--every {given.every}: leaves none of the {len(networks())} networks")
    record = Record(given.output / "benchmark.json", epochs=given.epochs)
    for number in range(1, given.repeats + 1):
        record.measure(f"repeat {number}", partial(one_repeat, sampled, given.epochs))
    repeats = [Repeat(**figures) for figures in record.figures.values()]
    if repeats:
        rows = record.measure("networks", partial(network_rows, sampled, repeats))
        rate = statistics.median(repeat.core_rate for repeat in repeats)
        record.measure("epoch of the sweep", partial(sweep_epoch, rows or [], rate))
    return record.end()


def _name(units: Units) -> str:
    return ",".join(map(str, units))


if __name__ == "__main__":
    sys.exit(main())
