"""A desk whose store is a real `mlflow server`."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.desk import Desk
from tests.support.empty_store import make_store


@dataclass
class ServedDesk(Desk):
    """A working directory with a state folder of its own, and a tracking server."""

    address: str = ""

    @property
    def uri(self) -> str:
        return self.address

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


@contextmanager
def served(folder: Path, backend_store: str, port: int = 0) -> Iterator[ServedDesk]:
    """Start a tracking server that proxies artifacts, on a free port of the loopback or a given one, for the block."""
    if not port:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    file = Path(backend_store.removeprefix("sqlite:///"))
    if file != Path(backend_store) and not file.exists():
        make_store(file, "mlflow-artifacts:")
    with (folder / "server.log").open("w") as log:
        listening = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        storing = ["--backend-store-uri", backend_store, "--artifacts-destination", str(folder / "artifacts")]
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *listening, *storing],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address, server, folder / "server.log")
        yield ServedDesk(folder, address)
    finally:
        _end(server)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            assert server.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.3)


def _end(server: subprocess.Popen[bytes]) -> None:
    import psutil

    if server.poll() is None:
        for process in [*psutil.Process(server.pid).children(recursive=True), server]:
            process.kill()
        server.wait()
