"""Trials side by side in worker processes of this machine.

A worker is kept for many trials, because importing TensorFlow takes longer than a small trial. It computes and nothing
else: what it has to report it asks this process to log, and waits for that. A worker that dies (out of memory, a crash
in native code) takes only its trial with it, which a new one tries again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from dlperf import entry_points
from dlperf.engines.execution import Listener, RemoteReport, Task, execute, portable
from dlperf.errors import DlperfError, OutOfMemory, TrialFailed
from dlperf.process_settings import onednn
from dlperf.processor import MemoryKills, end_first
from dlperf.trial import Report

_ATTEMPTS = 2
# What XLA has compiled for a trial stays in memory until the process ends: some 40 MB for a dense network.
_TRIALS_PER_WORKER = 20


@dataclass
class _Attempt:
    """A task on its way: who listens to it, and how many workers it has been given to."""

    task: Task
    report: Report
    number: int = 0


def run(tasks: Sequence[Task], listener: Listener, processes: int) -> None:
    """Run the tasks, begun in their order, in `processes` workers."""
    waiting, again = deque(tasks), deque[_Attempt]()
    kills = MemoryKills()
    workers: list[_Worker] = []
    try:
        while True:
            while len(_busy(workers)) < processes and (attempt := _next(waiting, again, listener)):
                idle = next((worker for worker in workers if not worker.attempt), None)
                if idle is None:
                    idle = _Worker()
                    workers.append(idle)
                idle.give(attempt)
            if not _busy(workers):
                return
            for worker in _ready(workers):
                ended = worker.attend(listener)
                if ended == "died":
                    workers.remove(worker)
                    again += _after_death(worker, kills, listener)
                elif not worker.attempt and worker.trials == _TRIALS_PER_WORKER:
                    workers.remove(worker)
                    worker.stop()
    finally:
        for worker in workers:
            worker.stop()


def _busy(workers: Sequence[_Worker]) -> list[_Worker]:
    return [worker for worker in workers if worker.attempt]


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    busy = {worker.connection: worker for worker in _busy(workers)}
    return [busy[connection] for connection in wait(list(busy))]  # type: ignore[index]


def _next(waiting: deque[Task], again: deque[_Attempt], listener: Listener) -> _Attempt | None:
    if again:
        return again.popleft()
    while waiting:
        task = waiting.popleft()
        report = listener.started(task)
        if report is not None:
            return _Attempt(task, report)
    return None


def _after_death(worker: _Worker, kills: MemoryKills, listener: Listener) -> list[_Attempt]:
    """Return the attempt that a dead worker leaves to be made again, if it was not the last."""
    attempt, how = worker.attempt, worker.cause_of_death()
    assert attempt is not None
    for_memory = worker.was_killed and kills.one_more()
    if for_memory:
        how = f"was killed by the kernel: {kills.why()}"
    if attempt.number < _ATTEMPTS:
        print(f"dlperf {attempt.task.name}: its worker process {how}: tried again", file=sys.stderr, flush=True)
        return [attempt]
    failed = OutOfMemory if for_memory else TrialFailed
    listener.ended(attempt.task, failed(f"its worker process {how}, {attempt.number} times"))
    return []


class _Worker:
    """A worker process as its parent sees it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit TensorFlow's threads half
        self.connection, far = context.Pipe()
        self.attempt: _Attempt | None = None
        self.trials = 0
        self._process = context.Process(
            target=_serve, args=(far, onednn.users_setting()), name="dlperf worker", daemon=True
        )
        self._process.start()
        assert self._process.pid
        end_first(self._process.pid)
        far.close()  # or a worker's death would not be seen as the end of the connection

    def give(self, attempt: _Attempt) -> None:
        """Let it run a task."""
        self.attempt = attempt
        self.trials += 1
        attempt.number += 1
        try:
            self.connection.send(attempt.task)
        except OSError:
            return  # it is dead, which the next look at the connection will find

    def attend(self, listener: Listener) -> str:
        """Answer what it has to say: "reported", "ended" with its trial, or "died"."""
        assert self.attempt is not None
        try:
            kind, content = self.connection.recv()
        except (EOFError, OSError):
            return "died"
        except Exception as error:  # a result that this process cannot read
            kind, content = "ended", portable(error)
        if kind == "report":
            answer: DlperfError | None = None
            try:
                method, arguments = content
                getattr(self.attempt.report, method)(*arguments)
            except Exception as error:
                answer = portable(error)
            try:
                self.connection.send(answer)
            except OSError:
                return "died"
            return "reported"
        task, self.attempt = self.attempt.task, None
        listener.ended(task, content)
        return "ended"

    @property
    def was_killed(self) -> bool:
        """Whether it was killed by SIGKILL, as the kernel kills when memory has run out."""
        return self._process.exitcode == -signal.SIGKILL

    def cause_of_death(self) -> str:
        """Say how the process ended."""
        self._process.join()
        code = self._process.exitcode or 0
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    def stop(self) -> None:
        """End it, whatever it does: its state on disk is whole at any time."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(connection: Connection[Any, Any], onednn_setting: str | None) -> None:
    """Run what the parent gives, until it ends."""
    onednn.take_for_users(onednn_setting)
    # A Ctrl-C reaches every process of the terminal; it is the parent that ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # or the first worker would take all of a GPU's memory
    threading.Thread(target=_end_with_parent, daemon=True, name="parent watch").start()

    def send(method: str, arguments: tuple[Any, ...]) -> None:
        connection.send(("report", (method, arguments)))
        error = connection.recv()  # the parent has logged it, or says why not
        if error is not None:
            raise error

    while True:
        try:
            task: Task = connection.recv()
        except EOFError:
            return
        try:
            connection.send(("ended", execute(entry_points.load_problem(task.problem), task, RemoteReport(send))))
        except Exception as error:  # of the trial, or of a result that cannot be pickled
            connection.send(("ended", portable(error)))


def _end_with_parent() -> None:
    """End this process, in the middle of a step if need be, when the parent has been killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
