"""Ended from outside: signals, and the death of the launcher the program belongs to."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import psutil

from dlperf.errors import Ended

_POLL_SECONDS = 1.0
# `mlflow run` forwards a Ctrl-C as SIGTERM, and the terminal sends SIGINT to both: signals that follow the first within
# this time are the same wish, and the clean-up it started is let finish.
_GRACE_SECONDS = 10.0

_held = 0
_pending: list[Ended] = []


@contextmanager
def signals_raised() -> Iterator[None]:
    """Raise `Ended` in the main thread on SIGINT, SIGTERM, SIGHUP, or when the launching `mlflow run` dies.

    A further signal more than ten seconds later ends the process at once. To be entered once, in the main thread.
    """
    ending_since: float | None = None
    reasons: list[str] = []

    def answer(number: int, _: FrameType | None) -> None:
        nonlocal ending_since
        if ending_since is not None:
            if time.monotonic() - ending_since > _GRACE_SECONDS:
                os._exit(128 + number)
            return
        ending_since = time.monotonic()
        name = signal.Signals(number).name
        ended = Ended(signal.Signals(number), reasons[0] if reasons else f"ended by {name}")
        if _held:
            _pending.append(ended)
        else:
            raise ended

    answered = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it, and means it
        answered.append(signal.SIGHUP)
    before = {number: signal.signal(number, answer) for number in answered}
    stopped = threading.Event()
    chain = launcher_chain()
    if chain:
        threading.Thread(target=_watch, args=(chain, stopped, reasons), daemon=True, name="launcher watch").start()
    try:
        yield
    finally:
        stopped.set()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Let what is in the block be done whole: a signal is answered at its end."""
    global _held
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    if not _held and _pending:
        raise _pending.pop()


def launcher_chain() -> list[psutil.Process]:
    """Return the processes between this one and the Python program that started it as an MLflow project, that included.

    MLflow sets MLFLOW_RUN_ID for what it starts, through a shell or two: the launcher is the nearest ancestor whose
    environment does not have this run's id. If that is no Python program, the variable was exported by hand in a
    shell, whose end means nothing: the list is empty then, as it is without MLFLOW_RUN_ID.
    """
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        return []
    chain = []
    try:
        for ancestor in psutil.Process().parents():
            chain.append(ancestor)
            if ancestor.environ().get("MLFLOW_RUN_ID") != run_id:
                return chain if "python" in os.path.basename(ancestor.exe()) else []
    except psutil.Error:
        pass
    return []


def _watch(chain: list[psutil.Process], stopped: threading.Event, reasons: list[str]) -> None:
    while not stopped.wait(_POLL_SECONDS):
        if not all(_alive(process) for process in chain):
            reasons.append("ended because the `mlflow run` that started it died")
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
