"""Two workers in network namespaces of their own, joined by a cable of limited bandwidth: two hosts, one machine."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.collectives import measure, why_not
from tests.benchmarks.conftest import Start

QUICK = ["--model", "convnet", "--train_examples", "600"]
needs_two_hosts = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.mark.slow
@needs_two_hosts
def test_the_all_reduce_takes_what_the_cable_lets_through(tmp_path: Path) -> None:
    """98 kB of gradients: at 4 Mbit/s the ring of two, in which each sends all of them once, needs 0.2 seconds.

    The first 64 kB of a round may go out at once: of ten steps at most one is for free, on however slow a machine.
    """
    free = measure("ring", "", 10, str(tmp_path / "free"), *QUICK)
    limited = measure("ring", "4mbit", 10, str(tmp_path / "limited"), *QUICK)
    assert float(str(free["all_reduce_seconds"])) < 0.05
    assert 0.1 < float(str(limited["all_reduce_seconds"])) < 1.0
    assert float(str(limited["step_seconds"])) > 0.8 * 98_000 * 8 / 4e6


@pytest.mark.slow
@needs_two_hosts
def test_a_collective_that_fails_leaves_the_figures_of_the_others(start: Start) -> None:
    ended = start("collectives", "--steps", 1, "--limits", "", "--collectives", "star,ring", "--", *QUICK)
    assert ended.exit_status == 1
    assert ended.stderr.splitlines()[-1].startswith("star, limit none failed: ")
    assert "collective=star" in ended.stderr.splitlines()[-1]
    (row,) = pd.read_csv(ended.folder / "collectives.csv").to_dict("records")
    assert (row["collective"], row["limit"]) == ("ring", "none")
    assert 0 < row["all_reduce_seconds"] < row["step_seconds"]
    assert (ended.folder / "collectives.png").stat().st_size > 1000
