"""Training time per augmented image, at toy size; the test of benchmarks.cutout starts the notebook's way too."""

from __future__ import annotations

import pytest

from tests.benchmarks.conftest import Start


@pytest.mark.slow
def test_a_way_has_wall_and_cpu_time_per_image(start: Start) -> None:
    figures = start(
        "training_speed", "ours", "--depth", 8, "--m", 1, "--images", 64, "--repeats", 1, output=False
    ).printed
    assert set(figures) == {"wall_ms_per_image", "cpu_ms_per_image", "warm_up_seconds", "cores"}
    assert all(value > 0 for value in figures.values())
    # One epoch of 64 images after tracing and compiling.
    assert figures["wall_ms_per_image"] * 64 / 1000 < figures["warm_up_seconds"]
