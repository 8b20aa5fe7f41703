from __future__ import annotations

import math

import numpy as np
import pytest

from dlperf.data.eggholder import NOISE_STD, draw, eggholder


def test_the_published_minimum() -> None:
    assert eggholder(512, 404.2319) == pytest.approx(-959.6407, abs=1e-4)
    rng = np.random.default_rng(0)
    assert eggholder(*rng.uniform(-512, 512, (2, 100_000))).min() >= -959.6408


def test_the_formula_point_by_point() -> None:
    for x1, x2 in ((0, 0), (-512, 512), (3.5, -47), (100, 53)):
        left = -(x2 + 47) * math.sin(math.sqrt(abs(x1 / 2 + (x2 + 47))))
        right = x1 * math.sin(math.sqrt(abs(x1 - (x2 + 47))))
        assert eggholder(x1, x2) == pytest.approx(left - right, rel=1e-12)


def test_the_notebooks_points_are_integers_with_both_ends() -> None:
    samples = draw(0, continuous=False)
    inputs = np.concatenate([samples.train.inputs, samples.test.inputs])
    assert (samples.train.inputs.shape, samples.test.inputs.shape) == ((80_000, 2), (20_000, 2))
    assert samples.validation.inputs.shape == (0, 2)
    assert (inputs == np.round(inputs)).all()
    assert (inputs.min(), inputs.max()) == (-512, 512)
    targets = np.concatenate([samples.train.targets, samples.test.targets])
    assert targets.mean() == pytest.approx(-4.13, abs=4)
    assert targets.std() == pytest.approx(298.36, rel=0.01)


def test_noise_and_splits() -> None:
    samples = draw(3, continuous=True, validation_share=0.1)
    sizes = [len(samples.train.targets), len(samples.validation.targets), len(samples.test.targets)]
    assert sizes == [70_000, 10_000, 20_000]
    noise = samples.train.targets - eggholder(samples.train.inputs[:, 0], samples.train.inputs[:, 1])
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.std() == pytest.approx(NOISE_STD, rel=0.02)
    seen = {tuple(point) for point in samples.train.inputs}
    assert not seen & {tuple(point) for point in samples.test.inputs}


def test_everything_follows_from_the_random_seed() -> None:
    one, same, other = (draw(seed, continuous=True, examples=1000) for seed in (1, 1, 2))
    assert one.digest == same.digest != other.digest
    assert np.array_equal(one.train.inputs, same.train.inputs)
    with pytest.raises(ValueError, match="read-only"):
        one.train.inputs[0] = 0
