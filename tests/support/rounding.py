"""How far two float32 computations of the same thing may differ by rounding alone, on any machine.

A float32 sum of n products is off by at most n u of the sum of their sizes, u = 2^-24 (Higham, Accuracy and Stability
of Numerical Algorithms, 2002, section 3.1), and by CERTAINTY sqrt(n) u but for one case in 10^5, since roundings go up
as often as down (Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis, 2019: the bound fails with a
probability of 2 exp(-CERTAINTY^2 / 2)). The order of a sum, the width of vectors (AVX2, AVX-512), fused multiply-adds,
threads and libraries (oneDNN, Eigen, XLA) decide which roundings are made and not how many: the bound is the same with
each of them, where the difference seen on one machine says nothing about the next.

What one step of training leaves is where the next one begins, so the errors of steps add up. They do no more than that
only where training is well conditioned, and a test has to see to it: Adam and its kin divide by the size of a gradient
and make a step of full length of one that is nothing but rounding, unless their epsilon is above that; a large learning
rate makes a large step of the ReLU that rounding has switched on or off.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

UNIT = 2.0**-24
CERTAINTY = 5.0


def tolerance(terms: int, *, steps: int = 1) -> float:
    """Return how far two computations may differ, relative to the sum of the sizes of what is summed.

    Args:
        terms: Products in the longest sum.
        steps: Such sums one after another, each going on from the one before.
    """
    return 2 * CERTAINTY * UNIT * terms**0.5 * steps


def assert_trained_alike(
    ours: Sequence[NDArray[np.float32]],
    theirs: Sequence[NDArray[np.float32]],
    start: Sequence[NDArray[np.float32]],
    *,
    terms: int,
    steps: int,
) -> None:
    """Assert that two trainings have led to the same weights, but for rounding.

    Gradients have the error, so that it goes by how far training has moved the weights of an array; adding a step to a
    weight rounds the weight too.

    Args:
        ours: Weights, float32 arrays.
        theirs: Weights to compare them with.
        start: Weights that both have started from.
        terms: Products in the longest sum of a step.
        steps: Steps of training.
    """
    for index, (mine, other, first) in enumerate(zip(ours, theirs, start, strict=True)):
        moved = np.abs(other - first).max()
        allowed = moved * tolerance(terms, steps=steps) + np.abs(other).max() * 2 * UNIT * steps
        np.testing.assert_allclose(mine, other, rtol=0, atol=allowed, err_msg=f"weights {index}")
