"""oneDNN on beside off, at toy size: training and evaluation of both networks, each choice in a process of its own."""

from __future__ import annotations

import pytest

from tests.benchmarks.conftest import Start


@pytest.mark.slow
def test_both_networks_have_both_passes(start: Start) -> None:
    record = start("onednn", "--depth", 8, "--images", 250, "--epochs", 1, "--repeats", 1).written()
    assert list(record["figures"]) == ["ResNet-8", "MLP"]
    for rows in record["figures"].values():
        assert [row["pass"] for row in rows] == ["training", "evaluation"]
        for row in rows:
            ratio = row["off, cpu ms per image"] / row["on, cpu ms per image"]
            assert row["off over on, cpu"] == ratio > 0
