"""Closed forms of multilayer perceptrons, those of problem 5 first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product


def networks(max_units: int = 512, max_layers: int = 3, smallest: int = 16) -> list[tuple[int, ...]]:
    """Return the units of every network of powers of two, by depth: 143 with the defaults.

    Args:
        max_units: Hidden units in all, at most. (The assignment says both "does not exceed" and "less than" 512; like
            the notebook's, this bound is included.)
        max_layers: Hidden layers, at most.
        smallest: Units of a hidden layer, at least.
    """
    widths = [2**n for n in range(max_units.bit_length()) if smallest <= 2**n <= max_units]
    grids = (product(widths, repeat=depth) for depth in range(1, max_layers + 1))
    return [units for grid in grids for units in grid if sum(units) <= max_units]


def multiplications(units: Sequence[int], features: int = 2, outputs: int = 1) -> int:
    """Scalar multiplications of one forward pass of one example, those of batch normalisation left out."""
    return sum(a * b for a, b in pairwise([features, *units, outputs]))


def num_params(units: Sequence[int], features: int = 2) -> int:
    """Parameters with biases and with batch normalisation (four per input) before hidden layers 2, 3, ..."""
    dense = sum(a * b + b for a, b in pairwise([features, *units, 1]))
    return dense + 4 * sum(units[:-1])
