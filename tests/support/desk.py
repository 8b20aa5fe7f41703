"""Starting entry points as subprocesses, each at a desk of its own: store, state folder, working environment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import psutil

from tests.support import warm_start
from tests.support.warm_start import WarmProcess

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--dataset", "digits", "--depth", "8", "--train_examples", "128"]
Started: TypeAlias = "subprocess.Popen[str] | WarmProcess"
MLFLOW_RUN = [str(Path(sys.executable).parent / "mlflow"), "run", str(ROOT), "--env-manager", "local"]


@dataclass
class Desk:
    """A working directory with a store and a state folder of its own."""

    folder: Path
    warm: list[WarmProcess] = field(default_factory=list, init=False)

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def with_store(self) -> Desk:
        """Let the store be there, with nothing logged to it."""
        from tests.support.empty_store import make_store  # imports MLflow

        make_store(self.folder / "mlflow.db")
        return self

    @property
    def environment(self) -> dict[str, str]:
        own = {"MLFLOW_TRACKING_URI": self.uri, "DLPERF_STATE_DIR": str(self.folder / "state")}
        own["MLFLOW_EXPERIMENT_NAME"] = "Default"  # where tests look
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**os.environ, **own, "PATH": path, "PYTHONUNBUFFERED": "1"}

    @property
    def client(self) -> Any:
        import mlflow

        return mlflow.MlflowClient(self.uri)

    def runs(self) -> dict[str, Any]:
        """Runs by name; the newest of several that share one."""
        return {run.info.run_name: run for run in reversed(self.client.search_runs(["0"]))}

    def start(self, *arguments: str, **environment: str) -> Started:
        command = [sys.executable, "entrypoints/cutout.py", *SMALL, *arguments]
        return self.popen(command, **environment)

    def popen(self, command: list[str], folder: Path = ROOT, **environment: str) -> Started:
        """Start a command; a program of ours as a warm start, where its environment allows it."""
        whole = {**self.environment, **environment}
        if warm_start.can_start(command, whole):
            self.warm.append(WarmProcess(command, folder, whole))
            return self.warm[-1]
        return self.cold(command, folder, **environment)

    def cold(self, command: list[str], folder: Path = ROOT, **environment: str) -> subprocess.Popen[str]:
        """Start a command as users do."""
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self, *arguments: str, **environment: str) -> tuple[int, str]:
        process = self.start(*arguments, **environment)
        output, _ = process.communicate(timeout=300)
        return process.returncode, output


def processes_of(desk: Desk) -> list[Any]:
    """Return its processes; the environment that the system shows of a warm start is its fork server's."""
    found = [
        psutil.Process(started.pid)
        for started in desk.warm
        if started.poll() is None and psutil.pid_exists(started.pid)
    ]
    for process in psutil.process_iter():
        try:
            if process.environ().get("MLFLOW_TRACKING_URI") == desk.uri:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_for_line(process: Started, text: str) -> list[str]:
    """Read the output up to a line that contains `text`."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"{text!r} never came:\n{''.join(lines)}")


def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.3)


def port() -> int:
    from dlperf.problems.scaling.job import free_ports

    return free_ports(1)[0]
