"""The contracts that every data set keeps: examples with classes, and points with values."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64  # bytes; what TensorFlow's vector instructions need
Inputs: TypeAlias = NDArray[np.uint8] | NDArray[np.float32]
Labels: TypeAlias = NDArray[np.int32]


# Compared by identity: equality of arrays is not a truth value, and the digest says whether the content is the same.
@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled examples in two or three splits, read-only, in memory or mapped from a file. Made by `build`.

    Attributes:
        name: The data set's name, as runs log the parameter `dataset`.
        train_inputs: uint8 (N, height, width, channels), the pixels of images, 0 to 255, red, green, blue last; or
            uint8 or float32 (N, ...) of any shape, finite.
        train_labels: int32 (N,), indices into `label_names`.
        test_inputs: The dtype of `train_inputs`, (T, ...) of the same shape.
        test_labels: int32 (T,).
        label_names: What the labels mean, in their order.
        digest: 16 hexadecimal characters: the start of the SHA-256 over shapes and content of all splits.
        source: Where the data came from: a folder, a file's name or a package.
        validation_inputs: As `test_inputs`; None where the examples to validate on are chosen among the first.
        validation_labels: int32, or None.
    """

    name: str
    train_inputs: Inputs
    train_labels: Labels
    test_inputs: Inputs
    test_labels: Labels
    label_names: tuple[str, ...]
    digest: str
    source: str
    validation_inputs: Inputs | None = None
    validation_labels: Labels | None = None

    @classmethod
    def build(
        cls,
        *,
        name: str,
        train_inputs: Inputs,
        train_labels: Labels,
        test_inputs: Inputs,
        test_labels: Labels,
        label_names: tuple[str, ...],
        source: str,
        validation_inputs: Inputs | None = None,
        validation_labels: Labels | None = None,
        digest: str = "",
    ) -> Dataset:
        """Check the arrays, compute the digest and make the arrays read-only.

        Args:
            name: As the attribute.
            train_inputs: As the attribute; the array itself is kept and becomes read-only, as do the others.
            train_labels: As the attribute.
            test_inputs: As the attribute.
            test_labels: As the attribute.
            label_names: As the attribute.
            source: As the attribute.
            validation_inputs: As the attribute.
            validation_labels: As the attribute.
            digest: The digest, if it is known; "" computes it.

        Returns:
            The data set.

        Raises:
            ValueError: A shape or dtype is not the contract's, or a label has no name.
        """
        splits: dict[str, tuple[Any, Any]] = {"train": (train_inputs, train_labels), "test": (test_inputs, test_labels)}
        if validation_inputs is not None:
            splits["validation"] = validation_inputs, validation_labels
        for split, (inputs, labels) in splits.items():
            if inputs.dtype != train_inputs.dtype or inputs.dtype not in (np.uint8, np.float32) or inputs.ndim < 2:
                raise ValueError(f"{split}_inputs is {inputs.dtype} {inputs.shape}, must be uint8 or float32 (N, ...)")
            if inputs.shape[1:] != train_inputs.shape[1:]:
                raise ValueError(f"{split}_inputs is {inputs.shape}, must be (N, {train_inputs.shape[1:]})")
            if labels.dtype != np.int32 or labels.shape != inputs.shape[:1]:
                raise ValueError(f"{split}_labels is {labels.dtype} {labels.shape}, must be int32 {inputs.shape[:1]}")
            if labels.size and not (labels.min() >= 0 and labels.max() < len(label_names)):
                raise ValueError(f"{split}_labels must be 0 to {len(label_names) - 1}")
        arrays = [array for pair in splits.values() for array in pair]
        for array in arrays:
            # Every trial of a sweep shares these arrays: one that wrote into them would change the others' data.
            array.setflags(write=False)
        return cls(
            name=name,
            train_inputs=train_inputs,
            train_labels=train_labels,
            test_inputs=test_inputs,
            test_labels=test_labels,
            label_names=label_names,
            digest=digest or digest_of(*arrays),
            source=source,
            validation_inputs=validation_inputs,
            validation_labels=validation_labels,
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.train_inputs.shape[1:]

    @property
    def holds_images(self) -> bool:
        """Whether an example is pixels, uint8 (height, width, channels)."""
        return self.train_inputs.dtype == np.uint8 and len(self.input_shape) == 3

    def choose(self, held_out: int, size: int, random_seed: int) -> tuple[NDArray[np.int32], Inputs, Labels]:
        """Choose the examples to train and to validate on.

        Args:
            held_out: Examples to validate on, where the data have none for that; with 0 there are none.
            size: Examples to train on.
            random_seed: The choice follows from it.

        Returns:
            Rows to train on, int32 (size,); inputs and labels to validate on.
        """
        total = len(self.train_labels)
        if self.validation_inputs is not None and self.validation_labels is not None:
            order = np.random.default_rng([random_seed, total]).permutation(np.arange(total, dtype=np.int32))
            return order[:size], self.validation_inputs, self.validation_labels
        train, validation = split_rows(total, held_out, size, random_seed)
        return train, self.train_inputs[validation], self.train_labels[validation]


@dataclass(frozen=True, eq=False)
class Points:
    """Points and their values, read-only.

    Attributes:
        inputs: float64 (N, d), the coordinates.
        targets: float64 (N,).
    """

    inputs: NDArray[np.float64]
    targets: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Samples:
    """Three splits of a function's samples, which share none.

    Attributes:
        name: As runs log it.
        train: What is trained on.
        validation: What training is steered by; may be empty.
        test: What is read once, at the end.
        digest: 16 hexadecimal characters of the SHA-256 over inputs and targets.
        source: Where they came from.
    """

    name: str
    train: Points
    validation: Points
    test: Points
    digest: str
    source: str


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


def digest_of(*arrays: NDArray[Any]) -> str:
    """Fingerprint of arrays: their shapes and their content, the same on every machine.

    Args:
        *arrays: Any number of arrays of numbers; their order matters.

    Returns:
        The first 16 hexadecimal characters of a SHA-256.
    """
    state = hashlib.sha256()
    for array in arrays:
        state.update(repr(tuple(map(int, array.shape))).encode("ascii"))
        # Little-endian whatever the machine, so that a data set has one digest everywhere.
        state.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).data)
    return state.hexdigest()[:16]
