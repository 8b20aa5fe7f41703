"""Starts of entry points as processes of their own, without the seconds that their imports take.

A start of a toy trial is mostly imports: TensorFlow, MLflow, scikit-learn. Python's fork server imports them once for a
test process, and every start is a child that it forks: with arguments, environment, working folder, output and session
of its own, as `subprocess` gives them. What a start imports, and when, is tested elsewhere, with real ones.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import multiprocessing
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

_IMPORTED = [
    *("tensorflow", "keras", "pandas", "sklearn.datasets", "scipy.stats", "seaborn", "pyarrow", "git", "rich.table"),
    *("mlflow", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.tracking.sqlalchemy_workspace_store"),
]
# Read by what has been imported when it is imported, or by Python itself when it starts; but for those read later.
_READ_ONCE = ("TF_", "XLA_", "KERAS_", "OMP_", "OPENBLAS_", "MPL", "LD_", "GRPC_", "PYTHON")
_READ_LATER = {"TF_CONFIG", "PYTHONUNBUFFERED"}

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_IMPORTED)


class WarmProcess:
    """A started program, with what tests use of `subprocess.Popen`.

    Attributes:
        pid: Its process.
        stdout: What it writes, errors too.
        returncode: Its exit status once it is known.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        errors: Path | None = None,
        first: Callable[[], None] | None = None,
    ) -> None:
        """Start it.

        Args:
            command: What `can_start` takes.
            folder: Its working folder.
            environment: All of its variables.
            errors: A file for what it writes to the standard error; None where `stdout` is to have that too.
            first: What is called in it before the program begins; a function of a module.
        """
        reading, writing = _context.Pipe(duplex=False)  # an `os.pipe` whose ends can be handed on
        self.stdout = os.fdopen(os.dup(reading.fileno()))
        self._process = _context.Process(
            target=_run, args=(list(command[1:]), str(folder), dict(environment), writing, errors, first)
        )
        _keep_server_running()
        self._process.start()
        reading.close()
        writing.close()
        assert self._process.pid
        self.pid = self._process.pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        if self.returncode is None:
            self.returncode = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return the exit status.

        Raises:
            subprocess.TimeoutExpired: It still runs after `timeout` seconds.
        """
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired("a warm start", timeout)
        return status

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Read what it writes until its end, and return that.

        Raises:
            subprocess.TimeoutExpired: It still runs after `timeout` seconds.
        """
        read: list[str] = []
        reader = threading.Thread(target=lambda: read.append(self.stdout.read()), daemon=True)
        reader.start()
        reader.join(timeout)
        if reader.is_alive():
            assert timeout is not None
            raise subprocess.TimeoutExpired("a warm start", timeout)
        self.wait(timeout)
        self.stdout.close()
        return read[0], None

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _keep_server_running() -> None:
    """Start the fork server where there is none; not as a process of the desk whose store this one uses at the time."""
    with mock.patch.dict(os.environ):
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        forkserver.ensure_running()


def can_start(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether a command is one of our programs, and nothing in its environment has been read by what is imported."""
    program, *arguments = command
    names = {*environment, *os.environ}
    changed = {name for name in names if environment.get(name) != os.environ.get(name)}
    return (
        program == sys.executable
        and bool(re.match(r"entrypoints/|-m (dlperf|benchmarks\.\w+)( |$)", " ".join(arguments[:2])))
        and not any(name.startswith(_READ_ONCE) for name in changed - _READ_LATER)
    )


def _run(
    arguments: list[str],
    folder: str,
    environment: dict[str, str],
    output: Connection,
    errors: Path | None,
    first: Callable[[], None] | None,
) -> None:
    """Be the started program: in the forked child."""
    sys.dont_write_bytecode = False  # whatever the tests' own process was started with
    gc.freeze()  # what has been imported: to look through it takes half a second, and copies it page by page
    os.setsid()
    os.dup2(output.fileno(), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT) if errors else 1, 2)
    output.close()
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "wb", closefd=False), write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "wb", closefd=False), write_through=True)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.orig_argv = [sys.executable, *arguments]
    sys.path.insert(0, folder)
    with contextlib.suppress(ImportError):  # an earlier version has no such cache
        _let_xla_keep_its_programs()
    if first:
        first()
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            script = Path(folder, arguments[0])
            sys.argv = [str(script), *arguments[1:]]
            sys.path.insert(0, str(script.parent))
            runpy.run_path(str(script), run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out


def _let_xla_keep_its_programs() -> None:
    """As in a real start: TensorFlow is imported here, but reads where its cache is when it compiles first."""
    from dlperf.process_settings import xla_cache

    xla_cache.sys = SimpleNamespace(modules={})  # type: ignore[assignment]
