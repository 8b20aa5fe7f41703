"""Two workers in network namespaces of their own, joined by a cable of limited bandwidth: two hosts, one machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from benchmarks.collectives import measure

MISSING = [program for program in ("ip", "tc", "taskset") if not shutil.which(program)]


@pytest.mark.slow
@pytest.mark.skipif(
    bool(MISSING) or os.geteuid() != 0, reason="needs root, iproute2 and taskset for network namespaces"
)
def test_the_all_reduce_takes_what_the_cable_lets_through(tmp_path: Path) -> None:
    """98 kB of gradients: at 4 Mbit/s the ring of two, in which each sends all of them once, needs 0.2 seconds."""
    quick = ["--model", "convnet", "--train_examples", "600"]
    free = measure("ring", "", 3, str(tmp_path / "free"), *quick)
    limited = measure("ring", "4mbit", 3, str(tmp_path / "limited"), *quick)
    assert float(str(free["all_reduce_seconds"])) < 0.05
    assert 0.1 < float(str(limited["all_reduce_seconds"])) < 1.0
    assert float(str(limited["step_seconds"])) > 0.8 * float(str(limited["all_reduce_seconds"]))
