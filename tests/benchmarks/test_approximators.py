"""Problem 5's epoch beside `fit` and the floor of its multiplications, at toy size; the sample by itself."""

from __future__ import annotations

import pytest

from benchmarks.approximators import floor_seconds, sample
from dlperf.accounting.mlp import networks
from tests.benchmarks.conftest import Start


@pytest.mark.slow
def test_one_network_has_both_ways_and_the_floor(start: Start) -> None:
    record = start("approximators", "--every", 143, "--epochs", 1, "--repeats", 1).written()
    figures = record["figures"]
    assert list(figures) == ["repeat 1", "networks", "epoch of the sweep"]
    (row,) = figures["networks"]
    (units,) = sample(143)
    assert row["units"] == ",".join(map(str, units))
    assert figures["repeat 1"]["fit_seconds"] == {row["units"]: row["fit_seconds"]}
    assert 0 < row["floor_core_seconds"] < row["our_core_seconds"]
    assert row["ratio_one_worker"] == row["fit_seconds"] / row["our_core_seconds"]
    sweep = figures["epoch of the sweep"]
    assert sweep["fit_seconds"] == pytest.approx(143 * row["fit_seconds"])
    assert sweep["core_rate_multiplications_per_second"] > 1e8


def test_the_sample_has_every_depth_and_the_floor_counts_three_passes() -> None:
    assert sample(1) == sorted(sample(1), key=len)
    assert set(sample(1)) == set(networks())
    assert {len(units) for units in sample(10)} == {1, 2, 3}
    # 2 inputs, 16 hidden units, 1 output: 48 multiplications forward, in training 48 + 48 + 16 (no gradient of the
    # inputs); 80,000 examples are trained on and 20,000 validated.
    assert floor_seconds((16,), 1.0) == 80_000 * (48 + 48 + 16) + 20_000 * 48
