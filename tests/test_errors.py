"""What other programs say ends in one line of ours, and keeps its reason wherever that stands."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlperf.data import Reading
from dlperf.errors import EnvironmentMissing, TrialFailed, in_one_line, one_line, reason
from dlperf.problems.scaling.worker_config import PARENT, WorkerConfig

REASON = "no kernel image is available for execution on the device"
LONG = "\n".join([*("a line of a long preamble" for _ in range(18)), REASON])  # it begins at character 468
ENDLESS = f"what was done\n{'and so on ' * 1000}\n{REASON}"


def test_a_long_message_keeps_its_reason() -> None:
    assert LONG.index(REASON) > 455
    assert one_line(RuntimeError(LONG)) == " ".join(LONG.split())


def test_an_endless_message_keeps_its_beginning_and_its_end() -> None:
    line = one_line(RuntimeError(ENDLESS))
    assert line.startswith("what was done and so on")
    assert line.endswith(REASON)
    assert len(line) == 2_000
    assert " [...] " in line


@given(text=st.text(), most=st.integers(100, 300))
def test_a_line_is_no_longer_than_it_may_be(text: str, most: int) -> None:
    line = in_one_line(text * 20, most)
    assert len(line) <= most
    assert len(line.splitlines()) <= 1


def test_an_error_without_a_text_is_called_by_its_type() -> None:
    assert one_line(TimeoutError()) == "TimeoutError"


def test_a_login_does_not_survive_the_cut() -> None:
    """Whatever is cut off: the address is cleaned before."""
    for length in range(900, 1000):
        assert "secret" not in in_one_line(f"{'x' * length} http://user:secret@host/ {'y' * 2000}")


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("", "no reason given"),
        ("one\n\n  two\n", "one two"),
        (
            "noise\nTraceback (most recent call last):\n  File x\n    raise\nValueError: bad\n  because\n",
            "ValueError: bad because",
        ),
        (
            "Traceback (most recent call last):\n  File x\nKeyError: 1\n\nDuring handling of the above exception, "
            "another exception occurred:\n\nTraceback (most recent call last):\n  File y\nRuntimeError: last\n",
            "RuntimeError: last",
        ),
        (
            "Traceback (most recent call last):\n  File x, ended in the middle\n",
            "Traceback (most recent call last): File x, ended in the middle",
        ),
    ],
)
def test_the_reason_in_what_a_program_wrote(output: str, said: str) -> None:
    assert reason(output) == said


def test_ray_s_probe_keeps_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'dlperf[ray]'")
    from dlperf.engines import cluster

    monkeypatch.setenv("RAY_ADDRESS", "ray://none:1")
    failed = f"Traceback (most recent call last):\n  File x\nConnectionError: {LONG}\n"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1, stderr=failed))
    with pytest.raises(EnvironmentMissing) as raised:
        cluster._connected()
    assert str(raised.value).endswith(f"ConnectionError: {' '.join(LONG.split())}")


def worker_config(**settings: Any) -> WorkerConfig:
    """A worker's configuration of which only `settings` mean something."""
    empty = dict.fromkeys((field.name for field in dataclasses.fields(WorkerConfig)), "")
    return WorkerConfig(**{**empty, "index": 0, "devices": (), "reading": Reading(), **settings})


def test_a_worker_of_scaling_keeps_the_reason_of_its_death() -> None:
    from dlperf.problems.scaling.job import Job

    with pytest.raises(TrialFailed) as raised, Job("job", [worker_config(cores=("no number",))], cluster=False):
        pass
    assert "TypeError" in str(raised.value)
    job: Any = Job.__new__(Job)
    job._logs = [io.BytesIO(f"Traceback (most recent call last):\n  File x\nValueError: {LONG}\n".encode())]
    job._workers = [SimpleNamespace(returncode=1, wait=lambda _: 1)]
    assert job._fate(0) == f"ended with exit status 1: ValueError: {' '.join(LONG.split())}"


def test_a_worker_of_scaling_tells_the_whole_of_its_error() -> None:
    """Not the first line alone: TensorFlow's says where, the next one why."""
    broken = (
        "from dlperf.problems.scaling import worker as w\n"
        f"def fail(config): raise RuntimeError({LONG!r})\n"
        "w._Worker = fail; w.main()"
    )
    own = {**os.environ, PARENT: str(os.getpid())}
    command = [sys.executable, "-c", broken]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=own) as worker:
        assert worker.stdin is not None  # it stays open: the worker ends where that closes
        assert worker.stdout is not None
        worker.stdin.write(worker_config(cores=()).to_json().encode() + b"\n")
        worker.stdin.flush()
        assert json.loads(worker.stdout.readline())["error"] == f"RuntimeError: {' '.join(LONG.split())}"


def test_xla_keeps_its_reason() -> None:
    import tensorflow as tf

    from dlperf.keras_accounting.compiled_program import program_text

    def refuse(*_: object, **__: object) -> None:
        raise tf.errors.InvalidArgumentError(None, None, LONG)

    with pytest.raises(ValueError, match=REASON):
        program_text(SimpleNamespace(experimental_get_compiler_ir=refuse))  # type: ignore[arg-type]


def test_a_keras_file_keeps_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    import keras

    from dlperf.models.model_file import loaded
    from dlperf.models.reference import ModelReference

    def refuse(*_: object, **__: object) -> None:
        raise ValueError(LONG)

    with zipfile.ZipFile(tmp_path / "a.keras", "w") as file:
        file.writestr("config.json", "{}")
    monkeypatch.setattr(keras.models, "load_model", refuse)
    with pytest.raises(Exception, match=REASON):
        loaded(ModelReference("subject", f"keras:{tmp_path}/a.keras"))


def test_ssh_s_whole_complaint_is_kept(tmp_path: Path) -> None:
    from dlperf.remote.link import Link

    link = Link.__new__(Link)
    link._folder = tmp_path
    (tmp_path / "errors").write_text("kex_exchange_identification: read: Connection reset by peer\r\nbanner line 0\r\n")
    assert link.complaint == "kex_exchange_identification: read: Connection reset by peer banner line 0"
