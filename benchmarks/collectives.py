"""`python -m benchmarks.collectives`, 4 minutes on 2 cores: ways to reduce between two hosts with a cable.

As root, with iproute2 and taskset: two network namespaces joined by a veth pair stand for the hosts. The scaling
problem (MultiWorkerMirroredStrategy) is started in each as on two hosts, each on a core of its own, with every
collective, with and without a bandwidth limit (`tc tbf`). TCP between them is real; the memory is one machine's. The
figures are written to results/scaling as collectives.json, .csv and .png.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.record import ROOT, MeasurementFailed, Record, add_output, at_least, failure, several

PROGRAMS = ("ip", "tc", "taskset")
# Of this process: another one may measure on the same machine.
NAMES = (f"dlperf{os.getpid()}a", f"dlperf{os.getpid()}b")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
HOSTS = ",".join(f"{address}:12345" for address in ADDRESSES)


def why_not() -> str:
    """Why this process cannot make two hosts, "" if it can."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        return f"needs {', '.join(missing)} (iproute2 and util-linux)"
    return "" if os.geteuid() == 0 else "needs root, to make network namespaces"


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
                # What a pause saves up goes out at once, the burst: less than a step's gradients.
                shape = ["tbf", "rate", limit, "burst", "64kb", "latency", "50ms"]
                ip(*inside, "tc", "qdisc", "add", "dev", f"dlveth{number}", "root", *shape)
        yield
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "del", name], check=False)


def measure(collective: str, limit: str, steps: int, folder: str, *further: str) -> dict[str, object]:
    """Train on both hosts; return the row of the first one's table.

    Args:
        collective: How the workers reduce.
        limit: Bandwidth as `tc` reads it ("100mbit"), "" for none.
        steps: Steps of each of the three rounds.
        folder: For the store and the states.
        *further: Further arguments of the scaling problem.

    Raises:
        MeasurementFailed: If the first host's start fails.
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
    if started[0].returncode:
        raise MeasurementFailed(failure(["python", *command[1:]], started[0].returncode, said[0]))
    import mlflow

    client = mlflow.MlflowClient(own["MLFLOW_TRACKING_URI"])
    everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(everywhere, order_by=["attributes.start_time DESC"], max_results=1)
    metrics, note = run.data.metrics, run.data.tags["dlperf.emulated"]
    row: dict[str, object] = {"collective": collective, "limit": limit or "none", "note": note}
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


def main() -> int:
    """Measure every collective under every limit, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=at_least(1), default=10, help="of each of three rounds (default 10)")
    parser.add_argument("--limits", type=several(str), default=["", "100mbit"], help="of the bandwidth; empty is none")
    parser.add_argument("--collectives", type=several(str), default=["auto", "ring", "nccl"], help="which")
    parser.add_argument("further", nargs="*", help="further arguments of the scaling problem, after --")
    add_output(parser, "results/scaling")
    given = parser.parse_args()
    if reason := why_not():
        print(f"benchmarks.collectives {reason}", file=sys.stderr)
        return 3
    record = Record(given.output / "collectives.json")
    with tempfile.TemporaryDirectory() as folder:
        for limit in given.limits:
            for collective in given.collectives:
                work = partial(measure, collective, limit, given.steps, folder, *given.further)
                record.measure(f"{collective}, limit {limit or 'none'}", work)
    if record.figures:
        table = pd.DataFrame(record.figures.values())
        table.to_csv(given.output / "collectives.csv", index=False)
        figure(table).savefig(given.output / "collectives.png", dpi=120)
    return record.end()


if __name__ == "__main__":
    sys.exit(main())
