"""Separate accounts of a trial's time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from dlperf.processor import CoreSeconds

ACCOUNTS = ("setup", "compile", "train", "evaluation", "tracking", "checkpoint", "reporting", "waiting")


class Clock:
    """Adds up the wall time of a trial by what it was spent on.

    An account opened inside another pauses the outer one, so that no second stands in two accounts and their sum is at
    most the wall time. Beside them stands, where it is watched, who had the cores meanwhile.
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
        self._cores = CoreSeconds()
        self._read_cores: Callable[[], CoreSeconds] | None = None
        self._cores_before = CoreSeconds()

    def watch(self, cores: Callable[[], CoreSeconds]) -> None:
        """Count from now on who has the cores, as `cores` says it."""
        self._read_cores, self._cores_before = cores, cores()

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
        """Return all accounts, the wall time and who had the cores, as plain numbers for the checkpoint."""
        until = self._now()
        seconds = dict(self._seconds)
        if self._open:
            name, since = self._open[-1]
            seconds[name] += until - since
        return {**seconds, "wall": self._carried_wall + until - self._started, **self.cores._asdict()}

    @property
    def cores(self) -> CoreSeconds:
        """Who had the cores since they were watched, in earlier starts too; zeros where nobody watched."""
        if self._read_cores is None:
            return self._cores
        since = zip(self._cores, self._read_cores(), self._cores_before, strict=True)
        return CoreSeconds(*(carried + max(0.0, now - before) for carried, now, before in since))

    def carry(self, snapshot: Mapping[str, float]) -> None:
        """Add the accounts of an earlier, interrupted start of the same trial."""
        for name in ACCOUNTS:
            self._seconds[name] += snapshot[name]
            self._used |= {name} if snapshot[name] else set()
        self._carried_wall += snapshot["wall"]
        earlier = (snapshot.get(name, 0.0) for name in CoreSeconds._fields)  # a state of an earlier version has none
        self._cores = CoreSeconds(*map(sum, zip(self._cores, earlier, strict=True)))

    def metrics(self) -> dict[str, float]:
        """Return the accounts that were used under their metric names (`train_seconds`, ..., `wall_seconds`).

        With them goes `others_share`, where it is known: of the cores' time, what programs of others had.
        """
        seconds = {f"{name}_seconds": value for name, value in self.snapshot().items() if name in self._used | {"wall"}}
        there = self.cores.cores_there
        return {**seconds, "others_share": min(1.0, self.cores.others / there)} if there else seconds
