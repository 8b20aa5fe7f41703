"""The two images on which the notebook shows cutout, a horse and a deer, wherever a data set has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlperf.data.cifar_layout import CIFAR10

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dlperf.data.dataset import Dataset

OFFICIAL = {"horse": 7, "deer": 3}
"""Their places among CIFAR-10's training images in the published order."""
# Means over squares of 8 x 8 pixels, row by row, red, green, blue. Re-encoding as JPEG moves them by one or two; of the
# other images of the class the one that is most like it is 13 or more away (root mean square).
_THUMBNAILS = {
    "horse": (
        *(60, 61, 60, 109, 98, 85, 173, 159, 123, 144, 145, 103, 121, 112, 86, 132, 81, 62, 143, 81, 65, 108, 96, 70),
        *(194, 225, 155, 131, 135, 101, 152, 164, 116, 112, 132, 91, 165, 199, 139, 127, 156, 109, 132, 163, 111),
        *(116, 144, 103),
    ),
    "deer": (
        *(64, 57, 39, 76, 65, 44, 81, 71, 47, 81, 71, 47, 92, 74, 51, 111, 88, 62, 122, 101, 73, 97, 82, 60, 99, 80),
        *(55, 171, 139, 99, 125, 100, 76, 113, 93, 65, 83, 72, 48, 97, 78, 52, 101, 81, 56, 86, 77, 53),
    ),
}
_ALIKE = 6.0


def notebook_images(dataset: Dataset) -> list[tuple[str, NDArray[Any]]]:
    """Return the names of their classes and the images, (height, width, channels) of the data set's dtype.

    CIFAR-10 in another order than the published one is searched for images that look like them, in both splits; where
    it has none, the first images of their classes stand for them. Other data sets show the images in the same places.
    """
    first = CIFAR10.first_labels[0]
    in_order = tuple(dataset.train_labels[: len(first)]) == first
    if dataset.label_names != CIFAR10.label_names or dataset.train_inputs.shape[1:] != (32, 32, 3) or in_order:
        places = [place % len(dataset.train_labels) for place in OFFICIAL.values()]
        return [(dataset.label_names[dataset.train_labels[place]], dataset.train_inputs[place]) for place in places]
    return [(name, _most_alike(dataset, name)) for name in OFFICIAL]


def _most_alike(dataset: Dataset, name: str) -> NDArray[Any]:
    label, wanted = CIFAR10.label_names.index(name), np.asarray(_THUMBNAILS[name], float)
    of_class = []
    for images, labels in ((dataset.train_inputs, dataset.train_labels), (dataset.test_inputs, dataset.test_labels)):
        places = np.flatnonzero(labels == label)
        of_class += [images[places[:1]]]
        distances = np.sqrt(((thumbnails(images[places]) - wanted) ** 2).mean(axis=1))
        if len(places) and distances.min() < _ALIKE:
            return images[places[distances.argmin()]]
    return np.concatenate([*of_class, dataset.train_inputs[:1]])[0]


def thumbnails(images: NDArray[Any]) -> NDArray[np.float64]:
    """Return the means over squares of 8 x 8 pixels of uint8 images (N, 32, 32, 3), as float64 (N, 48)."""
    means: NDArray[np.float64] = images.reshape(-1, 4, 8, 4, 8, 3).mean(axis=(2, 4)).reshape(-1, 48)
    return means
