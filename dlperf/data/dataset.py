"""The one contract every image data set keeps."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IMAGE_SHAPE = (32, 32, 3)
ALIGNMENT = 64  # bytes; what TensorFlow's vector instructions need


# Compared by identity: equality of arrays is not a truth value, and the digest says whether the content is the same.
@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images in two splits, in memory, read-only. Made by `build`, which checks them.

    Attributes:
        name: The data set's name, as the parameter `dataset` says it.
        train_images: uint8 (N, 32, 32, 3), red, green, blue last, 0 to 255.
        train_labels: int32 (N,), indices into `label_names`.
        test_images: uint8 (T, 32, 32, 3).
        test_labels: int32 (T,).
        label_names: What the labels mean, in their order.
        digest: 16 hexadecimal characters: the start of the SHA-256 over the shapes, pixels and labels of both splits.
        source: Where the data came from: a folder or a package.
    """

    name: str
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int32]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int32]
    label_names: tuple[str, ...]
    digest: str
    source: str

    @classmethod
    def build(
        cls,
        *,
        name: str,
        train_images: NDArray[np.uint8],
        train_labels: NDArray[np.int32],
        test_images: NDArray[np.uint8],
        test_labels: NDArray[np.int32],
        label_names: tuple[str, ...],
        source: str,
    ) -> ImageDataset:
        """Check the arrays, compute the digest and make the arrays read-only.

        Args:
            name: As the attribute.
            train_images: As the attribute; the array itself is kept and becomes read-only, as do the other three.
            train_labels: As the attribute.
            test_images: As the attribute.
            test_labels: As the attribute.
            label_names: As the attribute.
            source: As the attribute.

        Returns:
            The data set.

        Raises:
            ValueError: A shape or dtype is not the contract's, or a label has no name.
        """
        for split, images, labels in (("train", train_images, train_labels), ("test", test_images, test_labels)):
            if images.dtype != np.uint8 or images.shape[1:] != IMAGE_SHAPE:
                raise ValueError(
                    f"{split}_images is {images.dtype} {images.shape}, must be uint8 (N, {IMAGE_SHAPE[0]}, "
                    f"{IMAGE_SHAPE[1]}, {IMAGE_SHAPE[2]})"
                )
            if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
                raise ValueError(f"{split}_labels is {labels.dtype} {labels.shape}, must be int32 {images.shape[:1]}")
            if labels.size and not (labels.min() >= 0 and labels.max() < len(label_names)):
                raise ValueError(f"{split}_labels must be 0 to {len(label_names) - 1}")
        arrays = (train_images, train_labels, test_images, test_labels)
        digest = digest_of(*arrays)
        for array in arrays:
            # Every trial of a sweep shares these arrays: one that wrote into them would change the others' data.
            array.setflags(write=False)
        return cls(name, *arrays, label_names=label_names, digest=digest, source=source)


def aligned_empty(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Allocate uint8 of `shape` at an address from which a compiled program can read it without a copy."""
    size = math.prod(shape)
    block = np.empty(size + ALIGNMENT, np.uint8)
    begin = -block.ctypes.data % ALIGNMENT
    return block[begin : begin + size].reshape(shape)


def split_rows(total: int, held_out: int, size: int, random_seed: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Choose training and validation examples.

    Args:
        total: Examples there are.
        held_out: Examples to validate on; with 0 the training examples are the first ones in their order.
        size: Examples to train on, at most the others.
        random_seed: The choice follows from it, and the validation examples from nothing else.

    Returns:
        Their rows, int32 (size,) and int32 (held_out,).
    """
    rows = np.arange(total, dtype=np.int32)
    order = np.random.default_rng([random_seed, total]).permutation(rows) if held_out else rows
    return order[:size], order[total - held_out :]


def shuffled_order(examples: int, random_seed: int, epoch: int) -> NDArray[np.int32]:
    """Return the order in which an epoch (from 1) visits its examples, int32 (examples,); nothing before changes it."""
    generator = np.random.Generator(np.random.Philox(key=[random_seed, epoch]))
    return generator.permutation(examples).astype(np.int32)


def digest_of(*arrays: NDArray[np.uint8] | NDArray[np.int32]) -> str:
    """Fingerprint of arrays: their shapes and their content, the same on every machine.

    Args:
        *arrays: Any number of integer arrays; their order matters.

    Returns:
        The first 16 hexadecimal characters of a SHA-256.
    """
    state = hashlib.sha256()
    for array in arrays:
        state.update(repr(tuple(map(int, array.shape))).encode("ascii"))
        # Little-endian whatever the machine, so that a data set has one digest everywhere.
        state.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).data)
    return state.hexdigest()[:16]
