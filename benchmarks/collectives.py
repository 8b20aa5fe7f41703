"""Collectives of MultiWorkerMirroredStrategy between two network namespaces: two hosts with a cable, on one machine.

`python -m benchmarks.collectives` (as root, with iproute2 and taskset) makes two namespaces joined by a veth pair,
starts the scaling problem in each as on two hosts, each on a core of its own, with every collective, with and without a
bandwidth limit (`tc tbf`), and writes results/scaling/collectives.csv. TCP between them is real; the memory is one
machine's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "results" / "scaling" / "collectives.csv"
NAMES = ("dlperf0", "dlperf1")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
HOSTS = ",".join(f"{address}:12345" for address in ADDRESSES)


def ip(*arguments: str) -> None:
    """Run iproute2's `ip`."""
    subprocess.run(["ip", *arguments], check=True)


@contextmanager
def two_hosts(limit: str) -> Iterator[None]:
    """Make the namespaces, their link, and its bandwidth limit ("" for none); remove them at the end."""
    for name in NAMES:
        ip("netns", "add", name)
    try:
        ip("link", "add", "dlveth0", "netns", NAMES[0], "type", "veth", "peer", "name", "dlveth1", "netns", NAMES[1])
        for number, (name, address) in enumerate(zip(NAMES, ADDRESSES, strict=True)):
            inside = ["netns", "exec", name]
            ip(*inside, "ip", "addr", "add", f"{address}/24", "dev", f"dlveth{number}")
            for device in (f"dlveth{number}", "lo"):
                ip(*inside, "ip", "link", "set", device, "up")
            if limit:
                shape = ["tbf", "rate", limit, "burst", "256kb", "latency", "50ms"]
                ip(*inside, "tc", "qdisc", "add", "dev", f"dlveth{number}", "root", *shape)
        yield
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "del", name], check=False)


def measure(collective: str, limit: str, steps: int, folder: str, *further: str) -> dict[str, object]:
    """Train on both hosts; return the row of the first one's table, or why there is none.

    Args:
        collective: How the workers reduce.
        limit: Bandwidth as `tc` reads it ("100mbit"), "" for none.
        steps: Steps of each of the three rounds.
        folder: For the store and the states.
        *further: Further arguments of the scaling problem.
    """
    own = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "DLPERF_STATE_DIR": f"{folder}/state"}
    command = [sys.executable, "entrypoints/scaling.py", "--mode", "weak", "--hosts", HOSTS, "--collective", collective]
    command += ["--steps", str(steps), "--repeats", "3", *further]
    with two_hosts(limit):
        started = [
            subprocess.Popen(
                ["ip", "netns", "exec", name, "taskset", "-c", str(index), *command, "--host_index", str(index)],
                cwd=ROOT, env={**os.environ, **own}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for index, name in enumerate(NAMES)
        ]  # fmt: skip
        said = [process.communicate()[1] for process in started]
    row: dict[str, object] = {"collective": collective, "limit": limit or "none"}
    if started[0].returncode:
        return {**row, "note": said[0].strip().splitlines()[-1]}
    import mlflow

    client = mlflow.MlflowClient(own["MLFLOW_TRACKING_URI"])
    (run,) = client.search_runs(["0"], order_by=["attributes.start_time DESC"], max_results=1)
    metrics, row["note"] = run.data.metrics, run.data.tags["dlperf.emulated"]
    names = ("step_seconds", "step_seconds_p25", "step_seconds_p75", "images_per_second", "all_reduce_seconds")
    return {**row, **{name: metrics[name] for name in names}}


def figure(table: pd.DataFrame) -> Figure:
    """Draw step and all-reduce of each collective, a panel per bandwidth."""
    limits = list(dict.fromkeys(table["limit"]))
    drawn = Figure(figsize=(5 * len(limits), 4), layout="constrained")
    for axes, limit in zip(drawn.subplots(1, len(limits), squeeze=False, sharey=True)[0], limits, strict=True):
        own = table[table["limit"] == limit]
        names = own["collective"].str.upper().replace("NCCL", "NCCL (falls back: no GPU)")
        for column, label in (("step_seconds", "step"), ("all_reduce_seconds", "all-reduce by itself")):
            axes.bar(names, 1000 * own[column], width=0.8 if column == "step_seconds" else 0.4, label=label)
        axes.set(title=f"two hosts, bandwidth limit: {limit}", ylabel="milliseconds")
        axes.tick_params(axis="x", labelsize=8)
        axes.legend(fontsize=8)
    return drawn


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--limits", default=",100mbit", help="bandwidth limits with commas between; empty is none")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            measure(collective, limit, given.steps, folder)
            for limit in given.limits.split(",")
            for collective in ("auto", "ring", "nccl")
        ]
    table = pd.DataFrame(rows)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(RESULT, index=False)
    figure(table).savefig(RESULT.with_suffix(".png"), dpi=120)
    print(table.to_string(index=False))
