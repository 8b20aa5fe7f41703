"""Seconds per epoch of problem 5's networks: the notebook's way, ours, and what the multiplications alone would take.

`python -m benchmarks.approximators` measures a stratified sample of the 143 networks, both ways on this machine in one
run, and writes results/approximators/benchmark.json. The notebook's way is one `fit` after another in one process with
all cores, validating after each epoch; ours is the sweep's engine, a worker per core. Both train the notebook's
protocol for the same number of epochs; compilation is left out of both. Of each network and repeat the mean over epochs
is taken, of the repeats the median. Ours has one evaluation more (on the test set, at the end), logs nothing here, and
its workers are taken to be always busy. Leave the machine alone meanwhile.
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
from pathlib import Path
from typing import Any

from dlperf.accounting.mlp import multiplications, networks
from dlperf.environment import cores, describe

TRAINED, VALIDATED, BATCH = 80_000, 20_000, 1000
RESULT = Path(__file__).resolve().parents[1] / "results" / "approximators" / "benchmark.json"
Units = tuple[int, ...]


def sample(every: int) -> list[Units]:
    """Return every so-manieth network, ordered by depth and then by multiplications."""
    ordered = sorted(networks(), key=lambda units: (len(units), multiplications(units)))
    return ordered[every // 2 :: every]


def notebook_seconds(units: Units, epochs: int) -> list[float]:
    """Seconds of each epoch of `model.fit`, its validation included, after a first one that traces and compiles."""
    import keras

    from dlperf.data import eggholder
    from dlperf.models.mlp import regression_mlp

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
    model.compile(keras.optimizers.Nadam(), "mse", metrics=[rmse])
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
        name = ",".join(map(str, units))
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


def main(every: int, epochs: int, repeats: int) -> dict[str, Any]:
    """Measure, interleaving the two ways; return rows per network and the totals over the sweep."""
    sampled = sample(every)
    theirs: dict[str, list[float]] = {}
    ours: dict[str, list[float]] = {}
    rates = []
    for _ in range(repeats):
        rates.append(core_rate())
        for units in sampled:
            name = ",".join(map(str, units))
            command = [sys.executable, "-m", "benchmarks.approximators", "--network", name, "--epochs", str(epochs)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            theirs.setdefault(name, []).append(statistics.mean(json.loads(done.stdout.splitlines()[-1])))
        for name, accounts in our_seconds(sampled, epochs).items():
            seconds = accounts["train"] + accounts["evaluation"] + accounts["checkpoint"] + accounts["reporting"]
            ours.setdefault(name, []).append(seconds / epochs)
    rate = statistics.median(rates)
    rows = []
    for units in sampled:
        name = ",".join(map(str, units))
        notebook, own = statistics.median(theirs[name]), statistics.median(ours[name])
        floor = floor_seconds(units, rate)
        rows.append(
            {
                "units": name,
                "fit_seconds": notebook,
                "our_core_seconds": own,
                "floor_core_seconds": floor,
                "ratio_one_worker": notebook / own,
                "ratio_all_workers": notebook / own * cores(),
                "over_floor": own / floor,
            }
        )
    share = len(networks()) / len(sampled)
    fit, own, floor = (
        share * sum(row[name] for row in rows) for name in ("fit_seconds", "our_core_seconds", "floor_core_seconds")
    )
    return {
        "networks": rows,
        "sweep_epoch": {
            "fit_seconds": fit,
            "our_seconds": own / cores(),
            "ratio": fit / own * cores(),
            "our_core_seconds": own,
            "floor_core_seconds": floor,
            "floor_core_seconds_of_all_143": sum(floor_seconds(units, rate) for units in networks()),
            "over_floor": own / floor,
        },
        "core_rate_multiplications_per_second": rate,
        "epochs": epochs,
        "repeats": repeats,
        "environment": describe(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=10, help="measure one network in so many")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--network", help="measure the notebook's way on this network and print JSON")
    given = parser.parse_args()
    if given.network:
        print(json.dumps(notebook_seconds(tuple(map(int, given.network.split(","))), given.epochs)))
    else:
        measured = main(given.every, given.epochs, given.repeats)
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(json.dumps(measured, indent=2) + "\n")
        for row in measured["networks"]:
            print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{v:>12}" for k, v in row.items()))
        print(json.dumps(measured["sweep_epoch"], indent=2))
