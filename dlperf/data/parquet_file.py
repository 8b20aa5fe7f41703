"""`parquet:FILE`: encoded images or columns of numbers, and a column of labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dlperf.data import parquet_rows, user_data
from dlperf.data.arrays import class_names, finite, fitting_labels, held_out_fifth
from dlperf.data.cifar_search import parquet_files
from dlperf.data.dataset import Dataset
from dlperf.data.image_cache import Encoded, cached
from dlperf.data.refusal import Refusal, refused
from dlperf.data.user_data import Reading

LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target", "y")


def classification(dataset: str, reading: Reading) -> Dataset:
    """Read the rows of a file, or of the files of a folder.

    Args:
        dataset: `parquet:FILE`, of which a fifth is tested on, or a folder with train-*.parquet and test-*.parquet and
            maybe validation-*.parquet. They have a column of integers, one of `LABEL_COLUMNS`, and either a column img
            or image, of encoded images, or columns of numbers, which are the features in their order.
        reading: Size of images, what is done with broken ones, and which fifth is tested on.

    Raises:
        BadInput: A file cannot be used.
        EnvironmentMissing: The cache of images cannot be written.
    """
    path = user_data.existing(dataset)
    with refused("dataset", dataset):
        files = _files(path)
        labels = {split: parquet_rows.labels(of_split, LABEL_COLUMNS) for split, of_split in files.items()}
        for split, own in labels.items():
            if not len(own):
                raise Refusal(f"has no rows in {split}")
            if own.min() < 0 or own.max() > np.iinfo(np.int32).max:
                raise Refusal(f"has label {own.min() if own.min() < 0 else own.max()}, must be 0 to classes - 1")
        typed = {split: own.astype(np.int32) for split, own in labels.items()}
        names = class_names(typed["train"], "train", parquet_rows.label_names(files["train"][0], LABEL_COLUMNS))
        tested = held_out_fifth(typed["train"], reading.split_seed) if "test" not in files else None
        if any(name in parquet_rows.schema(files["train"][0]).names for name in parquet_rows.IMAGE_COLUMNS):
            return _of_images(dataset, reading, files, typed, names, tested)
        return _of_numbers(dataset, files, typed, names, tested)


def files(dataset: str) -> list[Path]:
    """Return the files that are read of a folder, or the file.

    Raises:
        BadInput: They are not there.
    """
    path = user_data.existing(dataset)
    with refused("dataset", dataset):
        return [file for of_split in _files(path).values() for file in of_split]


def _files(path: Path) -> dict[str, list[Path]]:
    """The files of each split, the train split first; a file alone is all of them."""
    if path.is_file():
        return {"train": [path]}
    files = {split: parquet_files(path, split) for split in ("train", "test", "validation")}
    if not files["train"] or not files["test"]:
        raise Refusal("has no train-*.parquet and test-*.parquet, must have both, or be one file")
    return {split: of_split for split, of_split in files.items() if of_split}


def _of_images(
    dataset: str,
    reading: Reading,
    files: dict[str, list[Path]],
    labels: dict[str, NDArray[np.int32]],
    names: tuple[str, ...],
    tested: NDArray[np.bool_] | None,
) -> Dataset:
    def images() -> Iterator[Encoded]:
        for split, of_split in files.items():
            for row, content in enumerate(parquet_rows.encoded(of_split)):
                into = "test" if tested is not None and tested[row] else split
                yield Encoded(into, int(labels[split][row]), f"row {row:,} of {split}", content)

    states = ((f"{split}:{file.name}", file.stat().st_size, file.stat().st_mtime_ns)
              for split, of_split in files.items() for file in of_split)  # fmt: skip
    count = sum(map(len, labels.values()))
    return cached(dataset, reading, states=states, count=count, label_names=names, images=images)


def _of_numbers(
    dataset: str,
    files: dict[str, list[Path]],
    labels: dict[str, NDArray[np.int32]],
    names: tuple[str, ...],
    tested: NDArray[np.bool_] | None,
) -> Dataset:
    first = parquet_rows.schema(files["train"][0])
    features = [field.name for field in first if _is_number(field.type) and field.name not in LABEL_COLUMNS]
    if not features:
        raise Refusal(f"has columns {', '.join(first.names)}, must have img or image, or columns of numbers")
    inputs = {split: _columns(of_split, features) for split, of_split in files.items()}
    if tested is not None:
        inputs, labels = ({"train": each["train"][~tested], "test": each["train"][tested]} for each in (inputs, labels))
    for split, own in labels.items():
        fitting_labels(own, split, len(names))
    name = user_data.name(dataset)
    arrays_by_split: dict[str, Any] = {f"{split}_inputs": array for split, array in inputs.items()}
    arrays_by_split |= {f"{split}_labels": array for split, array in labels.items()}
    return Dataset.build(
        name=name,
        **arrays_by_split,
        label_names=names,
        source=name,
    )


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _columns(files: list[Path], features: list[str]) -> NDArray[Any]:
    """Read columns as float32 (rows, features), one column at a time."""
    rows = [pq.read_metadata(path).num_rows for path in files]
    inputs = np.empty((sum(rows), len(features)), np.float32)
    begin = 0
    for path, count in zip(files, rows, strict=True):
        known = parquet_rows.schema(path).names
        for place, feature in enumerate(features):
            if feature not in known:
                raise Refusal(f"{path.name} has no column {feature}, which {files[0].name} has")
            column = pq.read_table(path, columns=[feature])[feature]
            if column.null_count:
                raise Refusal(f"{path.name} has {column.null_count:,} missing values in {feature}, must have none")
            inputs[begin : begin + count, place] = finite(
                column.to_numpy().astype(np.float64), f"{feature} of {path.name}", np.float32
            )
        begin += count
    return inputs
