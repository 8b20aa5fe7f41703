"""The vectorised augmentation against slow implementations that are plainly right."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras.src.legacy.preprocessing.image import ImageDataGenerator

from dlperf.training import augment
from tests.support.slow_augment import (
    Array,
    numpy,
    of_interpolation,
    random_images,
    slow_centres,
    slow_crop,
    slow_cutout,
    slow_shift,
)

# Every new shape compiles anew in eager mode's caches: few, but different examples.
few = settings(max_examples=25)
sizes = st.integers(2, 13)
seeds = st.integers(0, 2**32 - 1)


# --- shift and flip


@few
@given(height=sizes, width=sizes, channels=st.integers(1, 4), reach=st.sampled_from([0.4, 3.2, 30.0]), seed=seeds)
def test_shift_is_that_of_image_data_generator(height: int, width: int, channels: int, reach: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    images = random_images(random, 4, height, width, channels)
    offsets = random.uniform(-reach, reach, (4, 2)).astype(np.float32)
    flips = random.random(4) < 0.5
    expected = np.stack([slow_shift(*pair) for pair in zip(images, offsets, strict=True)])
    allowed = of_interpolation(max(height, width), reach)
    np.testing.assert_allclose(numpy(augment.shift(images, offsets)), expected, rtol=0, atol=allowed)
    expected = np.stack([slow_shift(*triple) for triple in zip(images, offsets, flips, strict=True)])
    np.testing.assert_allclose(numpy(augment.shift_and_flip(images, offsets, flips)), expected, rtol=0, atol=allowed)


def test_shift_by_whole_pixels_repeats_the_border() -> None:
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    moved = numpy(augment.shift(image, np.array([[1.0, -2.0]], np.float32)))[0, :, :, 0]
    np.testing.assert_array_equal(moved, [[4, 4, 4, 5], [8, 8, 8, 9], [8, 8, 8, 9]])


def test_shift_by_nothing_changes_nothing() -> None:
    images = random_images(np.random.default_rng(0), 3, 8, 6)
    np.testing.assert_array_equal(numpy(augment.shift(images, np.zeros((3, 2), np.float32))), images)


@pytest.mark.parametrize("axis", [0, 1])
def test_offsets_are_what_the_generator_draws(axis: int) -> None:
    """`tx` comes from the height range but moves columns; the draws themselves are symmetric."""
    generator = ImageDataGenerator(height_shift_range=0.1, width_shift_range=0.1)
    drawn = [generator.get_random_transform((32, 32, 3))[("ty", "tx")[axis]] for _ in range(500)]
    assert -3.2 <= min(drawn) < -2.8
    assert 2.8 < max(drawn) <= 3.2


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_flip_mirrors_only_the_chosen(dtype: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 2)).astype(dtype)
    flipped = numpy(augment.flip(images, np.array([True, False, True])))
    np.testing.assert_array_equal(flipped, np.stack([images[0, :, ::-1], images[1], images[2, :, ::-1]]))
    assert flipped.dtype == dtype


# --- crop


@few
@given(height=sizes, width=sizes, padding=st.integers(0, 6), seed=seeds)
def test_crop_is_padding_and_slicing(height: int, width: int, padding: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    images = random_images(random, 5, height, width) - 0.5
    offsets = random.integers(0, 2 * padding + 1, (5, 2), dtype=np.int32)
    flips = random.random(5) < 0.5
    expected = np.stack([slow_crop(image, offset, padding) for image, offset in zip(images, offsets, strict=True)])
    np.testing.assert_array_equal(numpy(augment.crop(images, offsets, padding)), expected)
    expected = np.stack([slow_crop(i, o, padding, f) for i, o, f in zip(images, offsets, flips, strict=True)])
    np.testing.assert_array_equal(numpy(augment.crop_and_flip(images, offsets, flips, padding)), expected)


def test_crop_at_every_offset() -> None:
    image = np.random.default_rng(0).integers(1, 256, (7, 6, 1), dtype=np.uint8)
    offsets = np.stack(np.meshgrid(np.arange(9), np.arange(9), indexing="ij"), axis=-1).reshape(-1, 2).astype(np.int32)
    cropped = numpy(augment.crop(np.repeat(image[None], 81, axis=0), offsets))
    np.testing.assert_array_equal(cropped, np.stack([slow_crop(image, offset, 4) for offset in offsets]))
    np.testing.assert_array_equal(cropped[4 * 9 + 4], image)


# --- cutout


@few
@given(height=sizes, width=sizes, length=st.integers(0, 30), seed=seeds)
def test_cutout_is_the_notebooks(height: int, width: int, length: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    images = random_images(random, 6, height, width)
    centres = random.integers(0, (height, width), (6, 2)).astype(np.int32)
    expected = np.stack([slow_cutout(image, centre, length) for image, centre in zip(images, centres, strict=True)])
    np.testing.assert_array_equal(numpy(augment.cutout(images, centres, length)), expected)


@pytest.mark.parametrize(("length", "area"), [(8, 56.25), (12, 118.265625), (16, 196.0)])
def test_mean_masked_area_over_all_centres(length: int, area: float) -> None:
    centres = np.stack(np.meshgrid(np.arange(32), np.arange(32), indexing="ij"), axis=-1).reshape(-1, 2)
    masked = numpy(augment.cutout(np.ones((1024, 32, 32, 1), np.uint8), centres.astype(np.int32), length))
    assert (masked == 0).sum(axis=(1, 2, 3)).mean() == area


# --- frozen centres


@few
@given(random_seed=seeds, height=st.integers(1, 300), width=st.integers(1, 300), seed=seeds)
def test_frozen_centres_equal_the_hash_in_plain_integers(random_seed: int, height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    image, copy = random.integers(0, 2**31, (2, 20)).astype(np.int32)
    centres = numpy(augment.frozen_centres(random_seed, image, copy, height, width))
    np.testing.assert_array_equal(centres, slow_centres(random_seed, image, copy, height, width))
    assert centres.dtype == np.int32
    assert (centres >= 0).all()
    assert (centres < [height, width]).all()


def centres_of(random_seed: int, image: Array, copy: Array) -> Array:
    return numpy(augment.frozen_centres(random_seed, image.astype(np.int32), copy.astype(np.int32), 32, 32))


def cells(centres: Array) -> Array:
    return centres[:, 0] * 32 + centres[:, 1]


@pytest.mark.parametrize(
    ("images", "copies"), [(200_000, 1), (50_000, 4), (1, 200_000)], ids=["images", "epoch", "copies"]
)
@pytest.mark.parametrize("random_seed", [0, 1, 2**32 - 1])
def test_frozen_centres_are_uniform_over_rows_and_columns_together(random_seed: int, images: int, copies: int) -> None:
    image, copy = np.divmod(np.arange(images * copies), copies)
    counts = np.bincount(cells(centres_of(random_seed, image, copy)), minlength=1024)
    chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    # 1,023 degrees of freedom: mean 1,023, standard deviation 45; six of these either way (too even is wrong as well).
    assert abs(chi_square - 1023) < 6 * np.sqrt(2 * 1023)


image_0_to_99999, copy_0 = np.arange(100_000), np.zeros(100_000, np.int64)
neighbours: dict[str, Callable[[], Array]] = {
    "image": lambda: centres_of(7, image_0_to_99999 + 1, copy_0),
    "copy": lambda: centres_of(7, image_0_to_99999, copy_0 + 1),
    "copy_and_image_exchanged": lambda: centres_of(7, copy_0, image_0_to_99999),
    "random_seed": lambda: centres_of(8, image_0_to_99999, copy_0),
    "row_and_column": lambda: centres_of(7, image_0_to_99999, copy_0)[:, ::-1],
}


@pytest.mark.parametrize("neighbour", sorted(neighbours))
def test_frozen_centres_of_neighbours_are_independent(neighbour: str) -> None:
    ours, theirs = centres_of(7, image_0_to_99999, copy_0), neighbours[neighbour]()
    for axis in (0, 1):
        correlation = np.corrcoef(ours[:, axis], theirs[:, axis])[0, 1]
        assert abs(correlation) < 6 / np.sqrt(len(ours))
        # Also what no correlation shows: how often each pair of values comes, 1,023 degrees of freedom.
        counts = np.bincount(ours[:, axis] * 32 + theirs[:, axis], minlength=1024)
        chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
        assert abs(chi_square - 1023) < 6 * np.sqrt(2 * 1023)


def test_frozen_centres_depend_on_nothing_but_their_arguments() -> None:
    image, copy = np.divmod(np.arange(600), 6)
    order = np.random.default_rng(0).permutation(600)
    whole = centres_of(3, image, copy)
    np.testing.assert_array_equal(centres_of(3, image[order], copy[order]), whole[order])
    np.testing.assert_array_equal(centres_of(3, image[10:11], copy[10:11]), whole[10:11])


@pytest.mark.parametrize("random_seed", [-1, 2**32])
def test_a_random_seed_beyond_32_bits_is_refused(random_seed: int) -> None:
    with pytest.raises(ValueError, match=f"random_seed={random_seed}"):
        augment.frozen_centres(random_seed, np.zeros(1, np.int32), np.zeros(1, np.int32), 32, 32)


# --- pipelines


# --- the same in every mode of execution


def test_no_backend_is_imported() -> None:
    """Written against keras.ops alone, so that the backend can become a setting."""
    tree = ast.parse(inspect.getsource(augment))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert modules == {"__future__", "typing", "keras", "dlperf.counter_hash"}
