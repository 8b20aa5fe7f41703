"""One update for all weights against Keras's own, variable by variable: equal bits, and a state that is the same."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlperf.training.vector_update import VectorUpdate

Rule = Callable[[], keras.optimizers.Optimizer]
RULES: dict[str, Rule] = {
    "adam": lambda: keras.optimizers.Adam(0.01),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "sgd": lambda: keras.optimizers.SGD(0.1),
}
SHAPES = st.lists(st.lists(st.integers(1, 5), max_size=3).map(tuple), min_size=1, max_size=5)


def variables(shapes: list[tuple[int, ...]]) -> list[keras.Variable]:
    rng = np.random.default_rng(0)
    return [keras.Variable(rng.normal(size=shape).astype("float32")) for shape in shapes]


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=10)
@given(shapes=SHAPES)
def test_equals_keras_variable_by_variable(rule: str, shapes: list[tuple[int, ...]]) -> None:
    ours, theirs = variables(shapes), variables(shapes)
    whole, each = RULES[rule](), RULES[rule]()
    update = VectorUpdate(whole, ours)
    each.build(theirs)
    assert update.size == sum(int(np.prod(shape)) for shape in shapes)
    rng = np.random.default_rng(1)
    for step in range(4):
        gradients = [rng.normal(size=shape).astype("float32") * 10.0**-step for shape in shapes]
        update.apply(update.vector(gradients))
        each.apply(gradients, theirs)
    for own, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(own.numpy(), other.numpy())
    state = update.state()
    assert list(state) == [f"optimizer_{i}" for i in range(len(each.variables))]
    for array, variable in zip(state.values(), each.variables, strict=True):
        np.testing.assert_array_equal(array, variable.numpy())


@pytest.mark.parametrize("rule", RULES)
def test_goes_on_from_a_state(rule: str) -> None:
    shapes = [(3, 2), (), (4,)]
    gradient = np.random.default_rng(1).normal(size=11).astype("float32")
    first, second = (VectorUpdate(RULES[rule](), variables(shapes)) for _ in range(2))
    first.apply(gradient)
    second.restore(first.state())
    for name, array in first.state().items():
        np.testing.assert_array_equal(array, second.state()[name])
