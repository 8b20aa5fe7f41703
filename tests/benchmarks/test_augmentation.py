"""CPU time per augmented image, at toy size."""

from __future__ import annotations

import pytest

from tests.benchmarks.conftest import Start

TOY = ("--m", 2, "--images", 128, "--seconds", 0.1, "--batches", 2)


@pytest.mark.slow
def test_every_way_has_a_time_per_image(start: Start) -> None:
    figures = start("augmentation", *TOY, "--json", output=False).printed
    assert set(figures) == {"notebook_way", "notebook", "corrected"}
    assert all(0 < microseconds < 100_000 for microseconds in figures.values())
    # Vectorised, it takes a tenth at full size; a toy batch more, but never as much as image by image.
    assert figures["notebook"] < figures["notebook_way"]


@pytest.mark.slow
def test_the_table_shows_the_ratios_and_what_was_asked_for(start: Start) -> None:
    ended = start("augmentation", *TOY, output=False)
    assert ended.exit_status == 0, ended.stderr
    for shown in ("ImageDataGenerator", "notebook protocol", "corrected protocol", "times less", "m=2, 1 thread"):
        assert shown in ended.stdout
