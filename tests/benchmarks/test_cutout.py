"""The cutout problem beside the notebook's way, at toy size: every part, and the processes that it starts."""

from __future__ import annotations

import pytest

from tests.benchmarks.conftest import Start


@pytest.mark.slow
def test_every_part_has_its_rows(start: Start) -> None:
    small = ("--augmented_images", 64, "--augmentation_seconds", 0.1, "--trained_images", 64, "--images", 192)
    ended = start("cutout", "--m", 1, "--depth", 8, "--repeats", 1, "--memory_m", 1, *small)
    figures = ended.written()["figures"]
    assert list(figures) == ["augmentation", "training", "memory"]
    assert [row["augmentation, m=1"] for row in figures["augmentation"]] == ["protocol=notebook", "protocol=corrected"]
    assert [row["asked for"] for row in figures["augmentation"]] == [10, 20]
    # Vectorised, it takes a tenth or less at full size, and never as much as image by image.
    assert all(row["times less"] > 1 for row in figures["augmentation"])
    measured = [row["training ResNet-8, m=1"] for row in figures["training"]]
    assert measured == ["wall ms per image", "cpu ms per image", "warm up seconds"]
    assert all(row["ratio"] > 0 for row in figures["training"])
    (memory,) = figures["memory"]
    assert memory.pop("m") == 1
    assert len(memory) == 3
    assert all(200 < megabytes < 5000 for megabytes in memory.values())
    for table in ("augmentation, m=1", "training ResNet-8, m=1", "notebook's way, 192 images (MB)"):
        assert table in (ended.folder / "benchmark.md").read_text()
