"""Checks of arrays of the user's own, and their conversion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlperf.data.dataset import Labels
from dlperf.data.refusal import Refusal

_PART = 1 << 14  # rows at a time, so that no second copy of the data is made


def finite(array: NDArray[Any], name: str, dtype: Any) -> NDArray[Any]:
    """Convert an array of numbers (N, ...), a part after the other; one that needs no conversion is not copied.

    Raises:
        Refusal: A number is not finite, or does not fit the type.
    """
    as_it_is = array.dtype == dtype and array.flags.c_contiguous
    converted = array if as_it_is else np.empty(array.shape, dtype)
    for begin in range(0, len(array), _PART):
        rows = slice(begin, begin + _PART)
        if not as_it_is:
            with np.errstate(over="ignore"):
                converted[rows] = array[rows]
        known = np.isfinite(converted[rows]).reshape(len(converted[rows]), -1).all(axis=1)
        if not known.all():
            row = begin + int(np.argmin(known))
            bad = array[row].reshape(-1)[~np.isfinite(converted[row].reshape(-1))][0]
            raise Refusal(f"{name} has {bad} in example {row:,}, must be finite numbers of {np.dtype(dtype).name}")
    return converted


def class_names(labels: Labels, split: str, named: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return what the classes are called, by default as their numbers; every one has an example in `labels`.

    Raises:
        Refusal: A class has none, there are fewer names than classes, or one class alone.
    """
    classes = len(named) or int(labels.max()) + 1
    if labels.max() >= classes:
        raise Refusal(f"{split} has label {labels.max()}, must be 0 to {classes - 1}, as many as there are class names")
    present = np.unique(labels)  # not `bincount` of a label that is a billion by mistake
    if len(present) < classes:
        missing = next(number for number in range(classes) if number >= len(present) or present[number] != number)
        called = f"{missing} ({named[missing]})" if named else str(missing)
        raise Refusal(
            f"{split} has no example of class {called}; it has labels {present[0]} to {present[-1]}, must be 0 to "
            "classes - 1, each at least once"
        )
    if classes < 2:
        raise Refusal(f"{split} has one class, must have two at least")
    return named or tuple(map(str, range(classes)))


def fitting_labels(labels: Labels, split: str, classes: int) -> None:
    """Refuse labels of a further split that the training split does not have.

    Raises:
        Refusal: Naming one.
    """
    if len(labels) and labels.max() >= classes:
        raise Refusal(f"{split} has label {labels.max()}, must be 0 to {classes - 1}, the classes to train on")


def held_out_fifth(labels: Labels, seed: int) -> NDArray[np.bool_]:
    """Choose a fifth of every class, at least one example, to test on.

    Args:
        labels: The classes, (N,).
        seed: The choice follows from it.

    Returns:
        bool (N,), true for what is tested on.

    Raises:
        Refusal: A class has a single example.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    numbers, starts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    tested = np.zeros(len(labels), bool)
    for number, start, count in zip(numbers, starts, counts, strict=True):
        if count < 2:
            raise Refusal(f"class {number} has one example, must have at least two: one to train and one to test on")
        tested[by_class[start : start + max(1, count // 5)]] = True
    return tested


def called(array: NDArray[Any]) -> str:
    """Write type and shape of an array."""
    return f"{array.dtype} {array.shape}"
