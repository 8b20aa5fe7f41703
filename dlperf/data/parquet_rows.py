"""Rows of Parquet files: encoded images or numbers, and labels."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dlperf.data.refusal import Refusal
from dlperf.errors import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGE_COLUMNS = ("img", "image")
_ROWS = 1024


@contextlib.contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Let an unreadable file be a refusal."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise Refusal(f"{path.name} cannot be read as a Parquet file ({one_line(error)})") from error


def schema(path: Path) -> pa.Schema:
    """Return the schema of a file.

    Raises:
        Refusal: It is no Parquet file.
    """
    with _refused(path):
        return pq.read_schema(path)


def labels(files: Sequence[Path], columns: Sequence[str]) -> NDArray[Any]:
    """Read the labels of all files, int64.

    Args:
        files: The files, in the order of their rows.
        columns: Names of the column; the first that is there is taken.

    Raises:
        Refusal: There is no such column, or it holds no integers.
    """
    parts = []
    for path in files:
        names = schema(path).names
        column = next((name for name in columns if name in names), None)
        if column is None:
            raise Refusal(f"{path.name} has columns {', '.join(names)}, must have {' or '.join(columns)}")
        with _refused(path):
            values = pq.read_table(path, columns=[column])[column]
        if not pa.types.is_integer(values.type) or values.null_count:
            missing = f", {values.null_count} of them missing" if values.null_count else ""
            raise Refusal(f"{path.name} has labels of type {values.type}{missing} in {column}, must be integers")
        parts.append(values.to_numpy().astype(np.int64))
    return np.concatenate(parts)


def label_names(path: Path, columns: Sequence[str]) -> tuple[str, ...]:
    """Return what the labels mean, as Hugging Face's `datasets` notes it in a file; empty where it is not noted."""
    metadata = (schema(path).metadata or {}).get(b"huggingface", b"")
    try:
        features = json.loads(metadata)["info"]["features"]
        return tuple(map(str, next(features[name]["names"] for name in columns if name in features)))
    except (ValueError, KeyError, TypeError, StopIteration):
        return ()


def encoded(files: Sequence[Path]) -> Iterator[bytes]:
    """Read the images of all files as they are encoded, with as much memory as a thousand of them take.

    Raises:
        Refusal: There is no column of images.
    """
    for path in files:
        names = schema(path).names
        column = next((name for name in IMAGE_COLUMNS if name in names), None)
        if column is None:
            raise Refusal(f"{path.name} has columns {', '.join(names)}, must have {' or '.join(IMAGE_COLUMNS)}")
        with _refused(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS, columns=[column]):
                for value in batch[column].to_pylist():
                    blob = value.get("bytes") if isinstance(value, dict) else value
                    yield blob if isinstance(blob, bytes) else b""
