"""A disk that is full: one line, the exit status of what is missing, and nothing that looks finished and is not.

Of the state and the journal see tests/runner/test_lifecycle.py and tests/tracking/test_journal.py.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import os
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dlperf import cli
from dlperf.archive.folder import opened
from dlperf.data.cifar import Cifar
from dlperf.data.cifar_layout import CIFAR10
from tests.support.desk import Desk
from tests.support.made_trials import log, made, new_store

pytestmark = pytest.mark.slow
Serve = Callable[[bytes], str]


def fill(disk: Path, leave: int) -> Path:
    """Write a file that leaves so many bytes free, or a page more."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    file = disk / "fill"
    file.write_bytes(bytes(max(0, free - leave)))
    return file


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serves bytes as a file; gives its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    site = tmp_path / "site"
    site.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def put(content: bytes) -> str:
        (site / "data.tar.gz").write_bytes(content)
        return f"http://127.0.0.1:{server.server_port}/data.tar.gz"

    yield put
    server.shutdown()
    server.server_close()


def packed(folder: Path) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name in CIFAR10.binary_files:
            tar.add(folder / name, f"{CIFAR10.binary_folder}/{name}")
    return file.getvalue()


@pytest.mark.parametrize("leave", [50_000, 400_000], ids=["the archive does not fit", "what it holds does not fit"])
def test_under_a_download(
    small_disk: Path,
    tiny_cifar10: Callable[..., Path],
    serve: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    leave: int,
) -> None:
    content = packed(tiny_cifar10(records=20) / CIFAR10.binary_folder)
    assert 50_000 < len(content) < 400_000 < len(content) + 6 * 20 * CIFAR10.record_bytes
    archive = {"url": serve(content), "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    monkeypatch.setattr(CIFAR10, "archive", replace(CIFAR10.archive, **archive))
    monkeypatch.setenv("DLPERF_DOWNLOAD_DIR", str(small_disk))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("DLPERF_DATA_DIR", raising=False)
    filler = fill(small_disk, leave)
    assert cli.entry_point("cutout", ["--m", "0", "--train_examples", "10"]) == 3
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith("dlperf cutout: CIFAR-10 is not on this machine and ")
    assert f"{small_disk}/{CIFAR10.binary_folder} could not be written (" in line
    assert "No space left on device" in line
    assert {file.name for file in small_disk.iterdir()} == {"fill", f".{CIFAR10.binary_folder}.lock"}
    assert not (tmp_path / "mlflow.db").exists()
    filler.unlink()
    cifar = Cifar(CIFAR10)
    assert cifar.verify(cifar.find())


def test_under_the_artifacts_of_a_store(desk: Desk, small_disk: Path) -> None:
    """The run waits, and is finished once there is room; what was written by half is written anew."""
    desk.client.create_experiment("small", artifact_location=str(small_disk / "artifacts"))
    filler = fill(small_disk, 40_000)
    trial = ["--units", "16", "--epochs", "2", "--finish_seconds", "1"]
    process = desk.popen([sys.executable, "entrypoints/approximators.py", *trial], MLFLOW_EXPERIMENT_NAME="small")
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 3, output
    assert "Traceback" not in output
    line = output.splitlines()[-1]
    assert line.startswith("dlperf approximators: trained, not sent: ")
    assert "No space left on device" in line
    (run,) = desk.client.search_runs([desk.client.get_experiment_by_name("small").experiment_id])
    assert f"send them with `dlperf runs --send {run.info.run_id}`" in line
    filler.unlink()
    sending = desk.cold([sys.executable, "-m", "dlperf", "runs", "--send", run.info.run_id])
    output, _ = sending.communicate(timeout=100)
    assert sending.returncode == 0, output
    assert desk.client.get_run(run.info.run_id).info.status == "FINISHED"
    for file in desk.client.list_artifacts(run.info.run_id, "plots"):
        assert Path(desk.client.download_artifacts(run.info.run_id, file.path)).read_bytes().endswith(b"IEND\xaeB`\x82")


def test_under_an_archive(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with new_store(tmp_path) as (uri, client):
        log(client, made("cutout", 0))
        command = ["archive", "--output", str(small_disk / "kept"), "--tracking_uri", uri]
        assert cli.main(command) == 0
        log(client, made("approximators", 0))
    filler = fill(small_disk, 0)
    capfd.readouterr()
    assert cli.main(command) == 3
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith(f"dlperf archive: the archive {small_disk}/kept cannot be written (")
    assert "No space left on device" in line
    assert [trial.problem for trial in opened("archive", str(small_disk / "kept")).trials()] == ["cutout"]
    filler.unlink()
    assert cli.main(command) == 0
    assert len(opened("archive", str(small_disk / "kept"))) == 2
    assert not list((small_disk / "kept").glob(".writing-*"))
