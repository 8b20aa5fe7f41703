"""The notebook's way, which ours is measured against, does what the notebook did."""

from __future__ import annotations

import numpy as np

from benchmarks.notebook_way import cutout, flow, repeat_with_cutout


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (count, 32, 32, 3), dtype=np.uint8)


def test_a_square_is_masked_and_cut_off_at_the_border() -> None:
    image = images(1)[0].astype("float32")
    random = np.random.default_rng(0)
    sizes = set()
    for _ in range(200):
        masked = cutout(image, 12, random)
        gone = (masked == 0).all(axis=2)
        rows, columns = gone.any(axis=1).sum(), gone.any(axis=0).sum()
        assert gone.sum() == rows * columns
        np.testing.assert_array_equal(masked[~gone], image[~gone])
        sizes.add((int(rows), int(columns)))
    assert max(sizes) == (12, 12)
    assert min(rows for rows, _ in sizes) < 12


def test_copies_stand_together_each_with_a_mask_of_its_own() -> None:
    repeated = repeat_with_cutout(images(2), 3, 12)
    assert repeated.shape == (6, 32, 32, 3)
    assert repeated.dtype == np.float32
    unmasked = repeat_with_cutout(images(2), 0, 12)
    np.testing.assert_array_equal(unmasked, images(2).astype("float32") / 255)
    for number, copy in enumerate(repeated):
        kept = copy != 0
        np.testing.assert_array_equal(copy[kept], unmasked[number // 3][kept])
    assert not np.array_equal(repeated[0], repeated[1])


def test_batches_come_with_their_labels_for_ever() -> None:
    batches = flow(repeat_with_cutout(images(10), 1, 12), np.arange(10), batch_size=4)
    drawn = [next(batches) for _ in range(6)]  # two passes of 4, 4 and 2
    assert [len(labels) for _, labels in drawn] == [4, 4, 2, 4, 4, 2]
    assert sorted(label for _, labels in drawn[:3] for label in labels) == list(range(10))
    assert all(batch.shape[1:] == (32, 32, 3) and batch.min() >= 0 and batch.max() <= 1 for batch, _ in drawn)
