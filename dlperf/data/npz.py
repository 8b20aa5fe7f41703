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
from dlperf.data.arrays import called, class_names, finite, fitting_labels
from dlperf.data.dataset import Dataset, Labels, Points, Samples, digest_of
from dlperf.data.refusal import Refusal, refused
from dlperf.errors import BadInput, one_line

SPLITS = ("train", "test", "validation")
_NEEDED = tuple(f"{axis}_{split}" for split in SPLITS[:2] for axis in "xy")
_OPTIONAL = ("x_validation", "y_validation", "class_names")
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip archive's member: lengths of its name and of further fields


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
    with refused("dataset", dataset):
        inputs = {split: _inputs(arrays, f"x_{split}") for split in SPLITS if f"x_{split}" in arrays}
        labels = {split: _labels(arrays, f"y_{split}") for split in inputs}
        names = class_names(labels["train"], "y_train", _names(arrays))
        for split, own in labels.items():
            _same_length(split, inputs[split], own)
            _alike(f"x_{split}", inputs[split], inputs["train"])
            fitting_labels(own, f"y_{split}", len(names))
    arrays_by_split: dict[str, Any] = {f"{split}_inputs": array for split, array in inputs.items()}
    arrays_by_split |= {f"{split}_labels": array for split, array in labels.items()}
    return Dataset.build(
        name=user_data.name(dataset),
        **arrays_by_split,
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
    with refused("dataset", dataset):
        points = {split: _points(arrays, split) for split in SPLITS if f"x_{split}" in arrays}
        for split, own in points.items():
            _same_length(split, own.inputs, own.targets)
            _alike(f"x_{split}", own.inputs, points["train"].inputs)
            if split != "validation" and (own.targets == own.targets[0]).all():
                raise Refusal(f"y_{split} is {own.targets[0]} in every example, must vary")
    content = [array for own in points.values() for array in (own.inputs, own.targets)]
    for array in content:
        array.setflags(write=False)
    empty = Points(points["train"].inputs[:0], points["train"].targets[:0])
    name = user_data.name(dataset)
    return Samples(
        name, points["train"], points.get("validation", empty), points["test"], digest_of(*content), source=name
    )


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
    return finite(array, name, np.float32)


def _points(arrays: Mapping[str, NDArray[Any]], split: str) -> Points:
    inputs, targets = (_numbers(arrays, f"{axis}_{split}") for axis in "xy")
    inputs = inputs[:, None] if inputs.ndim == 1 else inputs
    if inputs.ndim != 2:
        raise Refusal(f"x_{split} is {called(inputs)}, must be points (N, d)")
    if targets.ndim != 1 and targets.shape != (len(targets), 1):
        raise Refusal(f"y_{split} is {called(targets)}, must be values (N,) or (N, 1)")
    return Points(finite(inputs, f"x_{split}", np.float64), finite(targets.reshape(-1), f"y_{split}", np.float64))


def _labels(arrays: Mapping[str, NDArray[Any]], name: str) -> Labels:
    array = arrays[name]
    if array.dtype.kind not in "iu" or not (array.ndim == 1 or array.shape == (len(array), 1)):
        raise Refusal(f"{name} is {called(array)}, must be integers (N,), one label per example")
    if not array.size:
        raise Refusal(f"{name} is empty")
    if array.min() < 0 or array.max() > np.iinfo(np.int32).max:
        raise Refusal(f"{name} has label {array.min() if array.min() < 0 else array.max()}, must be 0 to classes - 1")
    return np.ascontiguousarray(array.reshape(-1), np.int32)


def _names(arrays: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    named = arrays.get("class_names")
    if named is None:
        return ()
    if named.dtype.kind != "U" or named.ndim != 1:
        raise Refusal(f"class_names is {called(named)}, must be texts (classes,)")
    return tuple(map(str, named.tolist()))


def _numbers(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    array = arrays[name]
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise Refusal(f"{name} is {called(array)}, must be numbers (N, ...)")
    if not array.size:
        raise Refusal(f"{name} is {called(array)}, and has no examples")
    return array


def _same_length(split: str, inputs: NDArray[Any], targets: NDArray[Any]) -> None:
    if len(inputs) != len(targets):
        raise Refusal(f"x_{split} has {len(inputs)} examples and y_{split} {len(targets)}, must be as many")


def _alike(name: str, inputs: NDArray[Any], train: NDArray[Any]) -> None:
    if inputs.shape[1:] != train.shape[1:] or inputs.dtype != train.dtype:
        raise Refusal(f"{name} has examples {_of(inputs)}, must be {_of(train)} as in x_train")


def _of(inputs: NDArray[Any]) -> str:
    return f"{inputs.dtype} {inputs.shape[1:]}"
