"""`python -m benchmarks.first_step`, 3 minutes on 2 cores: how soon the first step of a ResNet-44 ends.

From the start of Python, in processes of their own: imports, the network's variables, tracing and compiling, one step;
and the same of a second trial of the shape (another random seed) in the same process, which has the imports behind it.
MLflow and the store, which `dlperf cutout` adds, are left out. What XLA has compiled before is found on disk, as in a
user's second start. The figures are written to results/first_step. Leave the machine alone while it runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from functools import partial
from typing import Any

import numpy as np
import psutil

from benchmarks.augmentation import sample_images
from benchmarks.record import Record, add_output, at_least, in_own_process
from dlperf.process_settings import onednn, xla_cache
from dlperf.processor import cores

TRIALS = ("first", "second")
# Seconds asked for at most, of a ResNet-44.
ASKED_FOR = {"first": 12.0, "second": 5.0}


def measure(depth: int, m: int) -> dict[str, dict[str, float]]:
    """Make the first step of two trials of one shape in this process.

    Args:
        depth: Layers of the ResNet.
        m: Copies of each image, in the epoch.

    Returns:
        By trial, the seconds of each part, and of all of them; of the first since the process was started.
    """
    onednn.choose(None)  # before TensorFlow is loaded
    xla_cache.use(cores())
    from dlperf.problems.cutout.parameters import CutoutParameters
    from dlperf.problems.cutout.recipe import compiled_epoch

    imported = time.time()
    begun = psutil.Process().create_time()
    pixels, _ = sample_images(64)
    labels = np.random.default_rng(0).integers(0, 10, 64).astype("int32")
    found = {}
    for random_seed, trial in enumerate(TRIALS):
        built_from = time.time()
        parameters = CutoutParameters.resolve({"m": m, "depth": depth, "random_seed": random_seed})
        engine = compiled_epoch(parameters, pixels, labels)
        built = time.time()
        next(engine.train_epoch(1))  # the first segment of an epoch is one step
        ended = time.time()
        imports = {"imports": imported - begun} if trial == "first" else {}
        parts = {**imports, "network": built - built_from, "trace and first step": ended - built}
        found[trial] = {**parts, "seconds": sum(parts.values())}
    return found


def repeated(depth: int, m: int, repeats: int) -> list[dict[str, Any]]:
    """Return a row for each trial: medians over processes, and the least and most of the whole."""
    runs = [in_own_process("first_step", "--depth", depth, "--m", m, "--alone") for _ in range(repeats)]
    rows = []
    for trial in TRIALS:
        medians = {name: statistics.median(run[trial][name] for run in runs) for name in runs[0][trial]}
        whole = [run[trial]["seconds"] for run in runs]
        asked = {"asked for at most": ASKED_FOR[trial]} if depth == 44 else {}
        rows.append({"trial": trial, **medians, "least": min(whole), "most": max(whole), **asked})
    return rows


def main() -> int:
    """Measure and write the figures; or measure once in this process, and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=at_least(8), default=44, help="layers of the ResNet (default 44)")
    parser.add_argument("--m", type=at_least(1), default=1, help="copies of each image (default 1)")
    parser.add_argument("--repeats", type=at_least(1), default=5, help="processes (default 5)")
    parser.add_argument("--alone", action="store_true", help="measure once in this process, and print JSON")
    add_output(parser, "results/first_step")
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(measure(given.depth, given.m)))
        return 0
    record = Record(given.output / "benchmark.json")
    record.measure(f"ResNet-{given.depth}", partial(repeated, given.depth, given.m, given.repeats))
    return record.end()


if __name__ == "__main__":
    sys.exit(main())
