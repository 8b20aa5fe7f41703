"""CPU time per augmented image, at toy size; its JSON is read in the test of benchmarks.cutout."""

from __future__ import annotations

import pytest

from tests.benchmarks.conftest import Start


@pytest.mark.slow
def test_the_table_has_a_time_of_every_way_the_ratios_and_what_was_asked_for(start: Start) -> None:
    ended = start("augmentation", "--m", 2, "--images", 128, "--seconds", 0.1, "--batches", 2, output=False)
    assert ended.exit_status == 0, ended.stderr[-3000:]
    assert "m=2, threads=1" in ended.stdout
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in ended.stdout.splitlines() if "│" in line]
    reference, *ours = cells
    assert reference[0].startswith("the notebook's")
    assert 0 < float(reference[1]) < 100_000
    assert [row[0].split(":")[0] for row in ours] == ["notebook", "corrected"]
    assert [row[3] for row in ours] == ["10", "20"]
    for _, microseconds, ratio, _ in ours:
        assert float(ratio) == pytest.approx(float(reference[1]) / float(microseconds), rel=0.01)
