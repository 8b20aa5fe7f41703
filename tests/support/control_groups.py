"""Control groups of this machine that a test may limit processes with; skipped where none can be made."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlperf import processor

_LIMITS = {
    ("cpu", 1): "cpu.cfs_quota_us",
    ("cpu", 2): "cpu.max",
    ("memory", 1): "memory.limit_in_bytes",
    ("memory", 2): "memory.max",
}


@contextlib.contextmanager
def real_group(controller: str, version: int) -> Iterator[tuple[Path, str]]:
    """A control group that a process may be put in, and the file of its limit."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a control group")
    limit = _LIMITS[controller, version]
    mounted = next((mount for v, mount, _ in processor._hierarchies(controller) if v == version), None)
    if mounted is None:
        pytest.skip(f"this machine has no {controller} in control groups of version {version}")
    group = mounted / f"dlperf-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    try:
        if not (group / limit).exists():
            pytest.skip(f"this machine has no limits of {controller} in control groups of version {version}")
        yield group, limit
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    for _ in range(50):  # processes that were killed may not have left it yet
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.1)
