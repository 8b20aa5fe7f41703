"""The notebook's way to augment, written afresh: what the vectorised augmentation is measured against.

Not a benchmark itself: benchmarks.augmentation, training_speed and peak_memory call it. NumPy masks one image at a
time, the masked copies are stored m-fold as float32, and Keras's legacy `ImageDataGenerator` shifts and flips one image
at a time, channel by channel, in SciPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from keras.src.legacy.preprocessing.image import ImageDataGenerator


def cutout(image: np.ndarray, length: int, random: np.random.Generator) -> np.ndarray:
    """Mask one square of one image, as the notebook did.

    Args:
        image: float32 (H, W, C).
        length: Side of the square, in pixels.
        random: Draws the centre.

    Returns:
        A masked copy, float32 (H, W, C).
    """
    height, width = image.shape[:2]
    y, x = random.integers(height), random.integers(width)
    mask = np.ones((height, width), np.float32)
    top, bottom = np.clip([y - length // 2, y + length // 2], 0, height)
    left, right = np.clip([x - length // 2, x + length // 2], 0, width)
    mask[top:bottom, left:right] = 0.0
    return image * np.repeat(mask[:, :, None], image.shape[2], axis=2)


def repeat_with_cutout(images: np.ndarray, m: int, length: int, random_seed: int = 0) -> np.ndarray:
    """The notebook's training set: every image m times, each copy with a mask of its own, all in memory.

    Args:
        images: uint8 (N, H, W, C).
        m: Copies of each image; 0 stands for the baseline, the images once and without masks.
        length: Side of the masked square, in pixels.
        random_seed: Seed of the masks.

    Returns:
        float32 (max(m, 1) * N, H, W, C) in [0, 1]; the copies of an image stand together.
    """
    scaled = images.astype("float32") / 255
    if m == 0:
        return scaled
    random = np.random.default_rng(random_seed)
    return np.array([cutout(image, length, random) for image in np.repeat(scaled, m, axis=0)])


def flow(images: np.ndarray, labels: np.ndarray | None, batch_size: int = 64, random_seed: int = 0) -> Iterator[Any]:
    """The notebook's generator: shuffled batches, shifted by up to 10 % (nearest fill) and flipped.

    Args:
        images: float32 (N, H, W, C).
        labels: (N, ...), or None for batches of images alone.
        batch_size: Images in a batch.
        random_seed: Seed of order, shifts and flips.

    Returns:
        An endless iterator that `model.fit` takes as it is (a `keras.utils.PyDataset`).
    """
    generator = ImageDataGenerator(
        width_shift_range=0.1, height_shift_range=0.1, fill_mode="nearest", horizontal_flip=True
    )
    batches: Iterator[Any] = generator.flow(images, labels, batch_size=batch_size, seed=random_seed)
    return batches
