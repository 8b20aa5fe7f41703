"""Starts of entry points as processes of their own, without the seconds that their imports take.

A start of a toy trial is mostly imports: TensorFlow, MLflow, scikit-learn. Python's fork server imports them once for a
test process, and every start is a child that it forks: with arguments, environment, working folder, output and session
of its own, as `subprocess` gives them. What a start imports, and when, is tested elsewhere, with real ones.
"""

from __future__ import annotations

import atexit
import io
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

_IMPORTED = ["tensorflow", "keras", "mlflow", "pandas", "sklearn.datasets", "scipy.stats", "seaborn"]
# Read by what has been imported when it is imported, or by Python itself when it starts.
_READ_ONCE = ("TF_", "XLA_", "KERAS_", "CUDA_", "OMP_", "OPENBLAS_", "MPL", "LD_", "GRPC_")
_PYTHON = {"PYTHONUNBUFFERED"}  # of Python's variables those that are answered here

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_IMPORTED)


class WarmProcess:
    """A started program, with what tests use of `subprocess.Popen`.

    Attributes:
        pid: Its process.
        stdout: What it writes, errors too.
        returncode: Its exit status once it is known.
    """

    def __init__(self, script: Path, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        """Start it."""
        reading, writing = _context.Pipe(duplex=False)  # an `os.pipe` whose ends can be handed on
        self.stdout = os.fdopen(os.dup(reading.fileno()))
        self._process = _context.Process(
            target=_run, args=(str(script), list(arguments), str(folder), dict(environment), writing)
        )
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


def can_start(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether a command is one of our scripts, and nothing in its environment has been read by what is imported."""
    is_script = command[0] == sys.executable and len(command) > 1 and command[1].startswith("entrypoints/")
    names = {*environment, *os.environ}
    changed = {name for name in names if environment.get(name) != os.environ.get(name)}
    return is_script and not any(
        name.startswith(_READ_ONCE) or (name.startswith("PYTHON") and name not in _PYTHON) for name in changed
    )


def _run(script: str, arguments: list[str], folder: str, environment: dict[str, str], output: Connection) -> None:
    """Be the started program: in the forked child."""
    os.setsid()
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    output.close()
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "wb", closefd=False), write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "wb", closefd=False), write_through=True)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).parent))
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out
