"""One and several steps of every update rule against NumPy oracles of the published equations."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest

from dlperf.problems.optimizers.parameters import OptimizersParameters
from dlperf.problems.optimizers.rmsprop_nesterov import RMSpropNesterov
from dlperf.problems.optimizers.tables import rule_table
from dlperf.problems.optimizers.update_rules import NOTEBOOK_RULES, RULES, documentation, rule
from dlperf.training import notebook_optimizers
from tests.support.rounding import UNIT, tolerance

RATE, EPSILON = 0.01, 1e-7
STEPS = 50
RNG = np.random.default_rng(0)
START = np.zeros(5)  # so that weights are what the steps have added up to, without the rounding of a larger number
# From gradients beside which epsilon is nothing to some whose squares it exceeds, where it matters on which side of the
# root it stands.
GRADIENTS = RNG.normal(size=(STEPS, 5)) * np.array([1.0, 1e-2, 1e-4, 1e-6, 1e-7])
KERAS_CLASSES = {"adagrad": "Adagrad", "rmsprop": "RMSprop", "nadam": "Nadam", "adadelta": "Adadelta", "adam": "Adam"}

Weights = Iterator[np.ndarray]


def adagrad(w: np.ndarray) -> Weights:
    total = np.full_like(w, 0.1)
    for g in GRADIENTS:
        total = total + g**2
        w = w - RATE * g / np.sqrt(total + EPSILON)
        yield w


def rmsprop(w: np.ndarray) -> Weights:
    r = np.zeros_like(w)
    for g in GRADIENTS:
        r = 0.9 * r + 0.1 * g**2
        w = w - RATE * g / np.sqrt(r + EPSILON)
        yield w


def notebook_adagrad(w: np.ndarray) -> Weights:
    total = np.full_like(w, 0.1)
    for g in GRADIENTS:
        total = total + g**2
        w = w - RATE * g / (np.sqrt(total) + EPSILON)
        yield w


def notebook_rmsprop(w: np.ndarray) -> Weights:
    r = np.zeros_like(w)
    for g in GRADIENTS:
        r = 0.9 * r + 0.1 * g**2
        w = w - RATE * g / (np.sqrt(r) + EPSILON)
        yield w


def rmsprop_nesterov(w: np.ndarray) -> Weights:
    r = v = np.zeros_like(w)
    for g in GRADIENTS:
        r = 0.9 * r + 0.1 * g**2
        v = 0.9 * v - RATE * g / np.sqrt(r + EPSILON)
        w = w + 0.9 * v - RATE * g / np.sqrt(r + EPSILON)
        yield w


def nadam(w: np.ndarray, decay: float = 1.0) -> Weights:
    m = v = np.zeros_like(w)
    mu = [0.9 * (1 - 0.5 * 0.96 ** (decay * t)) for t in range(STEPS + 3)]
    for t, g in enumerate(GRADIENTS, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        ahead = mu[t + 1] * m / (1 - np.prod(mu[1 : t + 2])) + (1 - mu[t]) * g / (1 - np.prod(mu[1 : t + 1]))
        w = w - RATE * ahead / (np.sqrt(v / (1 - 0.999**t)) + EPSILON)
        yield w


def notebook_nadam(w: np.ndarray) -> Weights:
    return nadam(w, decay=0.004)


def adadelta(w: np.ndarray) -> Weights:
    r = s = np.zeros_like(w)
    for g in GRADIENTS:
        r = 0.95 * r + 0.05 * g**2
        d = -np.sqrt(s + EPSILON) / np.sqrt(r + EPSILON) * g
        s = 0.95 * s + 0.05 * d**2
        w = w + RATE * d
        yield w


def adam(w: np.ndarray) -> Weights:
    m = v = np.zeros_like(w)
    for t, g in enumerate(GRADIENTS, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - RATE * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + EPSILON)
        yield w


ORACLES: dict[Callable[..., keras.optimizers.Optimizer], Callable[[np.ndarray], Weights]] = {
    **dict(zip(RULES.values(), (adagrad, rmsprop, rmsprop_nesterov, nadam, adadelta, adam), strict=True)),
    **dict(zip(NOTEBOOK_RULES.values(), (notebook_adagrad, notebook_rmsprop, notebook_nadam), strict=True)),
}


@pytest.mark.parametrize("made_by", ORACLES, ids=lambda made_by: made_by.__name__)
def test_steps_follow_the_equation(made_by: Callable[[float], keras.optimizers.Optimizer]) -> None:
    weights = keras.Variable(START.astype("float32"))
    optimizer = made_by(RATE)
    # Some ten operations a step; of Adam's and Nadam's 1 - 0.999^t a float32 knows no more than a part in 0.001 / u.
    relative = tolerance(10, steps=STEPS) + UNIT / (1 - 0.999)
    largest = np.zeros_like(START)  # of each weight by itself: the steps of AdaGrad differ by factors of 10^7
    for gradient, expected in zip(GRADIENTS, ORACLES[made_by](START), strict=True):
        optimizer.apply([keras.ops.convert_to_tensor(gradient.astype("float32"))], [weights])
        largest = np.maximum(largest, np.abs(expected))
        assert (np.abs(weights.numpy() - expected) <= relative * largest).all()


def test_the_generations_differ_where_they_are_said_to() -> None:
    """RMSProp's steps where gradients are small, Nadam's from the first on; AdaDelta, Adam are the same function."""

    def after(steps: int, oracle: Callable[[np.ndarray], Weights]) -> np.ndarray:
        return [w for w, _ in zip(oracle(START), range(steps), strict=False)][-1]

    ratio = after(1, rmsprop) / after(1, notebook_rmsprop)
    assert ratio[0] > 0.99
    assert (ratio[2:] < 0.5).all()
    assert np.abs(after(STEPS, nadam) / after(STEPS, notebook_nadam) - 1).max() > 0.01
    assert {name for name in RULES if rule(name, "notebook") is not rule(name, "keras3")} == set(NOTEBOOK_RULES)


def test_a_step_with_nesterov_momentum_by_hand() -> None:
    """From w = 1 with gradient 2: r = 0.4, correction = 0.1 x 2 / 0.632456 = 0.316228, w = 1 - 1.9 x 0.316228."""
    weights = keras.Variable(np.ones(1, "float32"))
    optimizer = RMSpropNesterov(0.1, epsilon=0.0)
    optimizer.apply([keras.ops.convert_to_tensor([2.0])], [weights])
    assert weights.numpy() == pytest.approx([1 - 1.9 * 0.316228], abs=1e-5)


def test_nesterov_momentum_looks_ahead() -> None:
    """Goodfellow et al. 2016, algorithm 8.6, which takes the gradient at w + momentum v: our weights are that point."""
    scales = np.array([1.0, 3.0, 0.3])
    w, v, r = np.ones(3), np.zeros(3), np.zeros(3)
    ours = keras.Variable(np.ones(3, "float32"))
    optimizer, heavy_ball = RMSpropNesterov(0.05), keras.Variable(np.ones(3, "float32"))
    other = keras.optimizers.RMSprop(0.05, momentum=0.9)
    for _ in range(6):
        gradient = scales * (w + 0.9 * v)
        r = 0.9 * r + 0.1 * gradient**2
        v = 0.9 * v - 0.05 * gradient / np.sqrt(r + 1e-7)
        w = w + v
        for point, updater in ((ours, optimizer), (heavy_ball, other)):
            updater.apply([keras.ops.convert_to_tensor((scales * point.numpy()).astype("float32"))], [point])
        np.testing.assert_allclose(ours.numpy(), w + 0.9 * v, rtol=0, atol=tolerance(10, steps=6))
    assert not np.allclose(heavy_ball.numpy(), ours.numpy(), rtol=1e-2)


@pytest.mark.parametrize(
    "optimizer",
    [
        RMSpropNesterov(0.1, rho=0.8, momentum=0.7, epsilon=1e-6),
        notebook_optimizers.Adagrad(0.1, initial_accumulator_value=0.2, epsilon=1e-6),
        notebook_optimizers.RMSprop(0.1, rho=0.8, epsilon=1e-6),
        notebook_optimizers.Nadam(0.1, beta_1=0.8, beta_2=0.9, epsilon=1e-6, schedule_decay=0.01),
    ],
    ids=lambda optimizer: optimizer.name,
)
def test_the_optimizer_can_be_made_again_of_its_config(optimizer: keras.optimizers.Optimizer) -> None:
    assert type(optimizer).from_config(optimizer.get_config()).get_config() == optimizer.get_config()
    defaults = inspect.signature(type(optimizer).__init__).parameters
    own = {name for name, value in defaults.items() if name in vars(optimizer) and name != "name"}
    assert {name for name in own if getattr(optimizer, name) == defaults[name].default} == set()


@pytest.mark.parametrize("name", RULES)
def test_the_documentation_says_what_is_so(name: str) -> None:
    """Every hyper-parameter that changes the equation is there, with the default that the class has."""
    says = documentation(name, "keras3")
    assert all((says.title, says.equation, says.source, says.hyper_parameters))
    cls = getattr(keras.optimizers, KERAS_CLASSES[name]) if name in KERAS_CLASSES else RMSpropNesterov
    defaults = {key: p.default for key, p in inspect.signature(cls.__init__).parameters.items()}
    off = {"momentum", "centered", "amsgrad"} if name in KERAS_CLASSES else set()
    classes = (keras.optimizers.Adagrad, keras.optimizers.RMSprop, keras.optimizers.Adam)
    common = [set(inspect.signature(each.__init__).parameters) for each in classes]
    shared = set.intersection(*common) - {"epsilon"}  # clipping, averaging and the like
    assert {each.name for each in says.hyper_parameters} == (defaults.keys() - shared - off) | {"learning_rate"}
    for each in says.hyper_parameters:
        if name in KERAS_CLASSES:
            assert float(each.keras) == defaults[each.name]
        else:
            here = re.search(r"; ([0-9.e-]+) here", each.meaning)
            assert here
            assert float(here[1]) == defaults[each.name]


@pytest.mark.parametrize("name", NOTEBOOK_RULES)
def test_the_documentation_of_the_notebook_s_rules_says_what_is_so(name: str) -> None:
    says = documentation(name, "notebook")
    classes = {"adagrad": "Adagrad", "rmsprop": "RMSprop", "nadam": "Nadam"}
    parameters = inspect.signature(getattr(notebook_optimizers, classes[name]).__init__).parameters
    defaults = {key: p.default for key, p in parameters.items() if key not in ("self", "name", "kwargs")}
    assert {each.name: float(each.keras) for each in says.hyper_parameters} == defaults


def test_the_table_says_which_generation_is_which() -> None:
    """A row for each hyper-parameter, and another equation for the rules that have changed."""
    table = rule_table([(name, generation) for name in RULES for generation in ("notebook", "keras3")])
    generations = table.groupby("update_rule")["generation"].unique().map(sorted).to_dict()
    assert generations == {
        **{name: ["Keras 3", "TensorFlow 2.3"] for name in NOTEBOOK_RULES},
        **{"adadelta": ["both"], "adam": ["both"], "rmsprop_nesterov": ["dlperf"]},
    }
    equations = table.groupby("update_rule")["equation"].nunique()
    assert {name for name, different in equations.items() if different > 1} == set(NOTEBOOK_RULES)


def test_the_problem_offers_exactly_these() -> None:
    from dlperf.declaration import Description

    field = OptimizersParameters.model_fields["optimizer"]
    assert Description.of(field, "optimizer", "").choices == tuple(RULES)
