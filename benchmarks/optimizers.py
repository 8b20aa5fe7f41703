"""Problem 1's epoch and memory: `model.fit` on float32 arrays, the notebook's way, beside ours, in one run.

`python -m benchmarks.optimizers` interleaves the two, each measurement in a process of its own, and writes
results/optimizers/benchmark.json. Same network, update rules, penalty, batch size and random images; compilation and
a first epoch are left out; ours is timed as the training loop calls it, metrics and penalty included. Memory is the
peak of a process that holds 60,000 images less that of one that holds 2,560. Leave the machine alone while it runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from dlperf.environment import cores, describe, peak_memory_mb

RESULT = Path(__file__).resolve().parent.parent / "results" / "optimizers" / "benchmark.json"
IMAGES = 10_000
L2 = 0.01


def random_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 (count, 3072) and labels, int32 (count,)."""
    from dlperf.data.dataset import aligned_empty

    rng, images = np.random.default_rng(0), aligned_empty((count, 3072))
    for begin in range(0, count, 1000):  # a draw of all at once would be the peak of both ways
        images[begin : begin + 1000] = rng.integers(0, 256, (min(1000, count - begin), 3072))
    return images, rng.integers(0, 10, count).astype("int32")


def notebook_way(optimizer: str, dropout: bool, images: int, epochs: int, steps: int | None) -> list[float]:
    """Train with `fit` as the notebook does; return wall seconds of each epoch."""
    import keras

    from dlperf.problems.optimizers.update_rules import RULES

    pixels, labels = random_images(images)
    inputs = pixels.astype("float32")
    del pixels
    inputs /= 255
    targets = keras.utils.to_categorical(labels, 10)
    layers = keras.layers
    x = start = keras.Input((3072,))
    if dropout:
        x = layers.Dropout(0.2)(x)
    for _ in range(2):
        penalty = keras.regularizers.L2(L2)
        x = layers.Dense(1000, "relu", kernel_regularizer=penalty, bias_regularizer=penalty)(x)
        if dropout:
            x = layers.Dropout(0.5)(x)
    model = keras.Model(start, layers.Dense(10, "softmax")(x))
    model.compile(RULES[optimizer](0.001), "categorical_crossentropy", metrics=["acc"])
    seconds = []
    for _ in range(epochs):
        begun = time.perf_counter()
        model.fit(inputs, targets, batch_size=128, epochs=1, verbose=0, steps_per_epoch=steps)
        seconds.append(time.perf_counter() - begun)
    return seconds


def our_way(optimizer: str, dropout: bool, images: int, epochs: int, steps: int | None) -> list[float]:
    """Train with the compiled epoch; return wall seconds of each epoch."""
    from keras import ops

    from dlperf.problems.optimizers.parameters import OptimizersParameters
    from dlperf.problems.optimizers.recipe import network
    from dlperf.problems.optimizers.update_rules import RULES
    from dlperf.training.compiled_epoch import configure_runtime
    from dlperf.training.dense_epoch import DenseEpoch
    from dlperf.training.objectives import Classification

    configure_runtime(cores())
    pixels, labels = random_images(images)
    parameters = OptimizersParameters.resolve({"optimizer": optimizer, "dropout": dropout, "l2": L2})
    rule = RULES[optimizer](0.001)
    compiled = DenseEpoch(
        network(parameters, rule),
        rule,
        pixels,
        labels,
        objective=Classification(),
        batch_size=128,
        random_seed=0,
        prepare=lambda batch: ops.cast(batch, "float32") / 255.0,
        rows=None if steps is None else np.arange(min(images, 128 * steps), dtype=np.int32),
    )
    compiled.compile()
    seconds = []
    for epoch in range(1, epochs + 1):
        begun = time.perf_counter()
        list(compiled.train_epoch(epoch))
        seconds.append(time.perf_counter() - begun)
    return seconds


def measured(way: str, optimizer: str, dropout: bool, *, images: int, epochs: int, steps: int | None) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    own = {"way": way, "optimizer": optimizer, "dropout": dropout, "images": images, "epochs": epochs, "steps": steps}
    command = [sys.executable, "-m", "benchmarks.optimizers", "--one", json.dumps(own)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(optimizers: list[str], epochs: int, repeats: int) -> dict[str, Any]:
    """Measure every pair; return medians over repeats and epochs."""
    rows = []
    for optimizer in optimizers:
        for dropout in (False, True):
            seconds: dict[str, list[float]] = {"fit": [], "ours": []}
            for _ in range(repeats):
                for way, found in seconds.items():
                    one = measured(way, optimizer, dropout, images=IMAGES, epochs=epochs + 1, steps=None)
                    found += one["seconds"][1:]
            fit, ours = (statistics.median(found) for found in seconds.values())
            rows.append({"optimizer": optimizer, "dropout": dropout, "fit": fit, "ours": ours, "ratio": fit / ours})
            print(json.dumps(rows[-1]), flush=True)
    memory: dict[str, float] = {}
    for way in ("fit", "ours"):
        large, small = (
            measured(way, "adam", False, images=images, epochs=1, steps=20)["peak_memory_mb"]
            for images in (60_000, 2_560)
        )
        memory[f"{way}_mb"] = large - small
    memory["ratio"] = memory["fit_mb"] / memory["ours_mb"]
    print(json.dumps(memory))
    return {
        "seconds_per_10000_images": rows,
        "data_memory": memory,
        "epochs": epochs,
        "repeats": repeats,
        "environment": describe(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--optimizers", default="adagrad,rmsprop,nadam,adadelta,adam")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", help="one measurement as JSON, which is how this program starts itself")
    given = parser.parse_args()
    if given.one:
        one = json.loads(given.one)
        way = notebook_way if one.pop("way") == "fit" else our_way
        print(json.dumps({"seconds": way(**one), "peak_memory_mb": peak_memory_mb()}))
    else:
        result = main(given.optimizers.split(","), given.epochs, given.repeats)
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
