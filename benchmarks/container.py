"""What a container costs: seconds per epoch inside and outside, in turns.

docker build -t dlperf .
python -m benchmarks.container            # 13 minutes on two cores; leave the machine alone

Two starts of one program differ by some percent, so only many pairs tell a small overhead from none: the figure comes
with its interval.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from dlperf.analysis.statistics import mean_of
from dlperf.environment import describe

ROOT = Path(__file__).resolve().parents[1]


@click.command()
@click.option("--image", default="dlperf", help="The image, built before.")
@click.option("--pairs", default=20, help="Starts on either side, in turns.")
@click.option("--epochs", default=5, help="Epochs of each; the first one is left out.")
def main(image: str, pairs: int, epochs: int) -> None:
    """Print the figures as JSON."""
    trial = ["cutout", "--dataset", "digits", "--depth", "8", "--m", "2", "--epochs", str(epochs)]
    outside, inside = [], []
    for pair in range(pairs):
        # Who is first changes, so that a drift of the machine meets both alike.
        for side in ("outside", "inside") if pair % 2 == 0 else ("inside", "outside"):
            seconds = _outside(trial) if side == "outside" else _inside(image, trial)
            (outside if side == "outside" else inside).append(statistics.median(seconds[1:]))
            print(f"{side}: {seconds}", file=sys.stderr)
    overheads = [a / b - 1 for a, b in zip(inside, outside, strict=True)]
    mean = mean_of(overheads)
    described = {key: describe()[key] for key in ("command", "git_commit", "versions", "platform", "cpu", "cores")}
    figures = {
        "overhead_median_of_pairs": statistics.median(overheads),
        "overhead_mean_of_pairs": mean.mean,
        "overhead_95_percent_interval": [mean.low, mean.high],
        "overhead_of_the_least": min(inside) / min(outside) - 1,
        "epoch_seconds_outside": outside,
        "epoch_seconds_inside": inside,
        "load_average": os.getloadavg(),
    }
    print(json.dumps(described | figures, indent=1))


def _outside(trial: list[str]) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/mlflow.db"
        environment = {**os.environ, "MLFLOW_TRACKING_URI": store, "DLPERF_STATE_DIR": folder, "PYTHONPATH": str(ROOT)}
        subprocess.run(
            [sys.executable, "-m", "dlperf", *trial], cwd=folder, env=environment, check=True, capture_output=True
        )
        return _epoch_seconds(store)


def _inside(image: str, trial: list[str]) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        volume = ["--volume", f"{folder}:/runs"]
        user = ["--user", f"{os.getuid()}:{os.getgid()}"]
        command = ["docker", "run", "--rm", "--network", "none", *user, *volume, image, *trial]
        subprocess.run(command, check=True, capture_output=True)
        return _epoch_seconds(f"sqlite:///{folder}/mlflow.db")


def _epoch_seconds(store: str) -> list[float]:
    """Read the seconds of each epoch of the one run in a store."""
    import mlflow

    client = mlflow.MlflowClient(store)
    (run,) = client.search_runs(["0"])
    return [metric.value for metric in client.get_metric_history(run.info.run_id, "epoch_seconds")]


if __name__ == "__main__":
    main()
