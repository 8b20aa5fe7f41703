"""`python -m benchmarks.peak_memory batch --m 8`, half a minute on 2 cores: peak resident memory of a few steps.

Printed as JSON; benchmarks.cutout starts one process for each way and number of copies. "epoch" and "batch" are ours
with the copies spread over the epoch or standing in one batch; "notebook" repeats the arrays, fits ImageDataGenerator
on them and calls `model.fit`, as the notebook did.
"""

from __future__ import annotations

import argparse
import itertools
import json

import numpy as np

from benchmarks.augmentation import sample_images
from benchmarks.record import at_least
from dlperf.environment import peak_memory_mb
from dlperf.process_settings import onednn

_STEPS = 3


def run(way: str, m: int, depth: int, images: int) -> None:
    """Train three steps of batch size 64 on `images` images with `m` copies of each."""
    onednn.choose(None)  # before TensorFlow is loaded: alike for all ways
    pixels, _ = sample_images(images)
    labels = np.random.default_rng(0).integers(0, 10, images).astype("int32")
    if way == "notebook":
        _run_notebook(pixels, labels, m, depth)
        return
    from dlperf.problems.cutout.parameters import CutoutParameters
    from dlperf.problems.cutout.recipe import compiled_epoch

    parameters = CutoutParameters.resolve({"m": m, "depth": depth, "copies_in": way})
    engine = compiled_epoch(parameters, pixels, labels)
    engine.compile()
    # A segment starts with one step and grows with the time that took.
    for segment in itertools.islice(engine.train_epoch(1), _STEPS):
        assert np.isfinite(segment.sums.loss)


def _run_notebook(pixels: np.ndarray, labels: np.ndarray, m: int, depth: int) -> None:
    import keras
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    from benchmarks.notebook_way import repeat_with_cutout
    from dlperf.models.resnet import resnet

    model = resnet(depth, random_seed=0, weight_decay=2e-4, fused_batch_norm=False)
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.CategoricalCrossentropy(from_logits=True))
    examples = repeat_with_cutout(pixels, m, 12)
    generator = ImageDataGenerator(width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True)
    generator.fit(examples)  # the notebook called it; nothing it uses needs it
    batches = generator.flow(examples, keras.utils.to_categorical(np.repeat(labels, m), 10), batch_size=64)
    model.fit(batches, epochs=1, steps_per_epoch=_STEPS, verbose=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=["notebook", "epoch", "batch"])
    parser.add_argument("--m", type=at_least(1), default=2, help="copies of each image (default 2)")
    parser.add_argument("--depth", type=int, default=44, help="layers of the ResNet (default 44)")
    parser.add_argument("--images", type=at_least(192), default=5000, help="distinct images (default 5000)")
    run(**vars(parser.parse_args()))
    print(json.dumps({"peak_memory_mb": peak_memory_mb()}))
