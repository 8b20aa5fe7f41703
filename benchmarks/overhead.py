"""`python -m benchmarks.overhead`, 20 minutes on 2 cores: an epoch's CPU time beside that of its bare compiled steps.

The share of an epoch's CPU time that is not the bare step. Both are measured in turn, in one process: an epoch of the
project's own loop, `dlperf.training.loop` (gather, augmentation, metrics, segments, state on disk, logging to a SQLite
store, progress bar), and as many bare steps: the same network, loss, gradient and optimizer on one fixed batch inside
one compiled loop. Each network has a process of its own with one thread; the figures are written to results/overhead.
Leave the machine alone while it runs.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.augmentation import sample_images
from benchmarks.record import Record, add_output, at_least, in_own_process, several

if TYPE_CHECKING:
    from dlperf.problems.cutout.parameters import CutoutParameters

BATCH = 64
# Share asked for at most, by depth of the ResNet.
TARGETS = {44: 0.01, 8: 0.05}
# Epochs of about ten seconds, so that both sides of a pair meet the same machine. What is paid once an epoch (state,
# tracking) weighs more than in an epoch of the whole data set, which is twenty times as long or more.
IMAGES = {44: 512, 8: 2048}


def measure(depth: int, m: int, images: int, repeats: int) -> dict[str, float]:
    """Measure pairs of an epoch and its bare steps; a first pair, which compiles, is left out.

    Args:
        depth: Layers of the ResNet.
        m: Copies of each image, in the epoch.
        images: Distinct images; a multiple of 64, so that all batches are full.
        repeats: Pairs, at least 2.

    Returns:
        Medians over the pairs: CPU seconds of an epoch and of its bare steps, and the share of the first that is not
        the second, with its quartiles; the mean of the shares with its 95 % interval; and the same share of the least
        CPU seconds of either, which whatever else runs on the machine touches least.
    """
    from dlperf.analysis.statistics import mean_of

    pairs = _pairs(depth, m, images, repeats)[1:]
    shares = [1 - bare / epoch for epoch, bare in pairs]
    lower, _, upper = statistics.quantiles(shares, n=4)
    mean = mean_of(shares)
    least_epoch, least_bare = (min(column) for column in zip(*pairs, strict=True))
    return {
        "epoch_cpu_seconds": statistics.median(epoch for epoch, _ in pairs),
        "bare_cpu_seconds": statistics.median(bare for _, bare in pairs),
        "share": statistics.median(shares),
        "lower_quartile": lower,
        "upper_quartile": upper,
        "mean": mean.mean,
        "mean_low": mean.low,
        "mean_high": mean.high,
        "share_of_least": 1 - least_bare / least_epoch,
    }


def _pairs(depth: int, m: int, images: int, repeats: int) -> list[tuple[float, float]]:
    """Train `repeats` + 1 epochs in the project's loop; return CPU seconds of each and of its bare steps."""
    from dlperf.problems.cutout.parameters import CutoutParameters
    from dlperf.process_settings import onednn

    onednn.choose(None)  # before TensorFlow is loaded
    from dlperf.problems.cutout.recipe import compiled_epoch
    from dlperf.tracking.store import Store
    from dlperf.training.early_stopping import Schedule
    from dlperf.training.loop import train
    from dlperf.trial import Context

    pixels, _ = sample_images(images)
    labels = np.random.default_rng(0).integers(0, 10, images).astype("int32")
    # One thread: what a second one spends on waiting varies more than what is measured here.
    parameters = CutoutParameters.resolve({"m": m, "depth": depth, "batch_size": BATCH, "threads": 1})
    bare_steps = _bare_steps(parameters, pixels[:BATCH], labels[:BATCH], steps=images * m // BATCH)
    epochs: list[float] = []
    bare: list[float] = []
    resumed = 0.0

    def learning_rate(epoch: int) -> float:
        """Run the bare steps: the loop asks for the learning rate once before each epoch, when the last one is over."""
        nonlocal resumed
        paused = time.process_time()
        if epoch > 1:
            epochs.append(paused - resumed)
        bare_steps()
        resumed = time.process_time()
        bare.append(resumed - paused)
        return parameters.learning_rate

    schedule = Schedule(repeats + 1, learning_rate, "train_loss")
    compiled = compiled_epoch(parameters, pixels, labels)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        os.environ["TTY_COMPATIBLE"] = "1"  # rich draws the progress bar as on a terminal
        run = Store().create("overhead")
        train(
            compiled, {}, schedule, Context("overhead", run, state_file=Path(folder, "state.npz"), show_progress=True)
        )
        epochs.append(time.process_time() - resumed)
    return list(zip(epochs, bare, strict=True))


def _bare_steps(
    parameters: CutoutParameters, pixels: np.ndarray, labels: np.ndarray, steps: int
) -> Callable[[], object]:
    """Return what runs `steps` bare steps on one batch, uint8 (rows, 32, 32, 3) and int32 (rows,)."""
    import keras
    import tensorflow as tf

    from dlperf.problems.cutout.recipe import network
    from dlperf.training.compiled_epoch import fresh_runtime
    from dlperf.training.vector_update import VectorUpdate

    fresh_runtime(parameters.threads)
    model = network(parameters)
    update = VectorUpdate(keras.optimizers.Adam(parameters.learning_rate), model.trainable_variables)
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    examples, answers = tf.constant(pixels / 255.0, tf.float32), tf.constant(labels)

    @tf.function
    def bare_steps() -> None:
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                loss = entropy(answers, model(examples, training=True)) + tf.add_n(model.losses)
            update.apply(update.vector(tape.gradient(loss, model.trainable_variables)))

    return bare_steps


def apart(depth: int, m: int, images: int | None, repeats: int) -> dict[str, Any]:
    """Measure one network in a process of its own."""
    options = ("--depth", depth, "--m", m, "--images", images or images_of(depth), "--repeats", repeats)
    return {**in_own_process("overhead", *options), "asked_for_at_most": TARGETS.get(depth)}


def images_of(depth: int) -> int:
    """Return how many images make an epoch of some ten seconds."""
    return IMAGES[min(IMAGES, key=lambda known: abs(known - depth))]


def main() -> int:
    """Measure each network and write the figures; or one network in this process, and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--depths", type=several(at_least(1)), default=list(IMAGES), help="layers of the ResNets (default 44,8)"
    )
    parser.add_argument("--m", type=at_least(1), default=4, help="copies of each image (default 4)")
    parser.add_argument("--images", type=at_least(BATCH), help="distinct images, a multiple of 64 (default by depth)")
    parser.add_argument("--repeats", type=at_least(2), default=15, help="pairs (default 15)")
    parser.add_argument("--depth", type=at_least(1), help="measure this network alone, in this process, and print JSON")
    add_output(parser, "results/overhead")
    given = parser.parse_args()
    if given.images and given.images % BATCH:
        parser.error(f"--images {given.images}: must be a multiple of {BATCH}")
    if given.depth:
        images = given.images or images_of(given.depth)
        print(json.dumps(measure(given.depth, given.m, images, given.repeats)))
        return 0
    record = Record(given.output / "benchmark.json")
    for depth in given.depths:
        record.measure(f"ResNet-{depth}", partial(apart, depth, given.m, given.images, given.repeats))
    return record.end()


if __name__ == "__main__":
    sys.exit(main())
