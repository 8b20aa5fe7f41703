"""`python -m benchmarks.onednn`, 8 minutes on 2 cores: oneDNN's operations on beside off, in training and evaluation.

ResNet-20 (problem 4, the notebook's protocol) and the network of problem 1 (3072-1000-1000-10, Adam), on random images;
each choice in turn in processes of its own, compilation and a first pass left out. On processors with VNNI TensorFlow
switches them on by itself, elsewhere not. The figures are written to results/onednn. Leave the machine alone while it
runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, get_args

import numpy as np

from benchmarks.augmentation import sample_images
from benchmarks.record import Record, add_output, at_least, in_own_process
from dlperf.process_settings import onednn

NETWORKS = ("ResNet", "MLP")
CHOICES: tuple[onednn.Choice, ...] = ("on", "off")


def measure(network: str, depth: int, images: int, epochs: int) -> dict[str, list[list[float]]]:
    """Time epochs of training, and evaluations of the same images, in this process.

    Args:
        network: One of NETWORKS.
        depth: Layers of the ResNet.
        images: Images of an epoch.
        epochs: Epochs, and evaluations, that are timed.

    Returns:
        For "training" and "evaluation", wall and CPU milliseconds per image of each pass.
    """
    if network == "MLP":
        from benchmarks.optimizers import compiled_epoch, random_images

        pixels, labels = random_images(images)
        engine = compiled_epoch("adam", False, pixels, labels)
    else:
        from dlperf.problems.cutout import recipe
        from dlperf.problems.cutout.parameters import CutoutParameters

        pixels, _ = sample_images(images)
        labels = np.random.default_rng(0).integers(0, 10, images).astype("int32")
        engine = recipe.compiled_epoch(CutoutParameters.resolve({"m": 1, "depth": depth}), pixels, labels)
        engine.compile()
    split = engine.to_device(pixels, labels)
    passes: dict[str, Callable[[int], Any]] = {
        "training": lambda number: list(engine.train_epoch(number)),
        "evaluation": lambda number: list(engine.evaluate(split)),
    }
    return {
        name: [_timed(partial(run, number), images) for number in range(1, epochs + 2)][1:]
        for name, run in passes.items()
    }


def _timed(run: Callable[[], Any], images: int) -> list[float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return [(time.perf_counter() - wall) / images * 1e3, (time.process_time() - cpu) / images * 1e3]


def compared(network: str, depth: int, images: int, epochs: int, repeats: int) -> list[dict[str, Any]]:
    """Measure both choices in turn; return a row for training and one for evaluation."""
    found: dict[str, dict[str, list[list[float]]]] = {choice: {} for choice in CHOICES}
    options = ("--network", network, "--depth", depth, "--images", images, "--epochs", epochs)
    for _ in range(repeats):
        for choice in CHOICES:
            for name, pairs in in_own_process("onednn", "--choice", choice, *options).items():
                found[choice].setdefault(name, []).extend(pairs)
    return [{"pass": name, **_row(*(found[choice][name] for choice in CHOICES))} for name in found["on"]]


def _row(on: Sequence[Sequence[float]], off: Sequence[Sequence[float]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for place, clock in enumerate(("wall", "cpu")):
        times = [[pair[place] for pair in pairs] for pairs in (on, off)]
        medians = [statistics.median(own) for own in times]
        row |= {f"on, {clock} ms per image": medians[0], f"off, {clock} ms per image": medians[1]}
        row[f"off over on, {clock}"] = medians[1] / medians[0]
        row[f"lowest to highest over on, {clock}"] = (
            f"{min(times[1]) / max(times[0]):.2f} to {max(times[1]) / min(times[0]):.2f}"
        )
    return row


def main() -> int:
    """Measure both networks and write the figures; or one choice in this process, and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=at_least(8), default=20, help="layers of the ResNet (default 20)")
    parser.add_argument(
        "--images", type=at_least(250), help="of an epoch (default 1280 of the ResNet, 10000 of the MLP)"
    )
    parser.add_argument("--epochs", type=at_least(1), default=3, help="timed in each process (default 3)")
    parser.add_argument("--repeats", type=at_least(1), default=3, help="processes per choice (default 3)")
    parser.add_argument("--choice", choices=get_args(onednn.Choice), help="measure this one alone, in this process")
    parser.add_argument("--network", choices=NETWORKS, default=NETWORKS[0], help="of which")
    add_output(parser, "results/onednn")
    given = parser.parse_args()
    if given.choice:
        onednn.choose(given.choice)  # before TensorFlow is loaded
        print(json.dumps(measure(given.network, given.depth, given.images or 1280, given.epochs)))
        return 0
    record = Record(given.output / "benchmark.json")
    for network, images in zip(NETWORKS, (1280, 10_000), strict=True):
        sizes = (given.depth, given.images or images, given.epochs, given.repeats)
        part = network if network == "MLP" else f"{network}-{given.depth}"
        record.measure(part, partial(compared, network, *sizes))
    return record.end()


if __name__ == "__main__":
    sys.exit(main())
