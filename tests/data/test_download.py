"""The download: from a small local server that behaves, lies, dies or hangs."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import multiprocessing
import os
import signal
import tarfile
import threading
import time
from dataclasses import replace

import pytest

from dlperf.data import cifar_search, download
from dlperf.data.cifar import Cifar
from dlperf.data.cifar_layout import CIFAR10
from dlperf.errors import EnvironmentMissing

CONTENT = {"one.bin": b"1" * 70_000, "two.bin": os.urandom(300_000)}
MEMBERS = tuple(f"pack/{name}" for name in CONTENT)


def entry(name: str, content: bytes = b"", **attributes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info, content


def packed(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def good_entries() -> list[tuple[tarfile.TarInfo, bytes]]:
    return [entry("pack", type=tarfile.DIRTYPE), *(entry(f"pack/{name}", body) for name, body in CONTENT.items())]


class Server:
    """Serves one body on 127.0.0.1 and counts the requests; `behaviour` may cut, stretch or stall the answer."""

    def __init__(self, body: bytes) -> None:
        self.body, self.requests, self.behaviour = body, 0, "normal"
        self.released = threading.Event()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests += 1
                if server.behaviour == "missing":
                    self.send_error(404)
                    return
                self.send_response(200)
                if server.behaviour != "endless":
                    self.send_header("Content-Length", str(len(server.body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    if server.behaviour == "dies midway":
                        self.wfile.write(server.body[: len(server.body) // 2])
                    elif server.behaviour == "hangs midway":
                        self.wfile.write(server.body[: len(server.body) // 2])
                        server.released.wait(30)
                    elif server.behaviour == "endless":
                        while not server.released.is_set():
                            self.wfile.write(bytes(1 << 16))
                    else:
                        self.wfile.write(server.body)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/pack.tar.gz"
        # Polled often: closing it waits for the next poll.
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def archive(self) -> download.Archive:
        return download.Archive(self.url, len(self.body), hashlib.sha256(self.body).hexdigest(), MEMBERS)

    def close(self) -> None:
        self.released.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def serve():
    """A factory of servers: `serve(entry, ...)` or `serve(body=...)`."""
    with contextlib.ExitStack() as stack:

        def start(*entries, body: bytes | None = None) -> Server:
            server = Server(packed(*entries) if body is None else body)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "data" / "pack"


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_nothing_left(folder):
    """Nothing but the lock stands beside the place the folder would have had, and nothing outside it."""
    assert [path.name for path in folder.parent.iterdir()] == [".pack.lock"]
    assert [path.name for path in folder.parent.parent.parent.iterdir()] == ["cache"]


def refusal(archive, folder, **options) -> str:
    with pytest.raises(EnvironmentMissing) as caught:
        download.fetch(archive, folder, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


class TestGoodArchive:
    def test_the_members_and_nothing_else_appear(self, serve, folder):
        server = serve(*good_entries(), entry("pack/readme.html", b"extra"), entry("other/one.bin", b"other"))
        download.fetch(server.archive(), folder)
        assert content_of(folder) == CONTENT
        assert sorted(path.name for path in folder.parent.iterdir()) == [".pack.lock", "pack"]

    def test_what_is_there_is_not_downloaded_again(self, serve, folder):
        server = serve(*good_entries())
        for _ in range(2):
            download.fetch(server.archive(), folder)
        assert server.requests == 1

    def test_an_incomplete_folder_and_leftovers_of_the_killed_are_replaced(self, serve, folder):
        folder.mkdir(parents=True)
        (folder / "one.bin").write_bytes(b"stale")
        leftover = folder.parent / ".pack.part-killed"
        leftover.mkdir()
        (leftover / "archive.tar.gz").write_bytes(b"half")
        download.fetch(serve(*good_entries()).archive(), folder)
        assert content_of(folder) == CONTENT
        assert not leftover.exists()

    def test_attributes_in_the_archive_have_no_effect(self, serve, folder):
        strange = [entry(f"pack/{name}", body, mode=0o4777, uid=12345) for name, body in CONTENT.items()]
        download.fetch(serve(*strange).archive(), folder)
        assert {path.stat().st_mode & 0o7111 for path in folder.iterdir()} == {0}
        assert {path.stat().st_uid for path in folder.iterdir()} == {os.geteuid()}

    def test_progress_goes_to_standard_error(self, serve, folder, capfd):
        download.fetch(serve(*good_entries()).archive(), folder)
        captured = capfd.readouterr()
        assert captured.out == ""
        assert "pack.tar.gz" in captured.err


class TestEvilArchive:
    @pytest.mark.parametrize("name", ["../x", "pack/../../x", "pack/../pack/../../x", "/{tmp}/x", "pack/x"])
    def test_entries_outside_the_expected_names_are_ignored(self, serve, folder, tmp_path, name):
        server = serve(entry(name.format(tmp=tmp_path), b"evil"), *good_entries())
        download.fetch(server.archive(), folder)
        assert content_of(folder) == CONTENT
        assert not list(tmp_path.rglob("x"))

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
    def test_an_expected_name_that_is_no_regular_file_is_refused(self, serve, folder, tmp_path, kind):
        victim = tmp_path / "cache" / "victim"
        victim.parent.mkdir()
        victim.write_bytes(b"untouched")
        link = entry("pack/one.bin", type=kind, linkname=str(victim))
        server = serve(link, *good_entries()[2:])
        assert "does not hold one.bin as regular files" in refusal(server.archive(), folder)
        assert victim.read_bytes() == b"untouched"
        assert_nothing_left(folder)

    def test_writing_through_a_symbolic_link_is_impossible(self, serve, folder, tmp_path):
        outside = tmp_path / "cache" / "outside"
        outside.mkdir(parents=True)
        download.fetch(
            serve(entry("pack", type=tarfile.SYMTYPE, linkname=str(outside)), *good_entries()[1:]).archive(), folder
        )
        assert content_of(folder) == CONTENT
        assert not folder.is_symlink()
        assert not list(outside.iterdir())

    def test_a_missing_member_is_refused(self, serve, folder):
        assert "does not hold two.bin" in refusal(serve(*good_entries()[:2]).archive(), folder)
        assert_nothing_left(folder)

    @pytest.mark.parametrize("body", [b"no archive at all", packed(*good_entries())[:-2000], b""])
    def test_a_file_that_is_no_archive_is_refused(self, serve, folder, body):
        assert "is no readable .tar.gz file" in refusal(serve(body=body).archive(), folder)
        assert_nothing_left(folder)


class TestBadServer:
    def test_one_changed_bit_is_refused_by_the_hash(self, serve, folder):
        server = serve(*good_entries())
        archive, body = server.archive(), bytearray(server.body)
        body[len(body) // 2] ^= 1
        server.body = bytes(body)
        assert f"not {archive.sha256}" in refusal(archive, folder)
        assert_nothing_left(folder)

    @pytest.mark.parametrize(("difference", "message"), [(1, "bytes instead of"), (-1, "sent more than")])
    def test_a_wrong_size_is_refused(self, serve, folder, difference, message):
        archive = serve(*good_entries()).archive()
        assert message in refusal(replace(archive, size=archive.size + difference), folder)
        assert_nothing_left(folder)

    @pytest.mark.parametrize(
        ("behaviour", "message"),
        [
            ("dies midway", "bytes instead of"),
            ("hangs midway", "timed out"),
            ("endless", "sent more than"),
            ("missing", "404"),
        ],
    )
    def test_a_server_that_fails_is_refused(self, serve, folder, behaviour, message):
        server = serve(*good_entries())
        server.behaviour = behaviour
        assert message in refusal(server.archive(), folder, timeout=0.5)
        assert_nothing_left(folder)
        server.behaviour = "normal"
        download.fetch(server.archive(), folder)
        assert content_of(folder) == CONTENT

    def test_a_server_that_is_not_there_is_refused(self, serve, folder):
        server = serve(*good_entries())
        server.close()
        assert "could not be reached (" in refusal(server.archive(), folder)
        assert_nothing_left(folder)

    def test_a_folder_that_cannot_be_made_is_refused(self, serve, tmp_path):
        (tmp_path / "file").touch()
        assert "could not be written" in refusal(serve(*good_entries()).archive(), tmp_path / "file" / "data" / "pack")


class TestAtOnce:
    def test_several_processes_download_once(self, serve, folder):
        server = serve(*good_entries())
        spawn = multiprocessing.get_context("spawn")
        processes = [spawn.Process(target=download.fetch, args=(server.archive(), folder)) for _ in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0, 0]
        assert server.requests == 1
        assert content_of(folder) == CONTENT

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
    def test_a_killed_download_leaves_no_folder_and_the_next_one_succeeds(self, serve, folder, how):
        server = serve(*good_entries())
        server.behaviour = "hangs midway"
        process = multiprocessing.get_context("spawn").Process(target=download.fetch, args=(server.archive(), folder))
        process.start()
        wait_until(lambda: list(folder.parent.glob(".pack.part-*/archive.tar.gz")))
        os.kill(process.pid, how)
        process.join(30)
        assert not folder.exists()
        if how == signal.SIGINT:
            assert_nothing_left(folder)
        server.behaviour = "normal"
        download.fetch(server.archive(), folder)
        assert content_of(folder) == CONTENT
        assert sorted(path.name for path in folder.parent.iterdir()) == [".pack.lock", "pack"]

    def test_the_folder_is_never_seen_incomplete(self, serve, folder):
        server, finished, seen = serve(*good_entries()), threading.Event(), []

        def watch():
            while not finished.is_set():
                with contextlib.suppress(FileNotFoundError):
                    seen.append(content_of(folder))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            download.fetch(server.archive(), folder)
            wait_until(lambda: seen)
        finally:
            finished.set()
            watcher.join()
        assert all(content == CONTENT for content in seen)


class TestCifar10:
    """The same through `cifar_search.find`, as a user meets it."""

    @pytest.fixture(autouse=True)
    def _empty_machine(self, tmp_path, monkeypatch):
        monkeypatch.delenv("DLPERF_DATA_DIR", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def test_find_downloads_into_the_cache(self, serve, tiny_cifar10, monkeypatch):
        source = tiny_cifar10() / CIFAR10.binary_folder
        body = packed(
            *(entry(f"{CIFAR10.binary_folder}/{file}", (source / file).read_bytes()) for file in CIFAR10.binary_files)
        )
        server = serve(body=body)
        sha256 = hashlib.sha256(body).hexdigest()
        monkeypatch.setattr(CIFAR10, "archive", replace(CIFAR10.archive, url=server.url, size=len(body), sha256=sha256))
        found = Cifar(CIFAR10).find()
        assert found.path == cifar_search.cache_folder(CIFAR10)
        assert Cifar(CIFAR10).find("") == found
        assert server.requests == 1
        assert Cifar(CIFAR10).verify(found)
        assert content_of(found.path) == content_of(source)

    def test_a_failure_says_what_to_do(self, serve, monkeypatch):
        server = serve(body=b"")
        server.close()
        monkeypatch.setattr(CIFAR10, "archive", replace(CIFAR10.archive, url=server.url))
        with pytest.raises(EnvironmentMissing) as caught:
            cifar_search.find(CIFAR10)
        assert caught.value.exit_status == 3
        assert "use dataset=digits, which needs no download" in str(caught.value)
        assert str(cifar_search.cache_folder(CIFAR10)) in str(caught.value)

    def test_the_published_archive(self):
        assert (
            download.Archive(
                url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                size=170_052_171,
                sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                members=(
                    "cifar-10-batches-bin/data_batch_1.bin",
                    "cifar-10-batches-bin/data_batch_2.bin",
                    "cifar-10-batches-bin/data_batch_3.bin",
                    "cifar-10-batches-bin/data_batch_4.bin",
                    "cifar-10-batches-bin/data_batch_5.bin",
                    "cifar-10-batches-bin/test_batch.bin",
                ),
            )
            == CIFAR10.archive
        )


def wait_until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
