"""XLA's programs on disk: a folder per machine and settings, nothing damaged in it, and equal bits with and without."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import platformdirs
import pytest

from dlperf import processor
from dlperf.process_settings import xla_cache
from tests.support.desk import Desk


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache in a process that has not loaded TensorFlow."""
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache"))
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setenv(xla_cache.VARIABLE, "")  # so that what the tests set is undone
    return tmp_path / "cache" / "xla"


def used() -> Path:
    return Path(os.environ[xla_cache.VARIABLE].rpartition("=")[2])


def test_a_folder_for_all_that_a_program_depends_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = []
    for threads, name, value in [
        (1, "", ""),
        (2, "", ""),
        (1, "XLA_FLAGS", "--a=1"),
        (1, "TF_ENABLE_ONEDNN_OPTS", "x"),
    ]:
        with monkeypatch.context() as patch:
            if name:
                patch.setenv(name, value)
            xla_cache.use(threads)
            folders.append(used())
    monkeypatch.setattr(processor, "cpu_flags", lambda: "avx2")
    xla_cache.use(1)
    folders.append(used())
    assert len(set(folders)) == 5
    assert {folder.parent for folder in folders} == {root}
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}


def test_the_user_s_flags_stay(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(xla_cache.VARIABLE, "--tf_xla_auto_jit=1")
    xla_cache.use(1)
    first = os.environ[xla_cache.VARIABLE]
    assert first.startswith("--tf_xla_auto_jit=1 --tf_xla_persistent_cache_directory=")
    xla_cache.use(2)  # as a worker that inherits it
    assert os.environ[xla_cache.VARIABLE].count("persistent_cache_directory") == 1
    assert os.environ[xla_cache.VARIABLE] != first
    monkeypatch.setenv(xla_cache.VARIABLE, "--tf_xla_persistent_cache_directory=/mine")
    xla_cache.use(1)
    assert os.environ[xla_cache.VARIABLE] == "--tf_xla_persistent_cache_directory=/mine"


def test_no_cache_where_others_could_write_or_nobody_can(root: Path, tmp_path: Path) -> None:
    xla_cache.use(1)
    folder = used()
    os.environ.pop(xla_cache.VARIABLE)
    folder.chmod(0o770)
    xla_cache.use(1)
    assert not os.environ.get(xla_cache.VARIABLE)
    folder.rmdir()
    folder.write_text("a file in its place")
    xla_cache.use(1)
    assert not os.environ.get(xla_cache.VARIABLE)


def test_no_cache_on_a_disk_that_is_full(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
    xla_cache.use(1)
    assert not os.environ.get(xla_cache.VARIABLE)


def field(number: int, content: bytes) -> bytes:
    assert len(content) < 2**14
    return bytes([number << 3 | 2, len(content) & 127 | 128, len(content) >> 7]) + content


@pytest.mark.parametrize(
    ("content", "stays"),
    [
        (field(1, b"abc") + field(2, b"x" * 3000), True),
        (bytes([1 << 3, 200, 1]) + field(2, b"abc"), True),  # a number, then a text
        ((field(1, b"abc") + field(2, b"x" * 3000))[:-1], False),
        (field(1, b"abc")[:2], False),
        (b"", False),
        (b"\xff" * 20, False),
    ],
)
def test_files_that_lack_their_end_are_removed(root: Path, content: bytes, stays: bool) -> None:
    xla_cache.use(1)
    path = used() / "program.pb"
    path.write_bytes(content)
    xla_cache.use(1)
    assert path.exists() == stays


def test_the_oldest_are_removed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xla_cache, "_MOST_BYTES", 4000)
    xla_cache.use(1)
    paths = [used() / f"{number}.pb" for number in range(5)]
    for number, path in enumerate(paths):
        path.write_bytes(field(1, b"x" * 1500))
        os.utime(path, (number, number))
    xla_cache.use(2)
    assert [path.exists() for path in paths] == [False, False, False, True, True]


@pytest.mark.slow
def test_the_second_start_compiles_less_and_computes_the_same(tmp_path: Path) -> None:
    desk = Desk(tmp_path).with_store()
    one = ["--units", "32,16", "--epochs", "3"]
    command = [sys.executable, "entrypoints/approximators.py", *one]
    curves, compiled = [], []
    for number in range(3):
        cache = tmp_path / "cache"
        if number == 2:  # damaged: removed, and compiled again
            for path in cache.rglob("*.pb"):
                path.write_bytes(path.read_bytes()[:1000])
        start = desk.popen if number else desk.cold
        process = start(command, XDG_CACHE_HOME=str(cache), MLFLOW_EXPERIMENT_NAME=f"start {number}")
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        experiment = desk.client.get_experiment_by_name(f"start {number}").experiment_id
        (run,) = desk.client.search_runs([experiment])
        history = desk.client.get_metric_history(run.info.run_id, "validation_rmse")
        curves.append([metric.value for metric in history])
        compiled.append(len(list(cache.rglob("*.pb"))))
        assert "persistent" not in output.lower()
    assert curves[0] == curves[1] == curves[2]
    assert compiled[0] == compiled[1] == compiled[2] > 0
