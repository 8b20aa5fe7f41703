"""Reads CIFAR-10 and CIFAR-100 in any of the forms that `cifar_search` finds, into the order of the binary version."""

from __future__ import annotations

import contextlib
import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from dlperf.data import cifar_search, user_data
from dlperf.data.cifar_layout import PIXELS, Layout
from dlperf.data.cifar_search import Found
from dlperf.data.refusal import refused
from dlperf.errors import BadInput, one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dlperf.data.dataset import Dataset

# NumPy is imported in functions: the binary files are verified before anything heavy is imported.


@dataclass(frozen=True, eq=False)
class Cifar:
    """One of the two data sets.

    Attributes:
        layout: What its published forms look like.
    """

    layout: Layout

    @property
    def label_names(self) -> tuple[str, ...]:
        """What the labels mean."""
        return self.layout.label_names

    def train_size(self) -> int:
        """Number of training images: 50,000."""
        return self.layout.train_examples

    def find(self, data_dir: str | Path = "") -> Found:
        """Find it; see `cifar_search.find`."""
        return cifar_search.find(self.layout, data_dir)

    def verify(self, found: Found) -> bool:
        """Say what was found, and read binary files once; the other forms are verified by `load`.

        Returns:
            Whether it is verified.

        Raises:
            BadInput: As `read_records`.
        """
        user_data.say(found.said(self.layout.title))
        if found.form != "binary":
            return False
        for file in self.layout.binary_files:
            read_records(self.layout, found.path / file)
        return True

    def load(self, found: Found) -> Dataset:
        """Load both splits in the order of the binary version's files.

        Peak memory: 184 MB, and what a file holds: 31 MB, of CIFAR-100 154 MB.

        Args:
            found: As `find` returns it.

        Returns:
            50,000 training and 10,000 test images, channels last.

        Raises:
            BadInput: A file cannot be read, is damaged, or has its images in another order.
        """
        import numpy as np

        from dlperf.data.dataset import Dataset, aligned_empty

        layout = self.layout
        sizes = {"train": layout.train_examples, "test": layout.test_examples}
        images = {split: aligned_empty((size, 32, 32, 3)) for split, size in sizes.items()}
        labels = {split: np.empty(size, np.int32) for split, size in sizes.items()}
        for split, first, pixels, own in _parts(layout, found):
            rows = slice(first, first + len(own))
            images[split][rows], labels[split][rows] = pixels, own
        return Dataset.build(
            name=layout.name,
            train_inputs=images["train"],
            train_labels=labels["train"],
            test_inputs=images["test"],
            test_labels=labels["test"],
            label_names=layout.label_names,
            source=str(found.path),
        )


# Split, row of the first image, images uint8 (n, 32, 32, 3), labels (n,).
_Part = tuple[str, int, "NDArray[np.uint8]", "NDArray[Any]"]


def read_records(layout: Layout, path: Path) -> bytes:
    """Read one binary file and verify it: the number of records and every label. Plain Python, about 10 ms a file.

    Args:
        layout: Whose file it is.
        path: A .bin file.

    Returns:
        The records, one after the other.

    Raises:
        BadInput: The file cannot be read, is truncated or too long, or has a label that there is not.
    """
    try:
        # The size first: a file that is something else altogether may not fit into memory.
        size = path.stat().st_size
        blob = path.read_bytes() if size == layout.records(path.name) * layout.record_bytes else b""
    except OSError as problem:
        allowed = _allowed(layout, path.name)
        raise BadInput("data_dir", path, f"cannot be read ({problem.strerror}), {allowed}") from problem
    _refuse_records(layout, path, path.name, size, blob)
    return blob


def _refuse_records(layout: Layout, path: Path, file: str, size: int, blob: bytes) -> None:
    if size != layout.records(file) * layout.record_bytes:
        whole, rest = divmod(size, layout.record_bytes)
        torn = f" and {rest:,} bytes of another" if rest else ""
        raise BadInput("data_dir", path, f"has {size:,} bytes, {whole:,} whole records{torn}, {_allowed(layout, file)}")
    labels, most = blob[layout.label_bytes - 1 :: layout.record_bytes], len(layout.label_names) - 1
    if max(labels) > most:
        record = next(index for index, label in enumerate(labels) if label > most)
        raise BadInput("data_dir", path, f"has label {labels[record]} in record {record:,}, must be 0 to {most}")


def _allowed(layout: Layout, file: str) -> str:
    records = layout.records(file)
    total = records * layout.record_bytes
    return f"must be {records:,} records of {layout.record_bytes:,} bytes = {total:,} bytes"


def _parts(layout: Layout, found: Found) -> Iterator[_Part]:
    if found.form == "parquet":
        from dlperf.data import cifar_parquet

        yield from cifar_parquet.parts(layout, found.path)
    elif found.form == "archive":
        yield from _of_archive(layout, found.path)
    elif found.form == "binary":
        for file in layout.binary_files:
            yield _of_records(layout, file, read_records(layout, found.path / file))
    else:
        for file in layout.python_files:
            with _opened(found.path / file) as content:
                yield _of_pickle(layout, found.path / file, file, content)


def _place(layout: Layout, file: str) -> tuple[str, int]:
    """The split of a file's images, and the row of the first one."""
    for files in (layout.binary_train, layout.python_train):
        if file in files:
            return "train", files.index(file) * layout.records(file)
    return "test", 0


def _of_records(layout: Layout, file: str, blob: bytes) -> _Part:
    import numpy as np

    records = np.frombuffer(blob, np.uint8).reshape(layout.records(file), layout.record_bytes)
    return *_place(layout, file), _images(records[:, layout.label_bytes :]), records[:, layout.label_bytes - 1]


def _of_pickle(layout: Layout, path: Path, file: str, content: IO[bytes]) -> _Part:
    import numpy as np

    from dlperf.data import array_pickle

    with refused("data_dir", path):
        batch = array_pickle.read(content)
    pixels, labels = _array(batch, "data"), _array(batch, layout.label_key)
    wanted, most = (layout.records(file), PIXELS), len(layout.label_names) - 1
    if pixels.dtype != np.uint8 or pixels.shape != wanted:
        raise BadInput("data_dir", path, f"has data {pixels.dtype} {pixels.shape}, must be uint8 {wanted}")
    if labels.dtype.kind not in "iu" or labels.shape != wanted[:1]:
        found = f"{layout.label_key} {labels.dtype} {labels.shape}"
        raise BadInput("data_dir", path, f"has {found}, must be integers {wanted[:1]}")
    if labels.min() < 0 or labels.max() > most:
        record = int(np.argmax((labels < 0) | (labels > most)))
        raise BadInput("data_dir", path, f"has label {labels[record]} in record {record:,}, must be 0 to {most}")
    return *_place(layout, file), _images(pixels), labels


def _array(batch: Mapping[str, Any], key: str) -> NDArray[Any]:
    """The array or list under a key; an empty one if there is none, or a list of lists of all lengths."""
    import numpy as np

    try:
        return np.asarray(batch.get(key, []))
    except (ValueError, OverflowError):
        return np.empty(0)


def _of_archive(layout: Layout, path: Path) -> Iterator[_Part]:
    """Read an archive as a stream, in whatever order its files stand; nothing is written to disk."""
    seen = set[str]()
    try:
        with tarfile.open(path, "r|gz") as tar:
            for entry in tar:
                file = PurePosixPath(entry.name).name
                wanted = file in layout.binary_files or file in layout.python_files
                content = tar.extractfile(entry) if wanted and entry.isreg() else None
                if content is None or file in seen:
                    continue
                seen.add(file)
                if file in layout.python_files:
                    yield _of_pickle(layout, path / file, file, io.BytesIO(content.read()))
                    continue
                whole = entry.size == layout.records(file) * layout.record_bytes
                blob = content.read() if whole else b""
                _refuse_records(layout, path / file, file, entry.size, blob)
                yield _of_records(layout, file, blob)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise BadInput("data_dir", path, f"cannot be read to its end as a .tar.gz file ({one_line(error)})") from error
    lacking = [sorted(set(files) - seen) for files in (layout.binary_files, layout.python_files)]
    if all(lacking):
        binary, python = lacking
        missing = binary if len(binary) <= len(python) else python
        raise BadInput(
            "data_dir", path, f"lacks {', '.join(missing)}, must be an archive of {layout.title} as it is published"
        )


def _images(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring colour planes, uint8 (n, 3,072), into images, uint8 (n, 32, 32, 3)."""
    return planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadInput("data_dir", path, f"cannot be read ({error.strerror})") from error
    with file:
        yield file
