"""`python -m benchmarks.training_speed ours`, a minute on 2 cores: training time per augmented image, one way.

"notebook" is `model.fit` on repeated arrays, "ours" the compiled epoch; printed as JSON. benchmarks.cutout interleaves
the two. Same network, optimizer, batch size and augmentation (the notebook's protocol); the
notebook's way has Keras's own batch normalisation, which is what building that network with Keras 3 gives.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.augmentation import sample_images
from benchmarks.record import at_least
from dlperf.process_settings import onednn
from dlperf.processor import cores


def measure(way: str, depth: int, m: int, images: int, repeats: int) -> dict[str, float]:
    """Time epochs of one way.

    Args:
        way: "notebook" or "ours".
        depth: Layers of the ResNet.
        m: Copies of each image.
        images: Distinct images.
        repeats: Epochs to take the median of.

    Returns:
        Median wall and CPU seconds per augmented image, and the wall seconds before the first timed epoch (tracing,
        compilation, one epoch to warm up).
    """
    onednn.choose(None)  # before TensorFlow is loaded: alike for both ways
    pixels, _ = sample_images(images)
    labels = np.random.default_rng(0).integers(0, 10, images).astype("int32")
    begun = time.perf_counter()
    epoch = (notebook_epoch if way == "notebook" else _our_epoch)(pixels, labels, depth, m)
    epoch(1)
    warm_up = time.perf_counter() - begun
    wall, cpu = [], []
    for number in range(2, repeats + 2):
        wall_before, cpu_before = time.perf_counter(), time.process_time()
        epoch(number)
        wall.append((time.perf_counter() - wall_before) / (images * m))
        cpu.append((time.process_time() - cpu_before) / (images * m))
    return {
        "wall_ms_per_image": statistics.median(wall) * 1e3,
        "cpu_ms_per_image": statistics.median(cpu) * 1e3,
        "warm_up_seconds": warm_up,
    }


def notebook_epoch(pixels: np.ndarray, labels: np.ndarray, depth: int, m: int) -> Callable[[int], Any]:
    """Return what trains an epoch with `fit` on batches of ImageDataGenerator, as the notebook does."""
    import keras

    from benchmarks.notebook_way import flow, repeat_with_cutout
    from dlperf.models.resnet import resnet

    model = resnet(depth, random_seed=0, weight_decay=2e-4, fused_batch_norm=False)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    # On a CPU Keras leaves XLA off by itself for this model ("auto"): it is slower.
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    examples = repeat_with_cutout(pixels, m, 12)
    targets = keras.utils.to_categorical(np.repeat(labels, m), 10)
    batches = flow(examples, targets, 64)
    return lambda epoch: model.fit(batches, epochs=1, verbose=0)


def _our_epoch(pixels: np.ndarray, labels: np.ndarray, depth: int, m: int) -> Callable[[int], Any]:
    from dlperf.problems.cutout.parameters import CutoutParameters
    from dlperf.problems.cutout.recipe import compiled_epoch

    engine = compiled_epoch(CutoutParameters.resolve({"m": m, "depth": depth}), pixels, labels)
    engine.compile()
    return lambda epoch: list(engine.train_epoch(epoch))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=["notebook", "ours"])
    parser.add_argument("--depth", type=int, default=44, help="layers of the ResNet (default 44)")
    parser.add_argument("--m", type=at_least(1), default=4, help="copies of each image (default 4)")
    parser.add_argument("--images", type=at_least(64), default=320, help="distinct images (default 320)")
    parser.add_argument("--repeats", type=at_least(1), default=3, help="epochs that are timed (default 3)")
    print(json.dumps({**measure(**vars(parser.parse_args())), "cores": cores()}))
