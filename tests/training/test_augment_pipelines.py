"""Whole pipelines of augmentation against loops over images, and compiled against eager."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from dlperf.training import augment
from tests.support.rounding import tolerance
from tests.support.slow_augment import Array, numpy, of_interpolation, slow_crop, slow_cutout, slow_shift


class Draws:
    """A batch of uint8 images and everything random about it."""

    def __init__(self, batch: int = 16, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.images = random.integers(0, 256, (batch, 32, 32, 3), dtype=np.uint8)
        self.mean = random.random((32, 32, 3), dtype=np.float32)
        self.channel_mean = np.array([0.49, 0.48, 0.45], np.float32)
        self.channel_std = np.array([0.25, 0.24, 0.26], np.float32)
        self.offsets = random.uniform(-3.2, 3.2, (batch, 2)).astype(np.float32)
        self.crop_offsets = random.integers(0, 9, (batch, 2), dtype=np.int32)
        self.flips = random.random(batch) < 0.5
        self.centres = random.integers(0, 32, (batch, 2), dtype=np.int32)
        self.image, self.copy = np.arange(batch, dtype=np.int32), np.arange(batch, dtype=np.int32) % 4


# Pixels of at most 1, moved by at most 3.2; a scale, a difference and a quotient by 0.24 that make some 4 of them.
OF_PIPELINE = {"notebook_pipeline": of_interpolation(32, 3.2), "corrected_pipeline": 4 * tolerance(4)}


def slow_notebook(draws: Draws, with_mean: bool, with_cutout: bool) -> Array:
    batch = []
    for image, offset, flip, centre in zip(draws.images, draws.offsets, draws.flips, draws.centres, strict=True):
        scaled = image.astype(np.float32) / 255
        if with_mean:
            scaled = scaled - draws.mean
        if with_cutout:
            scaled = slow_cutout(scaled, centre, 12)
        batch.append(slow_shift(scaled, offset, bool(flip)))
    return np.stack(batch)


def slow_corrected(draws: Draws, with_cutout: bool) -> Array:
    batch = []
    for image, offset, flip, centre in zip(draws.images, draws.crop_offsets, draws.flips, draws.centres, strict=True):
        normalised = (image.astype(np.float32) / 255 - draws.channel_mean) / draws.channel_std
        augmented = slow_crop(normalised, offset, 4, bool(flip))
        batch.append(slow_cutout(augmented, centre, 16) if with_cutout else augmented)
    return np.stack(batch)


def test_preparation_for_evaluation_is_that_of_training() -> None:
    draws = Draws()
    scaled = draws.images.astype(np.float32) / 255
    np.testing.assert_array_equal(numpy(augment.scale(draws.images, None)), scaled)
    np.testing.assert_array_equal(numpy(augment.scale(draws.images, draws.mean)), scaled - draws.mean)
    normalised = numpy(augment.normalise(draws.images, draws.channel_mean, draws.channel_std))
    expected = (scaled - draws.channel_mean) / draws.channel_std
    np.testing.assert_allclose(normalised, expected, rtol=0, atol=OF_PIPELINE["corrected_pipeline"])
    centred, straight = np.full_like(draws.crop_offsets, 4), np.zeros_like(draws.flips)
    unmoved = augment.corrected_pipeline(
        draws.images, draws.channel_mean, draws.channel_std, centred, straight, None, 16
    )
    np.testing.assert_allclose(numpy(unmoved), normalised, rtol=0, atol=OF_PIPELINE["corrected_pipeline"])


@pytest.mark.parametrize("with_mean", [False, True])
@pytest.mark.parametrize("with_cutout", [False, True])
def test_notebook_pipeline_masks_before_it_shifts(with_mean: bool, with_cutout: bool) -> None:
    draws = Draws()
    augmented = augment.notebook_pipeline(
        draws.images,
        draws.mean if with_mean else None,
        draws.centres if with_cutout else None,
        12,
        draws.offsets,
        draws.flips,
    )
    expected = slow_notebook(draws, with_mean, with_cutout)
    np.testing.assert_allclose(numpy(augmented), expected, rtol=0, atol=OF_PIPELINE["notebook_pipeline"])


def test_notebook_pipeline_smears_a_mask_at_the_border() -> None:
    """Masked after the shift, the square would be one row high: here its row at the border fills what is outside."""
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    offsets, centres = np.array([[-3.0, 0.0]], np.float32), np.array([[0, 16]], np.int32)
    augmented = numpy(augment.notebook_pipeline(white, None, centres, 2, offsets, np.array([False])))
    assert (augmented[0, :4, 15:17] == 0).all()
    assert (augmented == 0).sum() == 4 * 2 * 3


@pytest.mark.parametrize("with_cutout", [False, True])
def test_corrected_pipeline_normalises_before_it_pads_and_masks_last(with_cutout: bool) -> None:
    draws = Draws()
    augmented = augment.corrected_pipeline(
        draws.images,
        draws.channel_mean,
        draws.channel_std,
        draws.crop_offsets,
        draws.flips,
        draws.centres if with_cutout else None,
        16,
    )
    expected = slow_corrected(draws, with_cutout)
    np.testing.assert_allclose(numpy(augmented), expected, rtol=0, atol=OF_PIPELINE["corrected_pipeline"])


def test_corrected_pipeline_fills_with_the_mean_and_does_not_move_the_mask() -> None:
    """Black images normalise to -2: zeros are the padding (rows 0 to 3) and a mask that the flip left where it was."""
    black, half, quarter = np.zeros((1, 32, 32, 1), np.uint8), np.array([0.5]), np.array([0.25])
    offsets, centres = np.array([[0, 4]], np.int32), np.array([[20, 6]], np.int32)
    augmented = numpy(
        augment.corrected_pipeline(
            black, half.astype("float32"), quarter.astype("float32"), offsets, np.array([True]), centres, 4
        )
    )
    expected = np.full((1, 32, 32, 1), -2.0, np.float32)
    expected[0, :4] = 0
    expected[0, 18:22, 4:8] = 0
    np.testing.assert_array_equal(augmented, expected)


functions: dict[str, Callable[[Draws], Any]] = {
    "shift": lambda d: augment.shift(d.images / np.float32(255), d.offsets),
    "flip": lambda d: augment.flip(d.images, d.flips),
    "crop": lambda d: augment.crop(d.images, d.crop_offsets),
    "cutout": lambda d: augment.cutout(d.images, d.centres, 12),
    "frozen_centres": lambda d: augment.frozen_centres(5, d.image, d.copy, 32, 32),
    "notebook_pipeline": lambda d: augment.notebook_pipeline(d.images, d.mean, d.centres, 12, d.offsets, d.flips),
    "corrected_pipeline": lambda d: augment.corrected_pipeline(
        d.images, d.channel_mean, d.channel_std, d.crop_offsets, d.flips, d.centres, 16
    ),
}


# XLA may contract a product and a sum into one rounding; whole numbers and copies have nothing to round.
ALLOWED = {**dict.fromkeys(functions, 0.0), **OF_PIPELINE, "shift": OF_PIPELINE["notebook_pipeline"]}


class TracedDraws(Draws):
    """The same draws as arguments of a compiled function: a constant would be folded before it is compiled."""

    def __init__(self, tensors: dict[str, Any]) -> None:
        self.__dict__.update(tensors)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("name", sorted(functions))
def test_compiled_equals_eager(name: str, jit_compile: bool) -> None:
    draws = Draws()
    compiled = tf.function(lambda tensors: functions[name](TracedDraws(tensors)), jit_compile=jit_compile)
    outcome = numpy(compiled({key: tf.constant(value) for key, value in vars(draws).items()}))
    np.testing.assert_allclose(outcome, numpy(functions[name](draws)), rtol=0, atol=ALLOWED[name])


@pytest.mark.parametrize("name", sorted(functions))
def test_the_size_of_the_batch_may_be_unknown_until_it_runs(name: str) -> None:
    """As in an epoch whose last batch is smaller."""
    per_example = {"images", "offsets", "crop_offsets", "flips", "centres", "image", "copy"}
    draws = vars(Draws())
    shapes = {
        key: tf.TensorSpec((None, *value.shape[1:]) if key in per_example else value.shape, value.dtype)
        for key, value in draws.items()
    }
    compiled = tf.function(
        lambda tensors: functions[name](TracedDraws(tensors)), jit_compile=True, input_signature=[shapes]
    )
    whole = numpy(compiled({key: tf.constant(value) for key, value in draws.items()}))
    part = {key: tf.constant(value[:5] if key in per_example else value) for key, value in draws.items()}
    np.testing.assert_allclose(numpy(compiled(part)), whole[:5], rtol=0, atol=ALLOWED[name])


def test_the_same_draws_give_the_same_bits() -> None:
    draws = Draws()
    compiled = tf.function(lambda tensors: functions["notebook_pipeline"](TracedDraws(tensors)), jit_compile=True)
    tensors = {key: tf.constant(value) for key, value in vars(draws).items()}
    np.testing.assert_array_equal(numpy(compiled(tensors)), numpy(compiled(tensors)))
