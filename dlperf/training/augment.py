"""Augmentation of image batches: shift, crop, flip and cutout, vectorised over the batch.

Every function is pure: the random draws come in as arrays, so that one draw of the training engine serves any
implementation (the tests hold all of them against slow ones) and nothing depends on what ran before. Written against
`keras.ops` and meant to be called inside a compiled function; XLA fuses a whole pipeline into a few loops, so the
steps below are written one by one and still touch memory once or twice.

Flips cost nothing on top of a shift or a crop: both read their columns through an index, and a flip reverses it.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from dlperf.counter_hash import hashed

# A tensor of the backend or a NumPy array: `keras.ops` takes both, and Keras has no type that covers them.
Tensor = Any

_UINT32_MAX = 2**32 - 1


def _source_columns(width: int, flips: Tensor | None) -> Tensor:
    """Column that an output column reads before it is shifted or cropped: int32 (B, W), or (1, W) without flips."""
    columns = ops.arange(width, dtype="int32")[None, :]
    if flips is None:
        return columns
    return ops.where(ops.cast(flips, "bool")[:, None], width - 1 - columns, columns)


def _take_columns(images: Tensor, columns: Tensor) -> Tensor:
    """Read column columns[b, j] of image b into column j: (B, H, W, C) from columns int32 (B, W)."""
    return ops.take_along_axis(images, columns[:, None, :, None], axis=2)


def _shift(images: Tensor, offsets: Tensor, flips: Tensor | None) -> Tensor:
    """Shift, then flip if asked to; see `shift_and_flip`.

    Bilinear interpolation is separable. Rows go through a matrix product with the hat function's weights, columns
    through two gathers. XLA recomputes a gather for every reader it is fused into, so that four taps by gathers alone
    took about 1.7 times as long on a CPU, and two matrix products about 1.3 times; chains of static slices selected
    by the offset's bits were as quick in one order of the steps and four times slower in another.
    """
    _, height, width, channels = images.shape
    rows = ops.arange(height, dtype="float32")
    # Clipping the coordinate is the nearest fill: beyond the border, the border's row has the whole weight.
    sources = ops.clip(rows[None, :] + offsets[:, :1], 0.0, height - 1.0)
    weights = ops.maximum(0.0, 1.0 - ops.abs(sources[:, :, None] - rows[None, None, :]))
    shifted = ops.matmul(weights, ops.reshape(images, (-1, height, width * channels)))
    shifted = ops.reshape(shifted, (-1, height, width, channels))

    whole = ops.floor(offsets[:, 1:])
    fraction = (offsets[:, 1:] - whole)[:, :, None, None]
    left = _source_columns(width, flips) + ops.cast(whole, "int32")
    return (1.0 - fraction) * _take_columns(shifted, ops.clip(left, 0, width - 1)) + fraction * _take_columns(
        shifted, ops.clip(left + 1, 0, width - 1)
    )


def shift(images: Tensor, offsets: Tensor) -> Tensor:
    """Shift every image by a fraction of pixels: bilinear, the border's pixels repeated outside (nearest fill).

    The same as Keras's legacy `ImageDataGenerator(height_shift_range=..., width_shift_range=..., fill_mode="nearest")`:
    output pixel (i, j) reads the image at (i + row offset, j + column offset), so a positive offset moves the content
    up and to the left. In the parameters of its `apply_transform`, `offsets[b] = (ty, tx)`: Keras draws `tx` from the
    *height* range but shifts the columns by it, which shows only where the two ranges or the two sizes differ.

    Args:
        images: float32 (B, H, W, C).
        offsets: float32 (B, 2), rows then columns, in pixels; any size.

    Returns:
        float32 (B, H, W, C).
    """
    return _shift(images, offsets, None)


def shift_and_flip(images: Tensor, offsets: Tensor, flips: Tensor) -> Tensor:
    """`flip(shift(images, offsets), flips)`, at the price of the shift alone.

    Args:
        images: float32 (B, H, W, C).
        offsets: float32 (B, 2), as for `shift`.
        flips: bool (B,), as for `flip`.

    Returns:
        float32 (B, H, W, C).
    """
    return _shift(images, offsets, flips)


def flip(images: Tensor, flips: Tensor) -> Tensor:
    """Mirror the chosen images left to right.

    Args:
        images: Any dtype, (B, H, W, C).
        flips: bool (B,), true where the image is to be mirrored.

    Returns:
        The dtype and shape of `images`.
    """
    return _take_columns(images, _source_columns(images.shape[2], flips))


def _crop(images: Tensor, offsets: Tensor, flips: Tensor | None, padding: int) -> Tensor:
    """Crop, then flip if asked to; see `crop_and_flip`.

    The padded image is never made: what lies outside is read from the border and set to zero at the end.
    """
    _, height, width, channels = images.shape
    offsets = ops.cast(offsets, "int32") - padding
    rows = ops.arange(height, dtype="int32")[None, :] + offsets[:, :1]
    columns = _source_columns(width, flips) + offsets[:, 1:]
    rows_inside = ops.logical_and(rows >= 0, rows < height)[:, :, None, None]
    columns_inside = ops.logical_and(columns >= 0, columns < width)[:, None, :, None]

    # One gather with a flat index: XLA fuses it, and all that stands before it, into the loop that writes the result.
    first = ops.arange(ops.shape(images)[0], dtype="int32")[:, None, None] * (height * width)
    index = first + ops.clip(rows, 0, height - 1)[:, :, None] * width + ops.clip(columns, 0, width - 1)[:, None, :]
    window = ops.take(ops.reshape(images, (-1, channels)), index, axis=0)
    return ops.where(ops.logical_and(rows_inside, columns_inside), window, ops.zeros_like(window))


def crop(images: Tensor, offsets: Tensor, padding: int = 4) -> Tensor:
    """Pad every image with zeros and cut a window of the original size out of it.

    He et al. 2015, "Deep Residual Learning for Image Recognition", section 4.2: 4 pixels are padded on every side of
    the normalised image, so that the zeros stand for the mean.

    Args:
        images: Any dtype, (B, H, W, C).
        offsets: int32 (B, 2), row and column of the window's first pixel in the padded image, 0 to 2 * padding.
        padding: Pixels added on every side.

    Returns:
        The dtype and shape of `images`.
    """
    return _crop(images, offsets, None, padding)


def crop_and_flip(images: Tensor, offsets: Tensor, flips: Tensor, padding: int = 4) -> Tensor:
    """`flip(crop(images, offsets, padding), flips)`, at the price of the crop alone.

    Args:
        images: Any dtype, (B, H, W, C).
        offsets: int32 (B, 2), as for `crop`.
        flips: bool (B,), as for `flip`.
        padding: Pixels added on every side before the crop.

    Returns:
        The dtype and shape of `images`.
    """
    return _crop(images, offsets, flips, padding)


def cutout(images: Tensor, centres: Tensor, length: int) -> Tensor:
    """Set one square of every image to zero, clipped at the border.

    DeVries and Taylor 2017, "Improved Regularization of Convolutional Neural Networks with Cutout", section 3. The
    `length` rows from y - length // 2 on are masked, and columns likewise: for even lengths what the authors' code and
    the notebook mask (theirs would mask one row and one column less for odd ones). What zero means is up to the
    normalisation before: black for pixels in [0, 1], the mean for centred ones.

    Args:
        images: Any dtype, (B, H, W, C).
        centres: int32 (B, 2), row y and column x, uniform over the image (0 to H - 1, 0 to W - 1).
        length: Side of the square, in pixels.

    Returns:
        The dtype and shape of `images`.
    """
    half = length // 2
    rows = ops.arange(images.shape[1], dtype="int32")[None, :] - centres[:, :1]
    columns = ops.arange(images.shape[2], dtype="int32")[None, :] - centres[:, 1:]
    rows_masked = ops.logical_and(rows >= -half, rows < length - half)[:, :, None, None]
    columns_masked = ops.logical_and(columns >= -half, columns < length - half)[:, None, :, None]
    return ops.where(ops.logical_and(rows_masked, columns_masked), ops.zeros_like(images), images)


def frozen_centres(random_seed: int, image: Tensor, copy: Tensor, height: int, width: int) -> Tensor:
    """Centre of the mask that a copy of an image keeps for all epochs, recomputed instead of stored.

    The notebook drew one mask per copy before training. A counter-based generator gives the same without its memory:
    the centre is a hash of (random_seed, image, copy) in 32-bit integer arithmetic, hence the same in any batch, in
    any order, for any number of copies, and to the bit on every device and backend.

    Args:
        random_seed: 0 to 2**32 - 1.
        image: Integer (B,), index of the image in the training set.
        copy: Integer (B,), index of the copy, from 0.
        height: Rows of an image, at most 65,535.
        width: Columns of an image, at most 65,535.

    Returns:
        int32 (B, 2), row and column, uniform over the image: exactly so for powers of two, otherwise every
        probability is off by less than 2**-16.

    Raises:
        ValueError: random_seed does not fit into 32 bits.
    """
    if not 0 <= random_seed <= _UINT32_MAX:
        raise ValueError(f"random_seed={random_seed}: an integer from 0 to {_UINT32_MAX} is needed")
    bits = hashed(random_seed, image, copy)
    sixteen = ops.cast(16, "uint32")
    halves = (ops.bitwise_right_shift(bits, sixteen), ops.bitwise_and(bits, ops.cast(0xFFFF, "uint32")))
    # half / 2**16 is uniform in [0, 1); times the size and rounded down, all in integers.
    centres = [
        ops.bitwise_right_shift(half * ops.cast(size, "uint32"), sixteen)
        for half, size in zip(halves, (height, width), strict=True)
    ]
    return ops.cast(ops.stack(centres, axis=-1), "int32")


def scale(images: Tensor, mean: Tensor | None) -> Tensor:
    """The notebook's preparation of images, for training and evaluation alike.

    Args:
        images: uint8 (B, H, W, C).
        mean: float32 (H, W, C), per-pixel mean over the training set, scaled to [0, 1]; None subtracts nothing.

    Returns:
        float32 (B, H, W, C), the pixels scaled to [0, 1], less the mean.
    """
    scaled = ops.cast(images, "float32") / 255.0
    return scaled if mean is None else scaled - mean


def normalise(images: Tensor, channel_mean: Tensor, channel_std: Tensor) -> Tensor:
    """The corrected protocol's preparation of images, for training and evaluation alike.

    Args:
        images: uint8 (B, H, W, C).
        channel_mean: float32 (C,), per-channel mean over the training set, scaled to [0, 1].
        channel_std: float32 (C,), per-channel standard deviation on the same scale.

    Returns:
        float32 (B, H, W, C).
    """
    return (ops.cast(images, "float32") / 255.0 - channel_mean) / channel_std


def notebook_pipeline(
    images: Tensor,
    mean: Tensor | None,
    centres: Tensor | None,
    length: int,
    offsets: Tensor,
    flips: Tensor,
) -> Tensor:
    """The notebook's augmentation: scale, cutout *first*, then the sub-pixel shift and the flip.

    The shift moves the mask along, and its nearest fill smears a mask that touches the border.

    Args:
        images: uint8 (B, H, W, C).
        mean: float32 (H, W, C) or None, as for `scale`.
        centres: int32 (B, 2) as for `cutout`; None leaves cutout out.
        length: Side of the masked square, in pixels.
        offsets: float32 (B, 2) as for `shift`; the notebook draws them uniform in +-0.1 of the image's size.
        flips: bool (B,) as for `flip`.

    Returns:
        float32 (B, H, W, C).
    """
    scaled = scale(images, mean)
    if centres is not None:
        scaled = cutout(scaled, centres, length)
    return shift_and_flip(scaled, offsets, flips)


def corrected_pipeline(
    images: Tensor,
    channel_mean: Tensor,
    channel_std: Tensor,
    crop_offsets: Tensor | None,
    flips: Tensor | None,
    centres: Tensor | None,
    length: int,
    padding: int = 4,
) -> Tensor:
    """The papers' augmentation: normalise, crop from the zero-padded image, flip, cutout last.

    Normalising before the zeros are padded (He et al. 2015, section 4.2) and before the mask is set (DeVries and
    Taylor 2017) makes both fills the mean colour.

    Args:
        images: uint8 (B, H, W, C).
        channel_mean: float32 (C,) as for `normalise`.
        channel_std: float32 (C,) as for `normalise`.
        crop_offsets: int32 (B, 2) as for `crop`; None leaves the crop out.
        flips: bool (B,) as for `flip`; None leaves flips out.
        centres: int32 (B, 2) as for `cutout`; None leaves cutout out.
        length: Side of the masked square, in pixels.
        padding: Pixels added on every side before the crop.

    Returns:
        float32 (B, H, W, C).
    """
    augmented = normalise(images, channel_mean, channel_std)
    if crop_offsets is not None:
        augmented = _crop(augmented, crop_offsets, flips, padding)
    elif flips is not None:
        augmented = flip(augmented, flips)
    return augmented if centres is None else cutout(augmented, centres, length)
