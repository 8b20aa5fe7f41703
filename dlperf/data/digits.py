"""The 1,797 handwritten digits that come with scikit-learn, brought to CIFAR-10's format: data without a download.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998
(https://doi.org/10.24432/C50P49), of which `sklearn.datasets.load_digits` holds the test part: real scans of 8x8
pixels with values 0 to 16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dlperf.data.dataset import Dataset

TRAIN_SIZE = 1_437
TEST_SIZE = 360
LABEL_NAMES = tuple(str(digit) for digit in range(10))
SCALE = 4
LARGEST_VALUE = 16


def train_size() -> int:
    """Number of training images: 1,437."""
    return TRAIN_SIZE


def load() -> Dataset:
    """Load the scans with their fixed split.

    The scans are numbered in the order of (digit, position in scikit-learn's file); numbers 0, 5, 10, ... are the test
    images, so every digit is in both splits in proportion. Within a split the order is that of scikit-learn's file.
    The same writers are in both splits, so the test accuracy says nothing about new writers.

    Returns:
        1,437 training and 360 test images, grey in three equal channels.
    """
    # Imported here: this module's sizes are needed before anything heavy may be imported.
    import numpy as np
    from sklearn.datasets import load_digits

    from dlperf.data.dataset import Dataset

    scans = load_digits()
    images, labels = enlarge(scans.images), scans.target.astype(np.int32)
    is_test = np.zeros(len(labels), bool)
    is_test[np.argsort(labels, kind="stable")[::5]] = True
    return Dataset.build(
        name="digits",
        train_inputs=images[~is_test],
        train_labels=labels[~is_test],
        test_inputs=images[is_test],
        test_labels=labels[is_test],
        label_names=LABEL_NAMES,
        source="sklearn.datasets.load_digits",
    )


def enlarge(scans: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.uint8]:
    """Enlarge 8x8 scans four times, bilinearly, and scale 0..16 to 0..255.

    Pixel centres are aligned by area (a small pixel covers 4x4 large ones) and the border pixels are repeated outwards.
    Computed in integers and rounded once, so the result is the same on every machine.

    Args:
        scans: (N, 8, 8), whole numbers 0 to 16 of any dtype.

    Returns:
        uint8 (N, 32, 32, 3), the three channels equal.
    """
    import numpy as np

    size = scans.shape[-1]
    # In eighths of a small pixel: the large pixel i has its centre at 2i + 1, the small pixel j at 8j + 4. A large
    # pixel outside the outermost small centres takes the border pixel alone.
    eighths = 2 * SCALE
    small = eighths * np.arange(size) + SCALE
    large = np.clip(2 * np.arange(size * SCALE) + 1, small[0], small[-1])
    weights = np.maximum(0, eighths - np.abs(large[:, None] - small[None, :]))
    sums = weights @ scans.astype(np.int64) @ weights.T
    largest_sum = LARGEST_VALUE * eighths * eighths
    pixels = (sums * 255 + largest_sum // 2) // largest_sum
    return np.repeat(pixels.astype(np.uint8)[..., None], 3, axis=-1)
