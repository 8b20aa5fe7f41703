"""The embedded digits: split, format, and the enlargement against a slow one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.datasets import load_digits

from dlperf import data
from dlperf.data import digits
from dlperf.data.dataset import Dataset, digest_of
from dlperf.errors import BadInput

GOLDEN_DIGEST = "a5ae55ac2daa77ab"


def enlarge_slowly(scan: np.ndarray) -> np.ndarray:
    """Bilinear interpolation at one large pixel after another, in exact fractions of 1/1024 of the grey range."""
    result = np.zeros((32, 32), np.uint8)
    for row in range(32):
        for column in range(32):
            y, x = (min(max((at + 0.5) / 4 - 0.5, 0.0), 7.0) for at in (row, column))
            top, left = min(int(y), 6), min(int(x), 6)
            down, right = y - top, x - left
            value = (
                scan[top, left] * (1 - down) * (1 - right)
                + scan[top, left + 1] * (1 - down) * right
                + scan[top + 1, left] * down * (1 - right)
                + scan[top + 1, left + 1] * down * right
            )
            result[row, column] = math.floor(value * 255 / 16 + 0.5)
    return result


@given(arrays.arrays(np.uint8, (2, 8, 8), elements=st.integers(0, 16)))
def test_enlarge_equals_the_slow_way(scans):
    large = digits.enlarge(scans)
    assert large.shape == (2, 32, 32, 3)
    assert large.dtype == np.uint8
    for scan, image in zip(scans, large, strict=True):
        for channel in range(3):
            np.testing.assert_array_equal(image[..., channel], enlarge_slowly(scan.astype(float)))


def test_enlarge_uses_the_whole_range():
    flat = np.stack([np.full((8, 8), value) for value in (0, 16)])
    assert [np.unique(image).tolist() for image in digits.enlarge(flat)] == [[0], [255]]


def test_contract_and_sizes():
    dataset = data.load("digits")
    assert (dataset.train_inputs.shape, dataset.train_inputs.dtype) == ((1_437, 32, 32, 3), np.uint8)
    assert (dataset.train_labels.shape, dataset.train_labels.dtype) == ((1_437,), np.int32)
    assert (dataset.test_inputs.shape, dataset.test_labels.shape) == ((360, 32, 32, 3), (360,))
    assert data.facts("digits").train == len(dataset.train_labels)
    assert len(dataset.test_labels) == digits.TEST_SIZE
    assert dataset.label_names == tuple("0123456789")
    assert data.load("digits") is dataset


def test_every_scan_is_in_one_split_in_its_order():
    scans = load_digits()
    dataset = data.load("digits")
    train, test = iter(range(digits.TRAIN_SIZE)), iter(range(digits.TEST_SIZE))
    rank = sorted(range(1_797), key=lambda index: (scans.target[index], index))
    tested = set(rank[::5])
    for index, image in enumerate(digits.enlarge(scans.images)):
        if index in tested:
            at = next(test)
            np.testing.assert_array_equal(dataset.test_inputs[at], image)
            assert dataset.test_labels[at] == scans.target[index]
        else:
            at = next(train)
            np.testing.assert_array_equal(dataset.train_inputs[at], image)
            assert dataset.train_labels[at] == scans.target[index]


def test_both_splits_hold_every_digit_in_proportion():
    dataset = data.load("digits")
    share = np.bincount(dataset.test_labels) / np.bincount(load_digits().target)
    np.testing.assert_allclose(share, 0.2, atol=0.006)


def test_the_digest_is_the_same_on_every_machine():
    assert data.load("digits").digest == GOLDEN_DIGEST


def test_check():
    data.check("digits", "", 0)
    data.check("digits", "", 1_437)
    with pytest.raises(BadInput, match=r"must be 0 \(all\) to 1437"):
        data.check("digits", "", 1_438)
    with pytest.raises(BadInput, match="must be left out with dataset=digits") as caught:
        data.check("digits", "somewhere", 0)
    assert caught.value.parameter == "data_dir"


class TestDataset:
    def parts(self, **changed):
        images, labels = np.zeros((2, 32, 32, 3), np.uint8), np.zeros(2, np.int32)
        parts = {"train_inputs": images, "train_labels": labels, "test_inputs": images, "test_labels": labels}
        return {"name": "x", "label_names": ("a", "b"), "source": "here"} | parts | changed

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"train_inputs": np.zeros((2, 32, 32, 3))}, "train_inputs is float64"),
            ({"test_inputs": np.zeros((2, 3, 32, 32), np.uint8)}, "test_inputs is "),
            ({"test_inputs": np.zeros((2, 32, 32, 3), np.float32)}, "test_inputs is float32"),
            ({"test_labels": np.zeros(2, np.int64)}, "test_labels is int64"),
            ({"train_labels": np.zeros(3, np.int32)}, "train_labels is int32"),
            ({"train_labels": np.array([0, 2], np.int32)}, "train_labels must be 0 to 1"),
            ({"test_labels": np.array([0, -1], np.int32)}, "test_labels must be 0 to 1"),
        ],
    )
    def test_arrays_outside_the_contract_are_refused(self, changed, message):
        with pytest.raises(ValueError, match=message):
            Dataset.build(**self.parts(**changed))

    def test_the_digest_sees_shapes_order_and_content_but_no_byte_order(self):
        zeros, ones = np.zeros((2, 3), np.int32), np.ones((2, 3), np.int32)
        assert digest_of(zeros, ones) == digest_of(zeros.astype(">i4"), ones.astype("<i4"))
        different = [digest_of(*arrays) for arrays in ((zeros, ones), (ones, zeros), (zeros.T, ones), (zeros,))]
        assert len(set(different)) == 4
