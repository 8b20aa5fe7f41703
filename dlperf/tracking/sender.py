"""A thread that sends what runs say, beside the training: an outage of the tracking server slows nothing down."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mlflow

from dlperf.errors import Ended, EnvironmentMissing, without_logins
from dlperf.folders import state_folder
from dlperf.interruption import signals_deferred
from dlperf.tracking.delivery import deliver_next, why_not
from dlperf.tracking.journal import Journal

_ENDED_SECONDS = 8.0  # the longest wait at the end of a program that was asked to end
_PASSING = (ConnectionError, TimeoutError)
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_PAUSE_AT_THE_END = 0.25, 5.0, 1.0
NO_USE_TO_WAIT = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "PERMISSION_DENIED"}
"""Codes of MLflow's for what a server refuses, and will refuse again."""


@dataclass
class _Outgoing:
    """A journal that is being sent.

    Attributes:
        journal: The journal.
        complete: Nothing will be added to it: once it is sent, it goes.
        due: When to try next, by the monotonic clock.
        pause: Seconds between the last tries.
        reason: Why the last try failed; "" if it did not.
        hopeless: Whether it is no use to wait for another answer.
    """

    journal: Journal
    complete: bool = False
    due: float = 0.0
    pause: float = 0.0
    reason: str = ""
    hopeless: bool = False


class Sender:
    """Sends each journal in the order of its entries; what cannot be sent waits on disk and is tried again."""

    def __init__(self, client: mlflow.MlflowClient, uri: str) -> None:
        """Take the tracking server; the thread starts with the first journal."""
        self._client, self._uri = client, without_logins(uri)
        self._changed = threading.Condition()
        self._outgoing: dict[str, _Outgoing] = {}
        self._thread: threading.Thread | None = None
        self._at_the_end = False
        self._warned = False

    def take(self, journal: Journal) -> None:
        """Send what a journal has, and what will be said in it."""
        with signals_deferred(), self._changed:
            self._outgoing[journal.header.run_id] = _Outgoing(journal)
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_all, daemon=True, name="sender")
                self._thread.start()
            self._changed.notify_all()

    def has(self, run_id: str) -> bool:
        """Whether a run's journal is being sent here."""
        with self._changed:
            return run_id in self._outgoing

    def say(self, journal: Journal, kind: str, content: Any, run_id: str = "") -> None:
        """Add an entry to a journal that was taken, of its own run unless another is named."""
        with signals_deferred(), self._changed:
            journal.append(kind, content, run_id)
            self._changed.notify_all()

    def complete(self, journal: Journal) -> None:
        """Note that nothing will be added to a journal: once it is sent, it goes."""
        with signals_deferred(), self._changed:
            self._outgoing[journal.header.run_id].complete = True
            self._changed.notify_all()

    @contextmanager
    def finishing(self, seconds: float) -> Iterator[None]:
        """Wait at the end of the block until everything is sent.

        Args:
            seconds: The longest time to wait for a server that does not answer; less after a signal.

        Raises:
            EnvironmentMissing: If it does not answer; what was said waits on disk. Where the block ends with an error,
                that one is passed on, and a line tells.
        """
        try:
            yield
        except BaseException as error:
            self._finish(min(seconds, _ENDED_SECONDS) if isinstance(error, Ended) else seconds)
            if unsent := self._unsent("not sent"):
                print(f"dlperf: {unsent}", file=sys.stderr)
            raise
        try:
            self._finish(seconds)
        except BaseException:
            if unsent := self._unsent("trained, not sent"):
                print(f"dlperf: {unsent}", file=sys.stderr)
            raise
        if unsent := self._unsent("trained, not sent"):
            raise EnvironmentMissing(unsent)

    def _finish(self, seconds: float) -> None:
        """Wait until everything is sent, or the time is over, or waiting is no use."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._at_the_end = True
            for outgoing in self._outgoing.values():
                outgoing.due, outgoing.hopeless = 0.0, False
            self._changed.notify_all()
            while pending := [one for one in self._outgoing.values() if one.journal.waiting or one.complete]:
                left = deadline - time.monotonic()
                if left <= 0 or all(outgoing.hopeless for outgoing in pending):
                    return
                self._changed.wait(left)

    def _unsent(self, what: str) -> str:
        """Return what to tell of that which is not sent, in one line that begins with `what`; "" where all is."""
        with self._changed:
            unsent = [outgoing for outgoing in self._outgoing.values() if outgoing.journal.waiting]
            if not unsent:
                return ""
            reason = next((outgoing.reason for outgoing in unsent if outgoing.reason), "no answer yet")
            said = f"{what}: {self._uri} does not take the results ({reason})"
            if not all(outgoing.journal.is_on_disk for outgoing in unsent):
                return f"{said}, and their journal could not be written: what was not sent is lost"
            headers = [outgoing.journal.header for outgoing in unsent]
            which = headers[0].run_id if len(headers) == 1 else "all"
            folder = unsent[0].journal.folder.parents[1]
            place = "" if folder == state_folder() else f" --state_dir {folder}"
            return f"{said}; nothing is lost, send them with `dlperf runs --send {which}{place}` once it does"

    def _send_all(self) -> None:
        while True:
            with self._changed:
                while (outgoing := self._next()) is None:
                    self._changed.wait(self._until_due())
                journal = outgoing.journal
                entries = journal.next_entries()
                if not entries:
                    journal.remove()
                    del self._outgoing[journal.header.run_id]
                    self._changed.notify_all()
                    continue
            try:
                count = deliver_next(self._client, entries, journal.folder)
            except Exception as error:
                self._failed(outgoing, error)
                continue
            with self._changed:
                journal.mark(count)
                outgoing.pause, outgoing.reason, outgoing.hopeless = 0.0, "", False
                self._changed.notify_all()

    def _next(self) -> _Outgoing | None:
        """Return a journal that has something to send and whose turn it is, or one that is done with."""
        now = time.monotonic()
        for outgoing in self._outgoing.values():
            if outgoing.journal.waiting:
                if outgoing.due <= now:
                    return outgoing
            elif outgoing.complete:
                return outgoing
        return None

    def _until_due(self) -> float | None:
        due = [outgoing.due for outgoing in self._outgoing.values() if outgoing.journal.waiting]
        return max(0.01, min(due) - time.monotonic()) if due else None

    def _failed(self, outgoing: _Outgoing, error: Exception) -> None:
        """Put off a journal that could not be sent; tell once that it is so."""
        refused = isinstance(error, mlflow.MlflowException) and error.error_code in NO_USE_TO_WAIT
        # A disk's error has a number of the system's; those of a connection may pass.
        of_a_disk = isinstance(error, OSError) and error.errno is not None and not isinstance(error, _PASSING)
        with self._changed:
            longest = _LONGEST_PAUSE_AT_THE_END if self._at_the_end else _LONGEST_PAUSE
            outgoing.pause = min(longest, max(_FIRST_PAUSE, 2 * outgoing.pause))
            outgoing.due = time.monotonic() + outgoing.pause
            outgoing.reason = why_not(error, outgoing.journal.header.run_id)
            outgoing.hopeless = refused or of_a_disk
            self._changed.notify_all()
            if not (self._warned or self._at_the_end):
                self._warned = True
                said = f"dlperf: the tracking server does not take the reports, training goes on: {outgoing.reason}"
                with contextlib.suppress(OSError):  # a terminal that is gone
                    print(said, file=sys.stderr, flush=True)
