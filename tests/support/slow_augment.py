"""Augmentation as a loop over images and pixels: slow, and plainly right."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from numpy.typing import NDArray

from tests.support.rounding import UNIT, tolerance

Array = NDArray[Any]


def random_images(random: np.random.Generator, batch: int, height: int, width: int, channels: int = 3) -> Array:
    return random.random((batch, height, width, channels), dtype=np.float32)


def numpy(tensor: Any) -> Array:
    return np.asarray(tensor)


def slow_shift(image: Array, offset: Array, flip: bool = False) -> Array:
    """One image through Keras's own per-image code, whose `tx` is the shift of the columns."""
    generator = ImageDataGenerator(fill_mode="nearest")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Keras calls SciPy by an old name
        shifted: Array = generator.apply_transform(
            image, {"ty": float(offset[0]), "tx": float(offset[1]), "flip_horizontal": flip}
        )
    return shifted


def slow_cutout(image: Array, centre: Array, length: int) -> Array:
    """The notebook's loop body."""
    height, width = image.shape[:2]
    y, x = int(centre[0]), int(centre[1])
    mask = np.ones((height, width), np.float32)
    y1, y2 = np.clip([y - length // 2, y - length // 2 + length], 0, height)
    x1, x2 = np.clip([x - length // 2, x - length // 2 + length], 0, width)
    mask[y1:y2, x1:x2] = 0.0
    return image * mask[:, :, None]


def slow_crop(image: Array, offset: Array, padding: int, flip: bool = False) -> Array:
    height, width = image.shape[:2]
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    window = padded[offset[0] : offset[0] + height, offset[1] : offset[1] + width]
    return window[:, ::-1] if flip else window


def slow_centres(random_seed: int, image: Array, copy: Array, height: int, width: int) -> Array:
    """The hash in Python's unbounded integers."""

    def mix(bits: int) -> int:
        bits = (bits ^ bits >> 16) * 0x85EBCA6B % 2**32
        bits = (bits ^ bits >> 13) * 0xC2B2AE35 % 2**32
        return bits ^ bits >> 16

    centres = []
    for i, c in zip(image.tolist(), copy.tolist(), strict=True):
        bits = 0
        for word in (random_seed, i, c):
            bits = mix((bits + word + 0x9E3779B9) % 2**32)
        centres.append(((bits >> 16) * height >> 16, bits % 2**16 * width >> 16))
    return np.array(centres, np.int32).reshape(-1, 2)


def of_interpolation(side: float, reach: float) -> float:
    """How far interpolated pixels of at most 1 may part: by the rounding of two coordinates, and of four products."""
    return 4 * UNIT * (side + reach) + tolerance(4)
