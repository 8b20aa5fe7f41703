"""The notebook's horse and deer are found by their places, or by their looks where the images are in another order."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlperf import data
from dlperf.data.cifar_layout import CIFAR10
from dlperf.data.dataset import Dataset
from dlperf.problems.cutout import notebook_images as module
from dlperf.problems.cutout.notebook_images import OFFICIAL, notebook_images, thumbnails

FIRST = CIFAR10.first_labels[0]


def of_thumbnail(name: str) -> Any:
    """An image whose thumbnail is the known one, with texture."""
    means = np.asarray(module._THUMBNAILS[name], float).reshape(4, 4, 3)
    image = np.repeat(np.repeat(means, 8, axis=0), 8, axis=1)
    texture = np.indices((32, 32)).sum(axis=0)[..., None] % 2 * 2 - 1
    return np.clip(image + 5 * texture, 0, 255).astype(np.uint8)


def as_jpeg(image: Any) -> Any:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=75)
    return np.asarray(Image.open(content))


def made(images: Any, labels: Any, label_names: tuple[str, ...] = CIFAR10.label_names) -> Dataset:
    images, labels = np.array(images), np.array(labels, np.int32)
    test = {"test_inputs": images[:1].copy(), "test_labels": labels[:1].copy()}
    return Dataset.build(
        name="cifar10", train_inputs=images, train_labels=labels, **test, label_names=label_names, source="made"
    )


@pytest.fixture
def images() -> Any:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (40, 4, 4, 3))
    return np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2).astype(np.uint8)


def test_in_the_published_order_they_are_where_they_are(images: Any) -> None:
    found = notebook_images(made(images[: len(FIRST)], FIRST))
    assert [name for name, _ in found] == ["horse", "deer"]
    for (_, image), place in zip(found, OFFICIAL.values(), strict=True):
        assert np.array_equal(image, images[place])


def test_in_another_order_they_are_found_by_their_looks(images: Any) -> None:
    """Re-encoded too, and in spite of others of their classes."""
    labels = np.resize([7, 4, 1], len(images))
    images = images.copy()
    images[30], images[31] = as_jpeg(of_thumbnail("horse")), as_jpeg(of_thumbnail("deer"))
    (horse, one), (deer, other) = notebook_images(made(images, labels))
    assert (horse, deer) == ("horse", "deer")
    assert np.array_equal(one, images[30])
    assert np.array_equal(other, images[31])


def test_where_they_are_not_others_of_their_classes_stand_for_them(images: Any) -> None:
    labels = np.resize([1, 4, 7], len(images))
    (_, horse), (_, deer) = notebook_images(made(images, labels))
    assert np.array_equal(horse, images[2])
    assert np.array_equal(deer, images[1])
    assert len(notebook_images(made(images, np.ones(len(images))))) == 2


def test_other_data_sets_show_the_same_places(images: Any) -> None:
    found = notebook_images(made(images[:5, :, :, :1], [0, 1, 2, 1, 0], ("a", "b", "c")))
    assert [name for name, _ in found] == ["c", "b"]  # of five images the eighth is the third


def test_a_thumbnail_is_made_of_means() -> None:
    image = np.arange(32 * 32 * 3, dtype=np.uint32).reshape(1, 32, 32, 3) % 256
    assert thumbnails(image)[0, 3] == image[0, :8, 8:16, 0].mean()


@pytest.mark.cifar10
def test_the_full_data_have_both() -> None:
    """In any order, the official one among them."""
    found = notebook_images(data.load("cifar10", os.environ["DLPERF_DATA_DIR"]))
    for (_, image), name in zip(found, OFFICIAL, strict=True):
        distance = np.sqrt(((thumbnails(image[None])[0] - module._THUMBNAILS[name]) ** 2).mean())
        assert distance < 3
