"""`python -m benchmarks.container`, 13 minutes on 2 cores: seconds per epoch inside a container and outside, in turn.

Needs the image: `docker build -t dlperf .` first. Two starts of one program differ by some percent, so only many pairs
tell a small overhead from none: the figure comes with its interval. The figures are written to results/containers.
Leave the machine alone while it runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.record import ROOT, MeasurementFailed, Record, add_output, at_least, failure
from dlperf.analysis.statistics import mean_of


def pair(number: int, image: str, trial: Sequence[str]) -> dict[str, float]:
    """Train on either side; return the median seconds of an epoch, the first one left out.

    Raises:
        MeasurementFailed: If one of the two fails.
    """
    # Who is first changes, so that a drift of the machine meets both alike.
    sides = ("outside", "inside") if number % 2 else ("inside", "outside")
    seconds = {side: _outside(trial) if side == "outside" else _inside(image, trial) for side in sides}
    return {side: statistics.median(seconds[side][1:]) for side in ("outside", "inside")}


def overhead(pairs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return how much longer an epoch takes inside, as shares of the outside's seconds."""
    overheads = [pair["inside"] / pair["outside"] - 1 for pair in pairs]
    mean = mean_of(overheads)
    least_inside, least_outside = (min(pair[side] for pair in pairs) for side in ("inside", "outside"))
    return {
        "median_of_pairs": statistics.median(overheads),
        "mean_of_pairs": mean.mean,
        "mean_low": mean.low,
        "mean_high": mean.high,
        "of_the_least": least_inside / least_outside - 1,
    }


def main() -> int:
    """Measure the pairs and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", default="dlperf", help="the image, built before (default dlperf)")
    parser.add_argument("--pairs", type=at_least(2), default=20, help="starts on either side, in turn (default 20)")
    parser.add_argument("--epochs", type=at_least(2), default=5, help="of each; the first is left out (default 5)")
    parser.add_argument("--train_examples", type=at_least(64), help="images of an epoch (default: all of digits)")
    add_output(parser, "results/containers")
    given = parser.parse_args()
    trial = ["cutout", "--dataset", "digits", "--depth", "8", "--m", "2", "--epochs", str(given.epochs)]
    trial += ["--train_examples", str(given.train_examples)] if given.train_examples else []
    record = Record(given.output / "overhead.json")
    for number in range(1, given.pairs + 1):
        record.measure(f"pair {number}", partial(pair, number, given.image, trial))
    pairs = list(record.figures.values())
    if len(pairs) > 1:
        record.measure("overhead", partial(overhead, pairs))
    return record.end()


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise MeasurementFailed(f"{command[0]} is not installed") from error
    if done.returncode:
        # Docker's last line points to its help; the reason stands before it.
        said = [line for line in done.stderr.splitlines() if not line.startswith(("Run 'docker", "See 'docker"))]
        raise MeasurementFailed(failure(command, done.returncode, "\n".join(said)))


def _outside(trial: Sequence[str]) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/mlflow.db"
        environment = {**os.environ, "MLFLOW_TRACKING_URI": store, "DLPERF_STATE_DIR": folder, "PYTHONPATH": str(ROOT)}
        _run([sys.executable, "-m", "dlperf", *trial], Path(folder), environment)
        return _epoch_seconds(store)


def _inside(image: str, trial: Sequence[str]) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        volume = ["--volume", f"{folder}:/runs"]
        user = ["--user", f"{os.getuid()}:{os.getgid()}"]
        command = ["docker", "run", "--rm", "--network", "none", *user, *volume, image, *trial]
        _run(command, ROOT, os.environ)
        return _epoch_seconds(f"sqlite:///{folder}/mlflow.db")


def _epoch_seconds(store: str) -> list[float]:
    """Read the seconds of each epoch of the one run in a store."""
    import mlflow

    client = mlflow.MlflowClient(store)
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return [metric.value for metric in client.get_metric_history(run.info.run_id, "epoch_seconds")]


if __name__ == "__main__":
    main()
