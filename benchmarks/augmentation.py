"""`python -m benchmarks.augmentation`, half a minute on 2 cores: CPU time per image, the notebook's way beside ours.

Both in one process on the same images: real CIFAR-10 images where they are found (`dlperf.data`), otherwise random ones
of the same size, for neither way's time depends on what the images show. benchmarks.cutout repeats it.

What counts: on the notebook's side the draws, shift and flip of `ImageDataGenerator` and the copy into a batch; on
ours the slice of the batch out of the uint8 images, the copies, the draws and the whole pipeline, cutout included. The
one-time preparation of masks and the compilation count on neither side. `ImageDataGenerator` offers no crop, so the
corrected pipeline is compared with the same shift.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from typing import Any, Literal

import numpy as np

from benchmarks.record import at_least
from dlperf.terminal.tables import show_table

Protocol = Literal["notebook", "corrected"]

TARGETS: dict[Protocol, int] = {"notebook": 10, "corrected": 20}
STEPS: dict[Protocol, str] = {
    "notebook": "cutout, sub-pixel shift, flip",
    "corrected": "normalise, crop, flip, cutout",
}
BATCH_SIZE = 64
NOTEBOOK_LENGTH = 12
CORRECTED_LENGTH = 16
REPEATS = 7
# About CIFAR-10's channel statistics: their values do not matter to the time.
CHANNEL_MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32)
CHANNEL_STD = np.array([0.2470, 0.2435, 0.2616], np.float32)


def notebook_way_us(images_uint8: np.ndarray, m: int, length: int = NOTEBOOK_LENGTH, seconds: float = 5.0) -> float:
    """CPU time per augmented image of the notebook's way.

    Args:
        images_uint8: uint8 (N, H, W, C), N at least 64; the float32 copies take 4 * m times their memory.
        m: Copies of each image, 0 for the baseline without cutout.
        length: Side of the masked square, in pixels.
        seconds: CPU time to measure for, about.

    Returns:
        Microseconds of process CPU time per image, the median over the repeats.
    """
    from benchmarks import notebook_way

    copies = notebook_way.repeat_with_cutout(images_uint8, m, length)
    batches = notebook_way.flow(copies, None, BATCH_SIZE)
    full_batches = len(copies) // BATCH_SIZE

    def one_pass() -> int:
        # The last batch of a pass may be smaller: what came out is counted, not what was asked for.
        return sum(len(next(batches)) for _ in range(min(full_batches, 32)))

    one_pass()  # imports SciPy, shuffles
    figures: list[float] = []
    started = time.process_time()
    while len(figures) < 3 or time.process_time() - started < seconds:
        before = time.process_time()
        count = one_pass()
        figures.append((time.process_time() - before) / count * 1e6)
    return statistics.median(figures)


def ours_us(
    images_uint8: np.ndarray,
    m: int,
    protocol: Protocol,
    batches: int | None = None,
    repeats: int = REPEATS,
    batch_size: int = BATCH_SIZE,
) -> float:
    """CPU time per augmented image of the vectorised pipeline, XLA-compiled and nested in a compiled loop.

    TensorFlow fixes its number of threads when it first runs: set it before (`main --threads`).

    Args:
        images_uint8: uint8 (N, H, W, C), N at least `batch_size`.
        m: Copies of each image, 0 for none masked. In the notebook protocol they are spread over the epoch, so that a
            batch stays at `batch_size` images with masks from `frozen_centres`; in the corrected one they stand in
            the same batch, each with draws of its own.
        protocol: Which pipeline.
        batches: Batches per repeat; by default about 20,000 images.
        repeats: Repeats to take the median of.
        batch_size: Distinct images per batch.

    Returns:
        Microseconds of process CPU time per image that left the pipeline, the median over the repeats.
    """
    import tensorflow as tf

    from dlperf.training import augment

    count, height, width, _ = images_uint8.shape
    copies_in_batch = max(m, 1) if protocol == "corrected" else 1
    augmented = batch_size * copies_in_batch
    batches = batches or max(1, 20_000 // augmented)
    data = tf.constant(images_uint8)
    sizes = tf.constant([height, width], tf.float32)

    @tf.function(jit_compile=True)
    def augmented_batch(images: tf.Tensor, first: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        if copies_in_batch > 1:
            images = tf.repeat(images, copies_in_batch, axis=0)
        draws = tf.random.stateless_uniform((augmented, 5), tf.stack([step, 0]))
        flips = draws[:, 0] < 0.5
        if protocol == "corrected":
            return augment.corrected_pipeline(
                images,
                CHANNEL_MEAN,
                CHANNEL_STD,
                tf.cast(draws[:, 1:3] * 9, tf.int32),
                flips,
                tf.cast(draws[:, 3:5] * sizes, tf.int32) if m else None,
                CORRECTED_LENGTH,
            )
        offsets = (draws[:, 1:3] * 0.2 - 0.1) * sizes
        copy = tf.fill((augmented,), step % max(m, 1))
        centres = augment.frozen_centres(0, first + tf.range(augmented), copy, height, width) if m else None
        return augment.notebook_pipeline(images, None, centres, NOTEBOOK_LENGTH, offsets, flips)

    @tf.function
    def many_batches(start: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0)
        for step in tf.range(start, start + batches):
            first = (step * batch_size) % (count - batch_size + 1)
            images = tf.ensure_shape(data[first : first + batch_size], (batch_size, *images_uint8.shape[1:]))
            # One number of each batch is used, so that no batch can be left out.
            total += augmented_batch(images, first, step)[0, 0, 0, 0]
        return total

    many_batches(tf.constant(0)).numpy()  # compiles
    figures: list[float] = []
    for repeat in range(repeats):
        start = tf.constant((repeat + 1) * batches)
        before = time.process_time()
        many_batches(start).numpy()
        figures.append((time.process_time() - before) / (batches * augmented) * 1e6)
    return statistics.median(figures)


def sample_images(count: int) -> tuple[np.ndarray, str]:
    """Images to measure on, uint8 (count, 32, 32, 3), and what they are."""
    from dlperf import data
    from dlperf.errors import DlperfError

    if os.environ.get("DLPERF_DATA_DIR"):
        try:
            return np.asarray(data.load("cifar10").train_inputs[:count]), "CIFAR-10"
        except DlperfError as error:
            print(error, file=sys.stderr)
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), "random images"


def main() -> None:
    """Measure, and print the table with the two ratios of the project's targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--m", type=at_least(0), default=4, help="copies of each image (default 4)")
    parser.add_argument("--images", type=at_least(BATCH_SIZE), default=4096, help="distinct images (default 4096)")
    parser.add_argument("--threads", type=at_least(1), default=1, help="threads TensorFlow may use (default 1)")
    parser.add_argument("--seconds", type=float, default=5.0, help="to measure the notebook's way for (default 5)")
    parser.add_argument("--batches", type=at_least(1), help="of ours, seven times over (default: about 20,000 images)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of a table")
    arguments = parser.parse_args()

    import pandas as pd
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    images, source = sample_images(arguments.images)
    reference = notebook_way_us(images, arguments.m, seconds=arguments.seconds)
    ours = {protocol: ours_us(images, arguments.m, protocol, arguments.batches) for protocol in TARGETS}
    if arguments.json:
        print(json.dumps({"notebook_way": reference, **ours}))
        return
    rows: list[dict[str, Any]] = [{"way": "the notebook's (ImageDataGenerator)", "CPU us per image": reference}]
    for protocol, figure in ours.items():
        ratio = {"times less": reference / figure, "asked for": TARGETS[protocol]}
        rows.append({"way": f"{protocol}: {STEPS[protocol]}", "CPU us per image": figure, **ratio})
    show_table(f"augmentation of {source}, m={arguments.m}, threads={arguments.threads}", pd.DataFrame(rows))


if __name__ == "__main__":
    main()
