"""What an output sees of its input, measured."""

from __future__ import annotations

import numpy as np
import pytest

from dlperf.keras_accounting.gradient_support import gradient_support, support_side
from dlperf.models.filter_stack import filter_stack
from dlperf.processor import cores
from dlperf.training.compiled_epoch import configure_runtime

# The layers below start the runtime, which tests of other files want configured.
configure_runtime(cores())


@pytest.mark.parametrize(
    ("layers_", "kernel", "size"),
    [
        *((3, 5, 32), (1, 13, 32), (2, 3, 9), (4, 2, 7), (1, 1, 3), (20, 2, 21)),
        (30, 5, 121),
    ],
)
def test_what_a_stack_sees_measured(layers_: int, kernel: int, size: int) -> None:
    seen = support_side(gradient_support(filter_stack(layers_, kernel, size, 3)))
    assert seen == layers_ * kernel - layers_ + 1


def test_a_support_that_is_no_square_is_refused() -> None:
    square = np.zeros((6, 6), bool)
    with pytest.raises(ValueError, match="not a full square"):
        support_side(square)
    square[1:4, 2:5] = True
    assert support_side(square) == 3
    square[2, 3] = False
    with pytest.raises(ValueError, match="not a full square"):
        support_side(square)
    square[1:5, 2:5] = True
    with pytest.raises(ValueError, match="not a full square"):
        support_side(square)
