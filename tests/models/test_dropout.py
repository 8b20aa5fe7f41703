"""Dropout whose masks are a hash of the step."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from dlperf.counter_hash import hashed
from dlperf.models.dropout import HashedDropout
from dlperf.models.mlp import classifying_mlp
from tests.support.rounding import tolerance

ONES = np.ones((128, 1000), "float32")


def mask(rate: float, seed: int, step: int) -> np.ndarray:
    layer = HashedDropout(rate, seed, lambda: keras.ops.convert_to_tensor(step))
    out = np.asarray(layer(ONES, training=True))
    kept = out != 0
    np.testing.assert_allclose(out[kept], 1 / (1 - rate), rtol=1e-6)
    return kept


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5])
def test_keeps_the_share_and_scales_it(rate: float) -> None:
    kept = np.mean([mask(rate, 1, step).mean() for step in range(10)])
    assert kept == pytest.approx(1 - rate, abs=5 * (rate * (1 - rate) / (10 * ONES.size)) ** 0.5 + 1e-12)


def test_masks_are_independent_of_each_other() -> None:
    """Of two steps, two layers, two rows, two columns: correlations as small as chance."""
    one, next_step, other_layer = mask(0.5, 1, 7), mask(0.5, 1, 8), mask(0.5, 2, 7)
    pairs = [(one, next_step), (one, other_layer), (one[:-1], one[1:]), (one[:, :-1], one[:, 1:])]
    for a, b in pairs:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / ONES.size**0.5


def test_the_mask_follows_from_seed_and_step() -> None:
    assert np.array_equal(mask(0.5, 1, 7), mask(0.5, 1, 7))


def test_every_row_and_unit_is_dropped_as_often() -> None:
    total = sum(mask(0.5, 3, step).astype(int) for step in range(40))
    for axis in (0, 1):
        counts = total.sum(axis)
        expected = 40 * ONES.shape[axis] / 2
        assert np.all(np.abs(counts - expected) < 6 * (expected / 2) ** 0.5)


def test_nothing_is_dropped_in_inference() -> None:
    layer = HashedDropout(0.5, 1, lambda: keras.ops.convert_to_tensor(1))
    assert np.array_equal(layer(ONES, training=False), ONES)
    with pytest.raises(ValueError, match="rate=1"):
        HashedDropout(1.0, 1, lambda: 0)


def test_the_hash_is_murmurs() -> None:
    """By hand in Python's integers."""

    def finalized(h: int) -> int:
        h ^= h >> 16
        h = h * 0x85EBCA6B % 2**32
        h ^= h >> 13
        h = h * 0xC2B2AE35 % 2**32
        return h ^ h >> 16

    def by_hand(*words: int) -> int:
        bits = 0
        for word in words:
            bits = finalized((bits + word + 0x9E3779B9) % 2**32)
        return bits

    for words in ((0,), (1, 2, 3), (2**32 - 1, 5), (7, 2**31)):
        assert int(hashed(*words)) == by_hand(*words)
    assert list(np.asarray(hashed(1, np.arange(4)))) == [by_hand(1, i) for i in range(4)]


def test_the_assignments_network() -> None:
    """4,084,010 parameters; dropout on the input and after *each* hidden layer; the penalty on kernels and biases."""

    def build(dropout: bool, *, own: bool) -> keras.Model:
        return classifying_mlp(
            (1000, 1000), random_seed=0, features=3072, classes=10, l2=0.01,
            dropout=(0.2, 0.5) if dropout else None, step=(lambda: 0) if own else None,
        )  # fmt: skip

    plain, hashing, keras_own = build(False, own=True), build(True, own=True), build(True, own=False)
    assert [m.count_params() for m in (plain, hashing, keras_own)] == [4_084_010] * 3
    assert sum(isinstance(layer, HashedDropout) for layer in hashing.layers) == 3
    rates = [layer.rate for layer in keras_own.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.2, 0.5, 0.5]
    kinds = [type(layer).__name__ for layer in hashing.layers[1:]]
    assert kinds == ["HashedDropout", "Dense", "HashedDropout", "Dense", "HashedDropout", "Dense"]
    for a, b in zip(plain.get_weights(), hashing.get_weights(), strict=True):
        assert np.array_equal(a, b)
    squares = sum(float((w.astype("float64") ** 2).sum()) for w in plain.get_weights()[:4])
    assert float(sum(plain.losses)) == pytest.approx(0.01 * squares, rel=tolerance(3072))
    assert float(sum(plain.losses)) == pytest.approx(25.1, abs=0.2)  # what the notebook's loss starts with
    biases = [1.0 if w.ndim == 1 else 0.0 for w in plain.get_weights()]
    plain.set_weights([np.full_like(w, b) for w, b in zip(plain.get_weights(), biases, strict=True)])
    assert float(sum(plain.losses)) == pytest.approx(0.01 * 2000)
