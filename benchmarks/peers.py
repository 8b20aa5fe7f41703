"""`python -m benchmarks.peers`, 60 minutes on 2 cores: what a user would pick instead, beside ours.

ResNet-44 with crop, flip and cutout, the MLP of problem 1 and seven networks of problem 5, each trained by Keras's
`fit` (the notebook's way; oneDNN as TensorFlow chooses, and on), by PyTorch (eager and compiled; updates foreach and
fused), by JAX (a compiled scan over an epoch) and by ours. A way is a process pinned to as many cores as it has
threads; the ways of one work wait for one another and take turns, epoch by epoch, so that a drift of the machine meets
all alike. Figures are medians with quartiles; the first epoch, which compiles, is left out and stands by itself,
counted from the start of the program. Written to results/peers. PyTorch and JAX come from an environment of their own:
`make peers` builds it. Leave the machine alone while it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Self

from benchmarks.record import ROOT, MeasurementFailed, Record, add_output, at_least, failure, several
from dlperf.accounting.mlp import multiplications
from dlperf.accounting.resnet import count_resnet
from dlperf.processor import allowed_cores

PEERS = ROOT / ".venv-peers" / "bin" / "python"
NETWORKS = ((16,), (512,), (64, 64, 64), (32, 256, 32), (128, 256, 128), (256, 256), (256, 128, 128))
# Ways by work: the module of `peer_ways`, and its variant.
RESNET = (
    *(("ours", ""), ("fit", "default"), ("fit", "onednn")),
    *(("pytorch", "eager"), ("pytorch", "eager foreach"), ("pytorch", "compile"), ("jax_scan", "")),
)
MLP = (
    *(("ours", ""), ("fit", "default"), ("pytorch", "eager foreach"), ("pytorch", "eager fused")),
    *(("pytorch", "compile foreach"), ("pytorch", "compile fused"), ("jax_scan", "")),
)
EGGHOLDER = (("ours", ""), ("fit", "default"), ("pytorch", "eager foreach"), ("pytorch", "compile"), ("jax_scan", ""))
FLOOR = """
from dlperf.runner.dry_run import matrix_product_rate as rate
print(max(rate() for _ in range(5)))
"""


class Way:
    """A process that trains one way; as a context manager it ends it."""

    def __init__(self, way: str, variant: str, work: dict[str, Any]) -> None:
        """Start it on as many cores as it has threads."""
        python = str(PEERS) if way in ("pytorch", "jax_scan") else sys.executable
        command = [python, "-m", f"benchmarks.peer_ways.{way}", json.dumps({**work, "variant": variant})]
        cores = allowed_cores()[: work["threads"]]
        self.name = f"{way} {variant}".strip()
        self.seconds: list[dict[str, float]] = []
        self._command = command
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": str(work["threads"])},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self.first = self._answer()

    def measure(self) -> None:
        """Train an epoch and keep its seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.seconds.append(self._answer())

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, said = self._process.communicate()
            raise MeasurementFailed(failure(self._command[1:], self._process.returncode, said))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        """Nothing is left to do."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def compared(
    ways: Sequence[tuple[str, str]],
    work: dict[str, Any],
    *,
    repeats: int,
    unit: float,
    few: int | None = None,
    floor: float | None = None,
) -> list[dict[str, Any]]:
    """Measure the ways of one work in turn.

    Args:
        ways: Modules and variants.
        work: As `peer_ways.turns.Work`, without the variant.
        repeats: Epochs of each.
        unit: Examples that a figure counts.
        few: Examples of an epoch of JAX's, where it is so slow that all would take minutes.
        floor: CPU seconds that the multiplications of a unit alone would take.

    Returns:
        A row per way: wall and CPU milliseconds per unit, medians with the quartiles of wall time, and the seconds to
        the end of the first epoch; `times_ours` is above 1 where ours is faster.
    """
    examples = {way: few if few and way == "jax_scan" else work["examples"] for way, _ in ways}
    with ExitStack() as stack:
        running = [stack.enter_context(Way(*way, {**work, "examples": examples[way[0]]})) for way in ways]
        for _ in range(repeats):
            for way in running:
                way.measure()
                time.sleep(0.3)  # until its threads have stopped looking for work
    rows = []
    for (name, _), way in zip(ways, running, strict=True):
        scale = 1e3 * unit / examples[name]
        walls = [scale * each["wall"] for each in way.seconds]
        low, middle, high = statistics.quantiles(walls, n=4, method="inclusive") if len(walls) > 1 else walls * 3
        cpu = statistics.median(scale * each["cpu"] for each in way.seconds)
        row = {"way": way.name, "wall_ms": middle, "p25": low, "p75": high, "cpu_ms": cpu}
        row |= {"times_floor_cpu": cpu / (1e3 * floor)} if floor else {}
        rows.append({**row, "first_seconds": way.first["first_seconds"], "version": way.first["version"]})
    for row in rows:
        row["times_ours"] = row["wall_ms"] / rows[0]["wall_ms"]
        row["times_ours_cpu"] = row["cpu_ms"] / rows[0]["cpu_ms"]
    return rows


def multiplication_rate() -> float:
    """Return the multiplications per second of a large matrix product on one core."""
    core = allowed_cores()[:1]
    done = subprocess.run(
        [sys.executable, "-c", FLOOR],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=lambda: os.sched_setaffinity(0, core),
    )
    return float(done.stdout)


def main() -> int:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--works", type=several(str), default=["resnet44", "mlp", "eggholder"], help="with commas")
    parser.add_argument("--threads", type=several(at_least(1)), default=[1, 2], help="with commas (default 1,2)")
    parser.add_argument("--repeats", type=at_least(1), default=7, help="epochs of each way (default 7)")
    parser.add_argument("--depth", type=int, default=44, help="layers of the ResNet (default 44)")
    parser.add_argument("--images", type=at_least(128), default=320, help="of an epoch of the ResNet (default 320)")
    parser.add_argument("--rows", type=at_least(128), default=10_000, help="of an epoch of the MLP (default 10000)")
    parser.add_argument("--points", type=at_least(1000), default=80_000, help="of an epoch of eggholder")
    parser.add_argument("--networks", type=at_least(1), default=len(NETWORKS), help="how many of the seven")
    add_output(parser, "results/peers")
    given = parser.parse_args()
    if not PEERS.exists():
        print(f"{PEERS} is not there: `make peers` builds it", file=sys.stderr)
        return 3
    record = Record(given.output / "benchmark.json")
    rate = record.measure("floor", lambda: {"multiplications_per_second": multiplication_rate()})
    floor = 1 / rate["multiplications_per_second"] if rate else 0.0
    for threads in given.threads:
        if "resnet44" in given.works:
            work: dict[str, Any] = {"name": "resnet44", "threads": threads, "examples": given.images}
            work["depth"] = given.depth
            forward = count_resnet(given.depth).multiplications
            part = f"ResNet-{given.depth}, ms per image, {threads} threads"
            run = partial(compared, RESNET, work, repeats=given.repeats, unit=1, few=64, floor=3 * forward * floor)
            record.measure(part, run)
        for optimizer in ("adam", "adagrad") if "mlp" in given.works else ():
            for dropout in (False, True):
                work = {"name": "mlp", "threads": threads, "examples": given.rows, "optimizer": optimizer}
                work["dropout"] = dropout
                products = 3 * multiplications((1000, 1000), 3072, 10) - 3072 * 1000
                part = f"MLP, {optimizer}, {'with' if dropout else 'without'} dropout, ms per 10,000, {threads} threads"
                least = 10_000 * products * floor
                run = partial(compared, MLP, work, repeats=given.repeats, unit=10_000, floor=least)
                record.measure(part, run)
        for units in NETWORKS[: given.networks] if "eggholder" in given.works else ():
            work = {"name": "eggholder", "threads": threads, "examples": given.points, "units": units}
            part = f"eggholder {','.join(map(str, units))}, ms per 80,000, {threads} threads"
            products = 3 * multiplications(units) - 2 * units[0]
            least = 80_000 * products * floor
            record.measure(part, partial(compared, EGGHOLDER, work, repeats=given.repeats, unit=80_000, floor=least))
    return record.end()


if __name__ == "__main__":
    sys.exit(main())
