"""`python -m benchmarks.cutout`, 20 minutes on 2 cores: the cutout problem beside the notebook's way.

Augmentation, training and memory, the notebook's way and ours on this machine in one run; the figures are written to
results/cutout. Every one comes from processes of their own; those that are compared run in turn. Leave the machine
alone while it runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from functools import partial
from typing import Any

from benchmarks.augmentation import TARGETS
from benchmarks.record import Record, add_output, at_least, in_own_process, several

Rows = list[dict[str, Any]]


def augmentation(m: int, repeats: int, images: int, seconds: float) -> Rows:
    """CPU time per augmented image, each way several times in turn."""
    options = ("--m", m, "--images", images, "--seconds", seconds, "--json")
    figures = [in_own_process("augmentation", *options) for _ in range(repeats)]
    rows: Rows = []
    for protocol, target in TARGETS.items():
        reference = statistics.median(f["notebook_way"] for f in figures)
        ours = statistics.median(f[protocol] for f in figures)
        rows.append(
            {
                "augmentation, m=" + str(m): f"protocol={protocol}",
                "notebook's way (CPU us per image)": round(reference, 1),
                "ours (CPU us per image)": round(ours, 1),
                "times less": round(statistics.median(f["notebook_way"] / f[protocol] for f in figures), 1),
                "asked for": target,
            }
        )
    return rows


def training_speed(m: int, repeats: int, depth: int, images: int) -> Rows:
    """Training time per augmented image, the two ways in turn."""
    options = ("--m", m, "--depth", depth, "--images", images)
    pairs = [
        {way: in_own_process("training_speed", way, *options) for way in ("notebook", "ours")} for _ in range(repeats)
    ]
    rows: Rows = []
    for figure in ("wall_ms_per_image", "cpu_ms_per_image", "warm_up_seconds"):
        notebook, ours = (statistics.median(pair[way][figure] for pair in pairs) for way in ("notebook", "ours"))
        ratio = statistics.median(pair["notebook"][figure] / pair["ours"][figure] for pair in pairs)
        row = {f"training ResNet-{depth}, m={m}": figure.replace("_", " ")}
        rows.append({**row, "notebook's way": round(notebook, 2), "ours": round(ours, 2), "ratio": round(ratio, 2)})
    return rows


def peak_memory(copies: list[int], depth: int, images: int) -> Rows:
    """Peak resident memory in MB by m."""
    rows: Rows = []
    for m in copies:
        peaks = {
            way: in_own_process("peak_memory", way, "--m", m, "--depth", depth, "--images", images)["peak_memory_mb"]
            for way in ("notebook", "epoch", "batch")
        }
        rows.append(
            {
                "m": m,
                f"notebook's way, {images:,} images (MB)": round(peaks["notebook"]),
                "ours, copies_in=epoch (MB)": round(peaks["epoch"]),
                "ours, copies_in=batch (MB)": round(peaks["batch"]),
            }
        )
    return rows


def main() -> int:
    """Measure everything, print it, and write it down."""
    number = at_least(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--m", type=number, default=4, help="copies of each image (default 4)")
    parser.add_argument("--depth", type=number, default=44, help="layers of the ResNet that is trained (default 44)")
    parser.add_argument("--repeats", type=number, default=3, help="processes per way (default 3)")
    parser.add_argument(
        "--augmented_images", type=at_least(64), default=4096, help="of the augmentation (default 4096)"
    )
    parser.add_argument("--augmentation_seconds", type=float, default=5.0, help="of the notebook's way (default 5)")
    parser.add_argument("--trained_images", type=at_least(64), default=320, help="of the training (default 320)")
    parser.add_argument("--images", type=at_least(192), default=5000, help="of the memory measurement (default 5000)")
    parser.add_argument(
        "--memory_m", type=several(number), default=[1, 2, 4, 8, 16, 32], help="copies there (default 1,2,4,8,16,32)"
    )
    add_output(parser, "results/cutout")
    given = parser.parse_args()
    m, repeats, depth = given.m, given.repeats, given.depth
    record = Record(
        given.output / "benchmark.json", data="CIFAR-10" if os.environ.get("DLPERF_DATA_DIR") else "random images"
    )
    record.measure(
        "augmentation", partial(augmentation, m, repeats, given.augmented_images, given.augmentation_seconds)
    )
    record.measure("training", partial(training_speed, m, repeats, depth, given.trained_images))
    record.measure("memory", partial(peak_memory, given.memory_m, depth, given.images))
    return record.end()


if __name__ == "__main__":
    sys.exit(main())
