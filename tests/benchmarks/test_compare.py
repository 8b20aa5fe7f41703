"""Whole starts of `compare` over a small store."""

from __future__ import annotations

import pytest

from tests.benchmarks.conftest import Start


@pytest.mark.slow
def test_a_problem_is_compared_from_final_metrics_and_with_every_figure(start: Start) -> None:
    record = start("compare", "--trials", 6, "--repeats", 1, "--problems", "architectures").written()
    figures = record["figures"]
    assert record["environment"]["trials_of_each"] == 6
    assert figures.pop("store") == {"trials": 6}
    assert list(figures) == ["architectures, final metrics", "architectures, all figures"]
    for part in figures.values():
        assert part["cpu_seconds"] > 0
        assert 0 < part["wall_seconds"] < 600
        assert 50 < part["peak_memory_mb"] < 5000


def test_a_problem_that_is_none_is_refused(start: Start) -> None:
    ended = start("compare", "--problems", "cutuot")
    assert ended.exit_status == 2
    assert "--problems cutuot: must be of " in ended.stderr.splitlines()[-1]
