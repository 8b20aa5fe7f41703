"""`npz:FILE`: arrays of the user's own, for classification or regression; what is no array of numbers is refused.

Peak memory: the arrays of one split beside the finished ones. uint8 and float32 that `numpy.savez` stored as they are
(not `savez_compressed`) are mapped from the file and take none until they are trained on.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dlperf.data import user_data
from dlperf.data.dataset import Dataset, Labels, Points, Samples, digest_of
from dlperf.errors import BadInput, one_line

SPLITS = ("train", "test", "validation")
_NEEDED = tuple(f"{axis}_{split}" for split in SPLITS[:2] for axis in "xy")
_OPTIONAL = ("x_validation", "y_validation", "class_names")
_CONVERTED_ROWS = 1 << 14
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip archive's member: lengths of its name and of further fields


class Refusal(Exception):
    """What is wrong with an array, as the end of a sentence."""


def classification(dataset: str) -> Dataset:
    """Read labelled examples.

    Args:
        dataset: `npz:FILE` with x_train, y_train, x_test, y_test, and if there are such x_validation, y_validation and
            class_names. An x is (N, ...) of numbers, images in uint8 (N, height, width) or (N, height, width,
            channels); a y is (N,) or (N, 1) of integers 0 to classes - 1.

    Returns:
        The data set: uint8 as it is, any other type as float32.

    Raises:
        BadInput: The file cannot be used.
    """
    arrays = _read(dataset)
    try:
        inputs = {split: _inputs(arrays, f"x_{split}") for split in SPLITS if f"x_{split}" in arrays}
        labels = {split: _labels(arrays, f"y_{split}") for split in inputs}
        names = class_names(labels["train"], arrays.get("class_names"))
        for split, own in labels.items():
            _same_length(split, inputs[split], own)
            _alike(f"x_{split}", inputs[split], inputs["train"])
            if own.max() >= len(names):
                raise Refusal(f"y_{split} has label {own.max()}, must be 0 to {len(names) - 1}, the classes of y_train")
    except Refusal as refusal:
        raise BadInput("dataset", dataset, str(refusal)) from None
    return Dataset.build(
        name=user_data.name(dataset),
        train_inputs=inputs["train"],
        train_labels=labels["train"],
        test_inputs=inputs["test"],
        test_labels=labels["test"],
        validation_inputs=inputs.get("validation"),
        validation_labels=labels.get("validation"),
        label_names=names,
        source=user_data.name(dataset),
    )


def regression(dataset: str) -> Samples:
    """Read the samples of a function.

    Args:
        dataset: `npz:FILE` as for `classification`, where an x is (N, d) and a y is (N,) or (N, 1), of numbers.

    Returns:
        The samples, float64; without x_validation the validation split is empty.

    Raises:
        BadInput: The file cannot be used.
    """
    arrays = _read(dataset)
    try:
        points = {split: _points(arrays, split) for split in SPLITS if f"x_{split}" in arrays}
        for split, own in points.items():
            _same_length(split, own.inputs, own.targets)
            _alike(f"x_{split}", own.inputs, points["train"].inputs)
    except Refusal as refusal:
        raise BadInput("dataset", dataset, str(refusal)) from None
    content = [array for own in points.values() for array in (own.inputs, own.targets)]
    for array in content:
        array.setflags(write=False)
    empty = Points(points["train"].inputs[:0], points["train"].targets[:0])
    name = user_data.name(dataset)
    return Samples(
        name, points["train"], points.get("validation", empty), points["test"], digest_of(*content), source=name
    )


def class_names(labels: Labels, named: NDArray[Any] | None = None) -> tuple[str, ...]:
    """Return what the classes are called, by default as their numbers; every one has an example in `labels`.

    Raises:
        Refusal: A class has none, or the names are not as many texts as there are classes.
    """
    classes = int(labels.max()) + 1
    if named is not None and (named.dtype.kind != "U" or named.ndim != 1 or len(named) < classes):
        raise Refusal(f"class_names is {_called(named)}, must be the texts of {classes} classes")
    if named is not None:
        classes = len(named)
    # Not `bincount` of a label that is a billion by mistake.
    present = np.unique(labels)
    if len(present) < classes:
        missing = int(np.setdiff1d(np.arange(min(classes, len(present) + 1)), present)[0])
        allowed = f"labels must be 0 to classes - 1, and {int(labels.min())} to {int(labels.max())} stand there"
        raise Refusal(f"y_train has no example of class {missing}: {allowed}")
    return tuple(map(str, range(classes) if named is None else named.tolist()))


def _read(dataset: str) -> dict[str, NDArray[Any]]:
    """Read the arrays that are asked for; those of a type that cannot be meant are refused before they are read."""
    path = user_data.existing(dataset)
    try:
        if not zipfile.is_zipfile(path):
            raise BadInput("dataset", dataset, "is no npz file, as numpy.savez writes it: a zip archive of arrays")
        with zipfile.ZipFile(path) as archive, path.open("rb") as raw:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            needed = [*_NEEDED, *(("x_validation", "y_validation") if {"x_validation", "y_validation"} & members.keys()
                                  else ())]  # fmt: skip
            if missing := [name for name in needed if name not in members]:
                there = ", ".join(list(members)[:10]) or "nothing"
                allowed = "must have x_train, y_train, x_test, y_test, and may have x_validation and y_validation"
                raise BadInput("dataset", dataset, f"lacks {', '.join(missing)} (it has {there}), {allowed}")
            wanted = [name for name in (*_NEEDED, *_OPTIONAL) if name in members]
            return {name: _array(archive, raw, members[name], dataset, name) for name in wanted}
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError) as error:
        raise BadInput("dataset", dataset, f"cannot be read as an npz file ({one_line(error)})") from error


def _array(archive: zipfile.ZipFile, raw: IO[bytes], info: zipfile.ZipInfo, dataset: str, name: str) -> NDArray[Any]:
    """Map a member that is stored as it is, read one that is compressed."""
    try:
        with archive.open(info) as member:
            shape, column_major, dtype = _header(member)
            if dtype.hasobject:
                raise BadInput("dataset", dataset, f"{name} holds Python objects, must be an array of numbers")
            if info.compress_type != zipfile.ZIP_STORED or not all(shape):
                with archive.open(info) as whole:
                    array: NDArray[Any] = np.lib.format.read_array(whole, allow_pickle=False)
                return array
        raw.seek(info.header_offset)
        begin = info.header_offset + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(raw.read(_LOCAL_HEADER.size)))
        raw.seek(begin)
        _header(raw)
        order: Any = "F" if column_major else "C"
        return np.memmap(raw, dtype, "r", raw.tell(), shape, order)
    except (ValueError, MemoryError, RuntimeError) as error:  # the last: it is encrypted
        raise BadInput("dataset", dataset, f"{name} cannot be read as an array ({one_line(error)})") from error


def _header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(member)


def _inputs(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """Return uint8 as it is, images with their channels, and anything else as float32."""
    array = _numbers(arrays, name)
    if array.dtype == np.uint8:
        array = np.ascontiguousarray(array)
        return array[..., None] if array.ndim == 3 else array.reshape(len(array), -1) if array.ndim == 1 else array
    array = array[:, None] if array.ndim == 1 else array
    return _finite(array, name, np.float32)


def _points(arrays: Mapping[str, NDArray[Any]], split: str) -> Points:
    inputs, targets = (_numbers(arrays, f"{axis}_{split}") for axis in "xy")
    inputs = inputs[:, None] if inputs.ndim == 1 else inputs
    if inputs.ndim != 2:
        raise Refusal(f"x_{split} is {_called(inputs)}, must be points (N, d)")
    if targets.ndim != 1 and targets.shape != (len(targets), 1):
        raise Refusal(f"y_{split} is {_called(targets)}, must be values (N,) or (N, 1)")
    return Points(_finite(inputs, f"x_{split}", np.float64), _finite(targets.reshape(-1), f"y_{split}", np.float64))


def _labels(arrays: Mapping[str, NDArray[Any]], name: str) -> Labels:
    array = arrays[name]
    if array.dtype.kind not in "iu" or not (array.ndim == 1 or array.shape == (len(array), 1)):
        raise Refusal(f"{name} is {_called(array)}, must be integers (N,), one label per example")
    if not array.size:
        raise Refusal(f"{name} is empty")
    if array.min() < 0 or array.max() > np.iinfo(np.int32).max:
        raise Refusal(f"{name} has label {array.min() if array.min() < 0 else array.max()}, must be 0 to classes - 1")
    return np.ascontiguousarray(array.reshape(-1), np.int32)


def _numbers(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    array = arrays[name]
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise Refusal(f"{name} is {_called(array)}, must be numbers (N, ...)")
    if not array.size:
        raise Refusal(f"{name} is {_called(array)}, and has no examples")
    return array


def _finite(array: NDArray[Any], name: str, dtype: Any) -> NDArray[Any]:
    """Convert an array, a part after the other, and refuse what is not finite."""
    as_it_is = array.dtype == dtype and array.flags.c_contiguous
    converted = array if as_it_is else np.empty(array.shape, dtype)
    for begin in range(0, len(array), _CONVERTED_ROWS):
        rows = slice(begin, begin + _CONVERTED_ROWS)
        if converted is not array:
            with np.errstate(over="ignore"):
                converted[rows] = array[rows]
        finite = np.isfinite(converted[rows]).reshape(len(converted[rows]), -1).all(axis=1)
        if not finite.all():
            row = begin + int(np.argmin(finite))
            bad = array[row].reshape(-1)[~np.isfinite(converted[row].reshape(-1))][0]
            raise Refusal(f"{name} has {bad} in example {row}, must be finite numbers of {np.dtype(dtype).name}")
    return converted


def _same_length(split: str, inputs: NDArray[Any], targets: NDArray[Any]) -> None:
    if len(inputs) != len(targets):
        raise Refusal(f"x_{split} has {len(inputs)} examples and y_{split} {len(targets)}, must be as many")


def _alike(name: str, inputs: NDArray[Any], train: NDArray[Any]) -> None:
    if inputs.shape[1:] != train.shape[1:] or inputs.dtype != train.dtype:
        raise Refusal(f"{name} has examples {_of(inputs)}, must be {_of(train)} as in x_train")


def _of(inputs: NDArray[Any]) -> str:
    return f"{inputs.dtype} {inputs.shape[1:]}"


def _called(array: NDArray[Any]) -> str:
    return f"{array.dtype} {array.shape}"
