"""Problem 1's epoch and memory beside `fit`, at toy size."""

from __future__ import annotations

import pytest

from tests.benchmarks.conftest import Start


@pytest.mark.slow
def test_every_part_has_both_ways(start: Start) -> None:
    small = ("--images", 256, "--epochs", 1, "--repeats", 1, "--memory_images", 20_000)
    ended = start("optimizers", "--optimizers", "adam", *small)
    figures = ended.written()["figures"]
    assert list(figures) == ["adam, without dropout", "adam, with dropout", "memory"]
    memory = figures.pop("memory")
    for part in figures.values():
        assert part["images"] == 256
        assert part["ratio"] == part["fit_seconds"] / part["our_seconds"] > 0
    # 17,440 more images of 3,072 numbers: float32 beside uint8, held once at least.
    assert memory["fit_mb"] > 4 * 17_440 * 3_072 / 1e6
    assert memory["our_mb"] > 0.5 * 17_440 * 3_072 / 1e6
    assert memory["ratio"] == memory["fit_mb"] / memory["our_mb"] > 1
