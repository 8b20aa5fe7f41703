"""Noisy samples of the eggholder function, the data of problem 5; drawn from a random seed, nothing is read.

NumPy only: neither TensorFlow nor MLflow.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlperf.data.dataset import Points, Samples

BOUND = 512
NOISE_STD = 0.3
EXAMPLES = 100_000


def eggholder(x1: ArrayLike, x2: ArrayLike) -> NDArray[np.float64]:
    """Return -(x2 + 47) sin sqrt|x1/2 + x2 + 47| - x1 sin sqrt|x1 - x2 - 47|, element by element, float64.

    On [-512, 512]^2 the minimum is -959.6407 at (512, 404.2319).
    """
    x1, raised = np.asarray(x1, np.float64), np.asarray(x2, np.float64) + 47
    return -raised * np.sin(np.sqrt(np.abs(x1 / 2 + raised))) - x1 * np.sin(np.sqrt(np.abs(x1 - raised)))


def draw(random_seed: int, *, continuous: bool, examples: int = EXAMPLES, validation_share: float = 0.0) -> Samples:
    """Draw points in [-512, 512]^2 and their values with normal noise of standard deviation 0.3.

    Args:
        random_seed: Points, noise and split follow from it.
        continuous: Uniform points (the assignment), else uniform integers, both ends included (the notebook).
        examples: Points in all.
        validation_share: Share of them that is neither trained nor tested on; a fifth is always for the test.
    """
    points, noise, order = (np.random.default_rng([random_seed, stream]) for stream in range(3))
    if continuous:
        inputs = points.uniform(-BOUND, BOUND, (examples, 2))
    else:
        inputs = points.integers(-BOUND, BOUND, (examples, 2), endpoint=True).astype(np.float64)
    targets = eggholder(inputs[:, 0], inputs[:, 1]) + noise.normal(scale=NOISE_STD, size=examples)
    shuffled = order.permutation(examples)
    tested = examples // 5
    validated = round(examples * validation_share)
    inputs, targets = inputs[shuffled], targets[shuffled]
    content = hashlib.sha256()
    splits = []
    for begin, end in pairwise((0, examples - tested - validated, examples - tested, examples)):
        split = Points(inputs[begin:end], targets[begin:end])
        for array in (split.inputs, split.targets):
            content.update(array.astype("<f8").tobytes())
            array.setflags(write=False)
        splits.append(split)
    train, validation, test = splits
    return Samples("eggholder", train, validation, test, content.hexdigest()[:16], "drawn from random_seed")
