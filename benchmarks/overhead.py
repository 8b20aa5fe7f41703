"""The share of an epoch's CPU time that is not the bare compiled step.

`python -m benchmarks.overhead --depth 44` trains epochs the project's way (gather, augmentation, metrics, segments,
progress bar, logging to a SQLite store) and, in turn with them in the same process, runs the same number of bare
steps: the same model, loss, gradient and optimizer on one fixed batch inside one compiled loop.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np

from benchmarks.augmentation import sample_images


def measure(depth: int, m: int, images: int, repeats: int) -> dict[str, float]:
    """Measure pairs of epochs.

    Args:
        depth: Layers of the ResNet.
        m: Copies of each image, in the epoch.
        images: Distinct images; a multiple of 64, so that all batches are full.
        repeats: Pairs.

    Returns:
        Medians over the pairs: CPU seconds of an epoch and of its bare steps, and the share of the first that is not
        the second, with its quartiles; and the same share of the least CPU seconds of either, which whatever else
        runs on the machine touches least.
    """
    pixels, _ = sample_images(images)
    labels = np.random.default_rng(0).integers(0, 10, images).astype("int32")
    with ExitStack() as stack:
        full, bare = _epochs(pixels, labels, depth, m, stack)
        full(1), bare()
        pairs = [(_cpu(partial(full, epoch)), _cpu(bare)) for epoch in range(2, repeats + 2)]
    shares = [1 - bare_seconds / full_seconds for full_seconds, bare_seconds in pairs]
    lower, _, upper = statistics.quantiles(shares, n=4)
    least_full, least_bare = (min(column) for column in zip(*pairs, strict=True))
    return {
        "epoch_cpu_seconds": statistics.median(full_seconds for full_seconds, _ in pairs),
        "bare_cpu_seconds": statistics.median(bare_seconds for _, bare_seconds in pairs),
        "share": statistics.median(shares),
        "lower_quartile": lower,
        "upper_quartile": upper,
        "share_of_least": 1 - least_bare / least_full,
    }


def _cpu(work: Callable[[], Any]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def _epochs(
    pixels: np.ndarray, labels: np.ndarray, depth: int, m: int, stack: ExitStack
) -> tuple[Callable[[int], None], Callable[[], None]]:
    import keras
    import tensorflow as tf
    from rich.console import Console

    from dlperf.clock import Clock
    from dlperf.problems.cutout.parameters import CutoutParameters
    from dlperf.problems.cutout.recipe import compiled_epoch
    from dlperf.tracking.store import Store
    from dlperf.training.progress import Progress
    from dlperf.trial import Context

    # One thread: what a second one spends on waiting varies more than what is measured here.
    parameters = CutoutParameters.resolve({"m": m, "depth": depth, "threads": 1})
    engine = compiled_epoch(parameters, pixels, labels)
    engine.compile()
    run = Store().create("overhead")
    context = Context("overhead", run, Clock())
    console = Console(file=io.StringIO(), force_terminal=True, width=150)
    progress = stack.enter_context(Progress("cutout m=4 random_seed=0", 1000, [], shown=True, console=console))

    def full(epoch: int) -> None:
        begun = time.perf_counter()
        for segment in engine.train_epoch(epoch):
            progress.segment_ended(epoch, segment)
        sums, seconds = segment.sums, time.perf_counter() - begun
        metrics = {
            "train_loss": sums.mean_loss,
            "train_accuracy": sums.accuracy,
            "learning_rate": 1e-3,
            "epoch_seconds": seconds,
            "examples_per_second": sums.examples / seconds,
            "validation_error": 1.0,
        }
        context.report.epoch(epoch, metrics)
        progress.epoch_ended(metrics)

    twin = compiled_epoch(parameters, pixels[:64], labels[:64])
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    batch, answers = tf.constant(pixels[:64] / 255.0, tf.float32), tf.constant(labels[:64])
    steps = engine.steps

    @tf.function
    def bare_steps() -> None:
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                loss = entropy(answers, twin.model(batch, training=True)) + tf.add_n(twin.model.losses)
            gradients = tape.gradient(loss, twin.model.trainable_variables)
            twin.optimizer.apply(gradients, twin.model.trainable_variables)

    return full, bare_steps


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=int, default=44)
    parser.add_argument("--m", type=int, default=4)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        print(json.dumps(measure(**vars(arguments))))
