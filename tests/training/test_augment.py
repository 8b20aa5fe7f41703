"""The vectorised augmentation against slow implementations that are plainly right."""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from numpy.typing import NDArray

from dlperf.training import augment
from tests.support.rounding import UNIT, tolerance

Array = NDArray[Any]

# Every new shape compiles anew in eager mode's caches: few, but different examples.
few = settings(max_examples=25, deadline=None)
sizes = st.integers(2, 13)
seeds = st.integers(0, 2**32 - 1)


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


# --- the same in every mode of execution

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


def test_no_backend_is_imported() -> None:
    """Written against keras.ops alone, so that the backend can become a setting."""
    tree = ast.parse(inspect.getsource(augment))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert modules == {"__future__", "typing", "keras", "dlperf.counter_hash"}
