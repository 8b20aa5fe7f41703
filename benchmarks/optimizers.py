"""`python -m benchmarks.optimizers`, 25 minutes on 2 cores: problem 1's epoch and memory beside the notebook's way.

`model.fit` on float32 arrays, the notebook's way, and ours in turn, each measurement in a process of its own; the
figures are written to results/optimizers. Same network, update rules, penalty, batch size and random images;
compilation and a first epoch are left out; ours is timed as the training loop calls it, metrics and penalty included.
Memory is the peak of a process that holds 60,000 images less that of one that holds 2,560. Leave the machine alone
while it runs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.record import Record, add_output, at_least, in_own_process
from dlperf.environment import peak_memory_mb
from dlperf.process_settings import onednn
from dlperf.processor import cores

L2 = 0.01
# The smaller number of images whose memory is compared: 20 batches of 128, which are trained on.
FEW_IMAGES = 2_560
WAYS = ("fit", "ours")


def random_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 (count, 3072) and labels, int32 (count,)."""
    from dlperf.data.dataset import aligned_empty

    rng, images = np.random.default_rng(0), aligned_empty((count, 3072))
    for begin in range(0, count, 1000):  # a draw of all at once would be the peak of both ways
        images[begin : begin + 1000] = rng.integers(0, 256, (min(1000, count - begin), 3072))
    return images, rng.integers(0, 10, count).astype("int32")


def notebook_epoch(optimizer: str, dropout: bool, images: int, steps: int | None) -> Callable[[], Any]:
    """Return what trains an epoch with `fit` as the notebook does."""
    import keras

    from dlperf.problems.optimizers.update_rules import rule

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
    if dropout:  # after the loop, as the notebook is printed
        x = layers.Dropout(0.5)(x)
    model = keras.Model(start, layers.Dense(10, "softmax")(x))
    model.compile(rule(optimizer, "notebook")(0.001), "categorical_crossentropy", metrics=["acc"])
    return lambda: model.fit(inputs, targets, batch_size=128, epochs=1, verbose=0, steps_per_epoch=steps)


def our_epoch(optimizer: str, dropout: bool, images: int, steps: int | None) -> Callable[[], Any]:
    """Return what trains an epoch with the compiled epoch."""
    compiled, numbers = compiled_epoch(optimizer, dropout, *random_images(images), steps), itertools.count(1)
    return lambda: list(compiled.train_epoch(next(numbers)))


def compiled_epoch(
    optimizer: str, dropout: bool, pixels: np.ndarray, labels: np.ndarray, steps: int | None = None
) -> Any:
    """Return the compiled epoch on uint8 (N, 3072) and int32 (N,); with `steps`, of their first batches."""
    onednn.choose(None)  # before TensorFlow is loaded
    from keras import ops

    from dlperf.problems.optimizers.parameters import OptimizersParameters
    from dlperf.problems.optimizers.recipe import network
    from dlperf.problems.optimizers.update_rules import rule
    from dlperf.training.compiled_epoch import configure_runtime
    from dlperf.training.dense_graph_epoch import DenseGraphEpoch
    from dlperf.training.objectives import Classification

    configure_runtime(cores())
    parameters = OptimizersParameters.resolve({"optimizer": optimizer, "dropout": dropout, "l2": L2})
    updates = rule(optimizer, "notebook")(0.001)
    compiled = DenseGraphEpoch(
        network(parameters, pixels.shape[1], 10, updates),
        updates,
        pixels,
        labels,
        objective=Classification(),
        batch_size=128,
        random_seed=0,
        prepare=lambda batch: ops.cast(batch, "float32") / 255.0,
        rows=None if steps is None else np.arange(min(len(pixels), 128 * steps), dtype=np.int32),
    )
    compiled.compile()
    return compiled


def seconds_of(epoch: Callable[[], Any], epochs: int) -> list[float]:
    """Train epochs; return wall seconds of each."""
    seconds = []
    for _ in range(epochs):
        begun = time.perf_counter()
        epoch()
        seconds.append(time.perf_counter() - begun)
    return seconds


def measured(way: str, optimizer: str, dropout: bool, *, images: int, epochs: int, steps: int | None) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    one = {"way": way, "optimizer": optimizer, "dropout": dropout, "images": images, "epochs": epochs, "steps": steps}
    found: dict[str, Any] = in_own_process("optimizers", "--one", json.dumps(one))
    return found


def speed(optimizer: str, dropout: bool, *, images: int, epochs: int, repeats: int) -> dict[str, float]:
    """Return the median seconds of an epoch over repeats and epochs, both ways in turn."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            one = measured(way, optimizer, dropout, images=images, epochs=epochs + 1, steps=None)
            seconds[way] += one["seconds"][1:]
    fit, ours = (statistics.median(seconds[way]) for way in WAYS)
    return {"fit_seconds": fit, "our_seconds": ours, "ratio": fit / ours, "images": images}


def memory(images: int) -> dict[str, float]:
    """Return what `images` images take in MB, both ways."""
    taken = {}
    for way in WAYS:
        large, small = (
            measured(way, "adam", False, images=count, epochs=1, steps=FEW_IMAGES // 128)["peak_memory_mb"]
            for count in (images, FEW_IMAGES)
        )
        taken[way] = large - small
    return {"fit_mb": taken["fit"], "our_mb": taken["ours"], "ratio": taken["fit"] / taken["ours"]}


def main() -> int:
    """Measure every optimizer and write the figures; or measure once in this process, and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--optimizers", default="adagrad,rmsprop,nadam,adadelta,adam", help="with commas between")
    parser.add_argument("--images", type=at_least(128), default=10_000, help="images of an epoch (default 10000)")
    parser.add_argument("--epochs", type=at_least(1), default=3, help="epochs that are timed (default 3)")
    parser.add_argument("--repeats", type=at_least(1), default=3, help="processes per way (default 3)")
    parser.add_argument(
        "--memory_images",
        type=at_least(2 * FEW_IMAGES),
        default=60_000,
        help="whose memory is measured (default 60000)",
    )
    parser.add_argument("--one", help="one measurement as JSON, which is how this program starts itself")
    add_output(parser, "results/optimizers")
    given = parser.parse_args()
    if given.one:
        one = json.loads(given.one)
        way, epochs = notebook_epoch if one.pop("way") == "fit" else our_epoch, one.pop("epochs")
        print(json.dumps({"seconds": seconds_of(way(**one), epochs), "peak_memory_mb": peak_memory_mb()}))
        return 0
    record = Record(given.output / "benchmark.json")
    sizes = {"images": given.images, "epochs": given.epochs, "repeats": given.repeats}
    for optimizer in given.optimizers.split(","):
        for dropout in (False, True):
            part = f"{optimizer}, {'with' if dropout else 'without'} dropout"
            record.measure(part, partial(speed, optimizer, dropout, **sizes))
    record.measure("memory", partial(memory, given.memory_images))
    return record.end()


if __name__ == "__main__":
    sys.exit(main())
