"""What a container costs, at toy size."""

from __future__ import annotations

import pytest

from benchmarks.container import overhead
from tests.benchmarks.conftest import Start
from tests.containers.conftest import image, why_no_engine

__all__ = ["image"]  # a fixture


@pytest.mark.slow
@pytest.mark.container
def test_pairs_are_measured_inside_and_outside(start: Start, request: pytest.FixtureRequest) -> None:
    if reason := why_no_engine():
        pytest.skip(reason)
    built = request.getfixturevalue("image")
    options = ("--image", built.name, "--pairs", 2, "--epochs", 2, "--train_examples", 64)
    figures = start("container", *options).written("overhead.json")["figures"]
    assert list(figures) == ["pair 1", "pair 2", "overhead"]
    for number in (1, 2):
        assert set(figures[f"pair {number}"]) == {"outside", "inside"}
        assert all(0 < seconds < 60 for seconds in figures[f"pair {number}"].values())
    assert figures["overhead"] == pytest.approx(overhead([figures["pair 1"], figures["pair 2"]]))


def test_the_overhead_is_the_share_that_an_epoch_takes_longer_inside() -> None:
    pairs = [{"outside": 2.0, "inside": 2.2}, {"outside": 4.0, "inside": 4.2}, {"outside": 1.0, "inside": 1.0}]
    figures = overhead(pairs)
    assert figures["median_of_pairs"] == pytest.approx(0.05)
    assert figures["mean_of_pairs"] == pytest.approx(0.05)
    assert figures["of_the_least"] == 0
    assert figures["mean_low"] < 0.05 < figures["mean_high"]
