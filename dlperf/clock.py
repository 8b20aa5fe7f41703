"""Separate accounts of a trial's time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

ACCOUNTS = ("setup", "compile", "train", "evaluation", "tracking", "checkpoint", "reporting", "waiting")


class Clock:
    """Adds up the wall time of a trial by what it was spent on.

    An account opened inside another pauses the outer one, so that no second stands in two accounts and their sum is at
    most the wall time.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        """Start the wall clock.

        Args:
            now: Source of monotonic seconds.
        """
        self._now = now
        self._started = now()
        self._carried_wall = 0.0
        self._seconds = dict.fromkeys(ACCOUNTS, 0.0)
        self._used: set[str] = set()
        self._open: list[tuple[str, float]] = []

    @contextmanager
    def account(self, name: str) -> Iterator[None]:
        """Book the time inside the `with` block on the account `name`, one of `ACCOUNTS`."""
        start = self._now()
        self._used.add(name)
        if self._open:
            self._book(start)
        self._open.append((name, start))
        try:
            yield
        finally:
            end = self._now()
            self._book(end)
            self._open.pop()
            if self._open:
                self._open[-1] = (self._open[-1][0], end)

    def _book(self, until: float) -> None:
        name, since = self._open[-1]
        self._seconds[name] += until - since

    def seconds(self, name: str) -> float:
        """Return the seconds booked so far on an account that is not open."""
        return self._seconds[name]

    @property
    def wall(self) -> float:
        """Seconds since the trial's start, those of earlier, interrupted starts included."""
        return self._carried_wall + self._now() - self._started

    def snapshot(self) -> dict[str, float]:
        """Return all accounts and the wall time, as plain numbers for the checkpoint."""
        until = self._now()
        seconds = dict(self._seconds)
        if self._open:
            name, since = self._open[-1]
            seconds[name] += until - since
        return {**seconds, "wall": self._carried_wall + until - self._started}

    def carry(self, snapshot: Mapping[str, float]) -> None:
        """Add the accounts of an earlier, interrupted start of the same trial."""
        for name in ACCOUNTS:
            self._seconds[name] += snapshot[name]
            self._used |= {name} if snapshot[name] else set()
        self._carried_wall += snapshot["wall"]

    def metrics(self) -> dict[str, float]:
        """Return the accounts that were used under their metric names (`train_seconds`, ..., `wall_seconds`)."""
        return {f"{name}_seconds": value for name, value in self.snapshot().items() if name in self._used | {"wall"}}
