"""CIFAR as Parquet files of encoded images, which Hugging Face's hub keeps, brought into the order of the batches.

Its conversion took the batches of CIFAR-10's Python version in the order of their archive, 4, 3, 2, 5, 1. Rows say
nothing of their batch, but every batch begins with labels of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlperf.data import parquet_rows
from dlperf.data.cifar_layout import Layout
from dlperf.data.cifar_search import parquet_files
from dlperf.data.image_file import decoded
from dlperf.data.refusal import Refusal, refused

if TYPE_CHECKING:
    from numpy.typing import NDArray


def parts(layout: Layout, folder: Path) -> Iterator[tuple[str, int, NDArray[np.uint8], NDArray[Any]]]:
    """Read both splits.

    Yields:
        Split, row of the first image, images uint8 (n, 32, 32, 3) and labels, in any order of the parts.

    Raises:
        BadInput: A file cannot be read, or the rows are in no order of batches.
    """
    for split, size in (("train", layout.train_examples), ("test", layout.test_examples)):
        files = parquet_files(folder, split)
        with refused("data_dir", files[0]):
            labels = parquet_rows.labels(files, layout.label_columns)
            if len(labels) != size:
                raise Refusal(f"has {len(labels):,} rows, must be {size:,}")
            most = len(layout.label_names) - 1
            if labels.min() < 0 or labels.max() > most:
                raise Refusal(f"has labels {labels.min()} to {labels.max()}, must be 0 to {most}")
            starts = _starts(layout, split, labels)
            block = size // len(starts)
            for row, content in enumerate(parquet_rows.encoded(files)):
                image = decoded(content, f"row {row:,}")
                if image.shape != (32, 32, 3):
                    raise Refusal(f"has an image of {image.shape} in row {row:,}, must be (32, 32, 3)")
                here = starts[row // block] + row % block
                yield split, here, image[None], labels[row : row + 1]


def _starts(layout: Layout, split: str, labels: NDArray[Any]) -> list[int]:
    """Where the blocks of rows belong: the row that the first image of each has in the binary version."""
    batches = layout.first_labels if split == "train" else (layout.first_test_labels,)
    size = len(labels) // len(batches)
    starts = []
    for begin in range(0, size * len(batches), size):
        alike = [
            number
            for number, first in enumerate(batches)
            if labels[begin : begin + min(size, len(first))].tolist() == list(first[:size])
        ]
        starts += [number * size for number in alike]
    if sorted(starts) != [number * size for number in range(len(batches))]:
        raise Refusal(
            f"has its rows in another order than {layout.title}'s batches, which begin with other labels; "
            f"dataset=parquet:FILE takes them as they are"
        )
    return starts
