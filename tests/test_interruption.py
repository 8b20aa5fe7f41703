from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlperf.errors import Ended
from dlperf.interruption import launcher_chain, signals_raised

ROOT = Path(__file__).resolve().parent.parent
SHOW = "from dlperf.interruption import launcher_chain; print(len(launcher_chain()))"
SHOWN = shlex.join([sys.executable, "-c", SHOW])  # for a shell: the environment's path may have a blank


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_raised_once(number: signal.Signals) -> None:
    inherited = signal.signal(number, signal.SIG_DFL if number == signal.SIGHUP else signal.default_int_handler)
    before = signal.getsignal(number)

    def asked_twice() -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), number)  # the second one must not break the clean-up

    with pytest.raises(Ended) as ended, signals_raised():
        asked_twice()
    assert ended.value.exit_status == 128 + number
    assert signal.getsignal(number) == before
    signal.signal(number, inherited)


def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_raised():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_no_launcher_without_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    assert launcher_chain() == []


def test_the_launcher_is_the_nearest_python_without_the_run_id() -> None:
    """As MLflow starts it: through a shell that has the variable, from a Python that has not."""
    command = ["bash", "-c", f"{SHOWN}; true"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "MLFLOW_RUN_ID": "a"}, capture_output=True, text=True)
    assert done.stdout == "2\n", done.stderr  # the shell, and this process


def test_a_variable_exported_by_hand_has_no_launcher() -> None:
    command = ["bash", "-c", f"export MLFLOW_RUN_ID=a; {SHOWN}; true"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "0\n", done.stderr
