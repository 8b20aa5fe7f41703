"""Scaling laws: definitions by hand, and fits that find the parameters that made the points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlperf.problems.scaling import laws
from dlperf.problems.scaling.laws import AMDAHL, GUSTAFSON, USL, Law, fit, ring_law

COUNTS = (1, 2, 4, 8, 16, 32)


def test_definitions_by_hand() -> None:
    """Strong: 8 s become 5 s on two workers. Weak: a step of twice the images takes 10 s instead of 8."""
    assert laws.speedup("strong", 8.0, 5.0, 2) == pytest.approx(1.6)
    assert laws.efficiency("strong", 8.0, 5.0, 2) == pytest.approx(0.8)
    assert laws.efficiency("weak", 8.0, 10.0, 2) == pytest.approx(0.8)  # t1 / tn
    assert laws.speedup("weak", 8.0, 10.0, 2) == pytest.approx(1.6)
    assert laws.serial_fraction(1.6, 2) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="workers=1"):
        laws.serial_fraction(1.0, 1)


def test_laws_at_known_points() -> None:
    def at(law: Law, n: float, *p: float) -> float:
        return float(law.curve(np.array([n]), np.array(p))[0])

    assert at(AMDAHL, 1e9, 0.05) == pytest.approx(20, rel=1e-3)  # 1 / f workers' worth at most
    assert at(GUSTAFSON, 64, 0.05) == pytest.approx(64 - 0.05 * 63)
    assert at(USL, 8, 0.05, 0.0) == pytest.approx(at(AMDAHL, 8, 0.05))  # without coherence it is Amdahl's law
    assert at(ring_law("strong", 1.0, 10**6), 4, 0.01, 1e-8) == pytest.approx(1 / (0.25 + 0.06 + 1.5e6 * 1e-8))
    assert at(ring_law("weak", 1.0, 10**6), 4, 0.01, 1e-8) == pytest.approx(4 / (1 + 0.06 + 1.5e6 * 1e-8))
    for law in (AMDAHL, GUSTAFSON, USL, ring_law("strong", 1.0, 8), ring_law("weak", 1.0, 8)):
        assert at(law, 1, *law.start) == pytest.approx(1.0)


@settings(max_examples=20)
@given(st.floats(0.0, 0.9))
def test_the_serial_share_is_found_by_one_point_and_by_a_fit(serial: float) -> None:
    speed_ups = {n: float(AMDAHL.curve(np.array([float(n)]), np.array([serial]))[0]) for n in COUNTS}
    assert laws.serial_fraction(speed_ups[8], 8) == pytest.approx(serial, abs=1e-9)
    found = fit(AMDAHL, {n: [value] for n, value in speed_ups.items()}, 64)
    assert found is not None
    assert found.values[0] == pytest.approx(serial, abs=1e-4)
    assert found.predicted[0] == pytest.approx(1 / (serial + (1 - serial) / 64), rel=1e-2)


def test_two_parameters_of_noisy_repeats() -> None:
    rng = np.random.default_rng(1)
    truth = np.array([0.04, 0.002])
    measured = {n: list(USL.curve(np.full(9, float(n)), truth) * rng.normal(1, 0.01, 9)) for n in COUNTS}
    found = fit(USL, measured, 16)
    assert found is not None
    for value, true, (low, high) in zip(found.values, truth, found.intervals, strict=True):
        assert value == pytest.approx(true, rel=0.25)
        assert low <= value <= high
    assert found.knee == pytest.approx(((1 - 0.04) / 0.002) ** 0.5, rel=0.15)
    assert found.predicted[1] <= found.predicted[0] <= found.predicted[2]
    assert fit(USL, measured, 16) == found  # resampled repeats follow from the random seed


def test_a_ring_of_known_latency_and_bandwidth() -> None:
    law = ring_law("weak", 0.2, 1_000_000)
    truth = np.array([2e-3, 5e-9])
    found = fit(law, {n: [float(law.curve(np.array([float(n)]), truth)[0])] for n in COUNTS}, 64)
    assert found is not None
    assert found.values == pytest.approx(truth, rel=0.05)
    assert found.knee is None


def test_too_few_numbers_of_workers_fit_anything() -> None:
    assert fit(AMDAHL, {1: [1.0], 2: [1.8]}, 16) is None
    assert fit(AMDAHL, {1: [1.0], 2: [1.8], 4: [3.0]}, 16) is not None
    assert fit(USL, {1: [1.0], 2: [1.8], 4: [3.0]}, 16) is None
