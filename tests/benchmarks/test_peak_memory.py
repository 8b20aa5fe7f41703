"""Peak memory of a few steps, at toy size; the test of benchmarks.cutout starts the other ways too."""

from __future__ import annotations

import pytest

from tests.benchmarks.conftest import Start


@pytest.mark.slow
def test_a_way_has_a_peak_that_holds_its_libraries(start: Start) -> None:
    figures = start("peak_memory", "batch", "--depth", 8, "--m", 2, "--images", 192, output=False).printed
    assert set(figures) == {"peak_memory_mb"}
    assert 200 < figures["peak_memory_mb"] < 5000
