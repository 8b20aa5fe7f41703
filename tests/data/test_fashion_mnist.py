"""Fashion-MNIST: IDX files made here, read back, and refused where they are something else."""

from __future__ import annotations

import gzip
import hashlib
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlperf import data
from dlperf.data import download, fashion_mnist
from dlperf.errors import BadInput, EnvironmentMissing


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(
        header + array.astype(np.uint8).tobytes(), compresslevel=1, mtime=0
    )  # its bytes are in names of tests


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four files, in the published sizes, with pictures of one grey each."""
    made = tmp_path_factory.mktemp("data") / "fashion-mnist"
    made.mkdir()
    for images, labels in ((fashion_mnist.FILES[0], fashion_mnist.FILES[1]), fashion_mnist.FILES[2:]):
        count = 60_000 if "train" in images.name else 10_000
        numbers = np.arange(count)
        (made / images.name).write_bytes(idx(np.broadcast_to((numbers % 251)[:, None, None], (count, 28, 28))))
        (made / labels.name).write_bytes(idx(numbers % 10))
    return made


@pytest.mark.parametrize("given", ["itself", "parent"])
def test_reads_what_was_written(folder: Path, given: str) -> None:
    place = folder if given == "itself" else folder.parent
    data.check("fashion_mnist", str(place), 60_000)
    found = data.load("fashion_mnist", str(place))
    assert (found.train_inputs.shape, found.test_inputs.shape) == ((60_000, 32, 32, 3), (10_000, 32, 32, 3))
    assert np.all(found.train_inputs[260, 2:30, 2:30] == 260 % 251)
    border = found.train_inputs[260].copy()
    border[2:30, 2:30] = 0
    assert not border.any()
    assert list(found.test_labels[:12]) == [*range(10), 0, 1]
    assert data.facts("fashion_mnist").train == 60_000


@pytest.mark.parametrize(
    ("number", "content", "message"),
    [
        (0, b"no gzip", "cannot be read as a .gz file"),
        (0, idx(np.zeros((5, 28, 28))), "must be IDX of 60000 x 28 x 28 unsigned bytes"),
        (1, idx(np.zeros(60_000))[:-20], "cannot be read as a .gz file"),
        (3, idx(np.full(10_000, 10)), "has label 10, must be 0 to 9"),
    ],
)
def test_refuses_what_is_something_else(
    folder: Path, tmp_path: Path, number: int, content: bytes, message: str
) -> None:
    for file in fashion_mnist.FILES:
        (tmp_path / file.name).symlink_to(folder / file.name)
    broken = tmp_path / fashion_mnist.FILES[number].name
    broken.unlink()
    broken.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        fashion_mnist.verify(fashion_mnist.find(tmp_path))


@given(st.data())
def test_a_flipped_bit_and_a_lost_end_are_noticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "images.gz"
    whole = idx(np.arange(5 * 28 * 28).reshape(5, 28, 28) % 251)
    place = data.draw(st.integers(10, len(whole) - 1))  # before are flags and times, which say nothing of the content
    bit = data.draw(st.integers(0, 7))
    flipped = whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]
    path.write_bytes(whole)
    right = fashion_mnist.read(path, (5, 28, 28))
    assert len(right) == 5 * 28 * 28
    for content in (flipped, whole[:place]):
        path.write_bytes(content)
        said = ""
        try:
            read = fashion_mnist.read(path, (5, 28, 28))
        except BadInput as error:
            said = str(error)
        # What fills up the last byte of the compressed part says nothing either.
        assert len(said.splitlines()) == 1 or (content, read) == (flipped, right)


def test_what_unpacks_to_more_than_memory_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(64):
            file.write(bytes(1 << 22))
    tracemalloc.start()
    with pytest.raises(BadInput, match="must be IDX of 5 x 28 x 28"):
        fashion_mnist.read(path, (5, 28, 28))
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def test_a_folder_without_them(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"must hold train-images-idx3-ubyte.gz, .* or fashion-mnist/"):
        fashion_mnist.find(tmp_path)


def test_downloads_four_files_or_none(tmp_path: Path) -> None:
    """From a folder served here: complete, by MD5 sum; a file that is another leaves nothing behind."""
    import functools
    import http.server
    import threading

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    site = tmp_path / "site"
    site.mkdir()
    for name in ("a.gz", "b.gz"):
        (site / name).write_bytes(name.encode() * 100)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}"

        def file(name: str, content: bytes) -> download.File:
            return download.File(f"{address}/{name}", 400, hashlib.md5(content * 100).hexdigest())

        good = (file("a.gz", b"a.gz"), file("b.gz", b"b.gz"))
        download.fetch_files(good, tmp_path / "good")
        assert {f.name for f in (tmp_path / "good").iterdir()} == {"a.gz", "b.gz"}
        with pytest.raises(EnvironmentMissing, match="sent a file with MD5 sum"):
            download.fetch_files((good[0], file("b.gz", b"c.gz")), tmp_path / "bad")
        assert not (tmp_path / "bad").exists()
    finally:
        server.shutdown()
