"""The tracking server as a container reaches it: addresses, logins, and whether it answers."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from dlperf import cli
from dlperf.errors import BadInput, without_logins
from dlperf.remote.parameters import Address
from dlperf.remote.tracking_address import TrackingAddress, why_unreachable

HOST = ["--host", "ssh://someone@gpuhost:22"]
RUN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("ssh://gpuhost", Address("gpuhost", "", 0)),
        ("ssh://ada%40corp@gpuhost", Address("gpuhost", "ada@corp", 0)),
        ("ssh://me@gpuhost:2222", Address("gpuhost", "me", 2222)),
        ("ssh://me@GPUhost", Address("GPUhost", "me", 0)),
        ("ssh://[::1]:22", Address("::1", "", 22)),
    ],
)
def test_addresses(written: str, read_as: Address) -> None:
    assert Address.of(written) == read_as
    assert Address.of(str(read_as)) == read_as


@pytest.mark.parametrize(
    ("uri", "local", "through"),
    [
        ("http://tracker:5000", None, None),
        ("http://127.0.0.1:5000", ("127.0.0.1", 5000), "http://127.0.0.1:4711"),
        ("http://user:word@localhost:5000/mlflow", ("localhost", 5000), "http://user:word@localhost:4711/mlflow"),
        ("https://[::1]", ("::1", 443), "https://127.0.0.1:4711"),
    ],
)
def test_a_loopback_address_needs_a_tunnel(uri: str, local: tuple[str, int] | None, through: str | None) -> None:
    address = TrackingAddress.of(uri)
    assert (address.uri, address.local) == (uri, local)
    assert through is None or address.through(4711).uri == through
    environment = address.through(4711).environment
    assert environment.get("DLPERF_SHOWN_TRACKING_URI") == (without_logins(uri) if local else None)


@pytest.mark.parametrize("uri", ["", "sqlite:///mlflow.db", "./mlruns", "file:///x", "databricks", "postgresql://x/y"])
def test_what_is_no_tracking_server_is_refused_with_what_to_do(uri: str) -> None:
    with pytest.raises(BadInput, match="start `mlflow server"):
        TrackingAddress.of(uri)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://127.0.0.1:99999", "http://127.0.0.1:99999"),
        ("http://[::1", "http://[::1"),
        ("postgresql://me:secret@db/x", "postgresql://db/x"),
        ("http://me:sec/ret@db:x", "http://db:x"),
    ],
)
def test_an_address_that_cannot_be_read_is_bad_input_without_its_login(
    uri: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert cli.remote([*HOST, "--entry_point", "cutout"]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"dlperf remote: MLFLOW_TRACKING_URI={said}: must be the http(s) address")
    assert line.count("\n") == 1


def test_logins_are_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.remote(["--host", "ssh://me:secret@gpuhost", "--entry_point", "cutout"]) == 2
    assert capsys.readouterr().err.startswith("dlperf remote: host=ssh://gpuhost: must be an SSH address")
    kept = "python entrypoints/remote.py --host ssh://me@gpuhost:22 --attach x, at http://127.0.0.1:5000"
    assert without_logins(kept) == kept
    assert without_logins("sqlite:////home/me@x/mlflow.db") == "sqlite:////home/me@x/mlflow.db"


class Tracker(http.server.BaseHTTPRequestHandler):
    """Refuses as MLflow does: a name it does not serve, and whoever has no login."""

    def do_GET(self) -> None:
        """Answer."""
        foreign = not self.headers["Host"].startswith("127.0.0.1")
        self.send_response(403 if foreign and self.path.startswith("/api/") else 401)
        self.end_headers()
        self.wfile.write(b"Invalid Host header - possible DNS rebinding attack detected" if foreign else b"log in")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Engine:
    """An engine whose containers are processes here."""

    def __init__(self) -> None:
        self.containers, self.done = self, list[str]()

    def create(self, image: str, command: list[str], *, environment: dict[str, str], **_: Any) -> Any:
        """Make one."""
        ran = subprocess.run([sys.executable, *command], env={**os.environ, **environment}, capture_output=True)
        return SimpleNamespace(
            start=lambda: None,
            wait=lambda: {"StatusCode": ran.returncode},
            logs=lambda **_: ran.stderr,
            remove=lambda **how: self.done.append(f"removed {sorted(how)}"),
        )


def test_whether_a_container_gets_an_answer() -> None:
    client = Engine()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tracker) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port
        answers = {
            name: why_unreachable(client, "dlperf", "host", TrackingAddress.of(f"http://{name}:{port}/"))
            for name in ("127.0.0.1", "me:word@127.0.0.1", "localhost")
        }
        server.shutdown()
    refusal = "it refuses this name: start it with --allowed-hosts"
    assert answers == {"127.0.0.1": "", "me:word@127.0.0.1": "", "localhost": refusal}
    gone = why_unreachable(client, "dlperf", "host", TrackingAddress.of(f"http://127.0.0.1:{port}"))
    assert "refused" in gone
    assert client.done == ["removed ['force', 'v']"] * 4


def test_how_to_log_in_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_RUN_ID", RUN)
    environment = TrackingAddress.of("http://tracker:5000").environment
    assert environment == {"MLFLOW_TRACKING_URI": "http://tracker:5000", "MLFLOW_TRACKING_USERNAME": "me"} | {
        name: value for name, value in os.environ.items() if name.startswith("MLFLOW_HTTP_REQUEST_")
    }
