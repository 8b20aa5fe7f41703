"""The overhead of the project's loop at toy size, and a part of the benchmark that fails."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks.conftest import Start

TOY = ("--m", 2, "--images", 64, "--repeats", 2)


@pytest.mark.slow
def test_a_network_that_cannot_be_measured_leaves_the_other_ones_figures(start: Start) -> None:
    ended = start("overhead", "--depths", "8,7", *TOY)
    assert ended.exit_status == 1
    record = json.loads((ended.folder / "benchmark.json").read_text())
    figures = record["figures"].pop("ResNet-8")
    assert not record["figures"]
    assert figures["asked_for_at_most"] == 0.05
    assert figures["bare_cpu_seconds"] > 0
    assert figures["epoch_cpu_seconds"] > 0
    assert figures["lower_quartile"] <= figures["share"] <= figures["upper_quartile"] < 1
    assert figures["mean_low"] < figures["mean"] < figures["mean_high"]
    assert figures["share_of_least"] < 1
    assert "depth=7: must be 6n + 2" in record["failed"]["ResNet-7"]
    last = ended.stderr.splitlines()[-1]
    assert last == f"ResNet-7 failed: {record['failed']['ResNet-7']}"
    assert "Traceback" not in ended.stderr
    assert "ResNet-8" in (ended.folder / "benchmark.md").read_text()


def test_images_that_leave_a_smaller_batch_are_refused(start: Start) -> None:
    ended = start("overhead", "--images", 100)
    assert ended.exit_status == 2
    assert ended.stderr.splitlines()[-1].endswith("--images 100: must be a multiple of 64")
    assert not ended.folder.exists()
