"""Taking turns: a file that one process at a time holds."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_TRIES = 20  # within a second; who holds the file for longer is worth a word
_PAUSE_SECONDS = 0.05


@contextlib.contextmanager
def held(file: Path, waiting: str) -> Iterator[None]:
    """Hold a file for this process alone; the system drops the lock even if the process is killed.

    On a file system without locks nothing is held.

    Args:
        file: Made unless it is there; it stays. A lock file that is removed can be held by two processes, one of them
            on the removed file.
        waiting: What is said if another process holds it for longer than a second.

    Raises:
        OSError: If the file cannot be made.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _wait(descriptor, waiting)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, waiting: str) -> None:
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_SECONDS)
        except OSError:  # a file system without locks
            return
        else:
            return
    print(waiting, file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
