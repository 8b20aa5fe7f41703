"""Two workers in network namespaces of their own, joined by a cable of limited bandwidth: two hosts, one machine."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.collectives import why_not
from tests.benchmarks.conftest import Start

QUICK = ["--model", "convnet", "--train_examples", "600"]


@pytest.mark.slow
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_the_all_reduce_takes_what_the_cable_lets_through(start: Start) -> None:
    """98 kB of gradients: at 4 Mbit/s the ring of two, in which each sends all of them once, needs 0.2 seconds.

    The first 64 kB of a round may go out at once: of ten steps at most one is for free, on however slow a machine. A
    collective that fails leaves the figures of the other.
    """
    measured = ("--steps", 10, "--limits", ",4mbit", "--collectives", "star,ring")
    ended = start("collectives", *measured, "--", *QUICK)
    assert ended.exit_status == 1
    failed = [line for line in ended.stderr.splitlines() if " failed: " in line]
    assert [line.partition(" failed: ")[0] for line in failed] == ["star, limit none", "star, limit 4mbit"]
    assert all("collective=star" in line for line in failed)
    free, limited = pd.read_csv(ended.folder / "collectives.csv").to_dict("records")
    assert [(row["collective"], row["limit"]) for row in (free, limited)] == [("ring", "none"), ("ring", "4mbit")]
    assert 0 < free["all_reduce_seconds"] < 0.05
    assert free["all_reduce_seconds"] < free["step_seconds"]
    assert 0.1 < limited["all_reduce_seconds"] < 1.0
    assert limited["step_seconds"] > 0.8 * 98_000 * 8 / 4e6
    assert (ended.folder / "collectives.png").stat().st_size > 1000
