"""The update rules that problem 1 compares: equations, hyper-parameters, sources and Keras optimizers.

In all of them w are the weights, g_t the gradient of step t, products and roots element by element, and every average
starts at 0 unless said otherwise. RMSProp, AdaDelta and Adam all divide by the root of a decaying mean of squared
gradients (an uncentred second moment, not a variance). AdaDelta also multiplies by the root of a decaying mean of its
squared steps, which has the units of w and makes a learning rate needless; that is not momentum. Adam replaces the
gradient by the gradient's decaying mean, which is momentum, and corrects both means for starting at 0.

Three of the rules exist in two generations: as Keras 3 has them, and as TensorFlow 2.3 had them when the notebook was
run (`notebook_...`). The docstrings are the source of the table `update_rules`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras

Generation = Literal["notebook", "keras3"]

_HYPER_PARAMETER = re.compile(r"(\w+) \(paper: (.+); Keras: (.+)\): (.+)")


def adagrad(learning_rate: float) -> keras.optimizers.Optimizer:
    """AdaGrad: divides each weight's step by the root of the sum of all its squared gradients.

    Equation:
        G_t = G_{t-1} + g_t^2
        w_t = w_{t-1} - learning_rate g_t / sqrt(G_t + epsilon)

    Source:
        Duchi, Hazan, Singer 2011, "Adaptive Subgradient Methods", JMLR 12, figure 1 (diagonal matrices).

    Hyper-parameters:
        learning_rate (paper: none; Keras: 0.001): step size
        initial_accumulator_value (paper: 0; Keras: 0.1): G_0
        epsilon (paper: none; Keras: 1e-07): keeps the divisor from 0; the paper's delta stands outside the root
    """
    return _keras("Adagrad", learning_rate)


def notebook_adagrad(learning_rate: float) -> keras.optimizers.Optimizer:
    """AdaGrad: divides each weight's step by the root of the sum of all its squared gradients.

    Equation:
        G_t = G_{t-1} + g_t^2
        w_t = w_{t-1} - learning_rate g_t / (sqrt(G_t) + epsilon)

    Source:
        Duchi, Hazan, Singer 2011, "Adaptive Subgradient Methods", JMLR 12, figure 1 (diagonal matrices).

    Hyper-parameters:
        learning_rate (paper: none; Keras: 0.001): step size
        initial_accumulator_value (paper: 0; Keras: 0.1): G_0
        epsilon (paper: none; Keras: 1e-07): keeps the divisor from 0, outside the root, as the paper's delta
    """
    from dlperf.training.notebook_optimizers import Adagrad

    return Adagrad(learning_rate)


def rmsprop(learning_rate: float) -> keras.optimizers.Optimizer:
    """RMSProp: divides the step by the root of a decaying mean of squared gradients.

    Equation:
        r_t = rho r_{t-1} + (1 - rho) g_t^2
        w_t = w_{t-1} - learning_rate g_t / sqrt(r_t + epsilon)

    Source:
        Tieleman, Hinton 2012, "Neural Networks for Machine Learning", lecture 6e.

    Hyper-parameters:
        learning_rate (paper: none; Keras: 0.001): step size
        rho (paper: 0.9; Keras: 0.9): decay of the mean
        epsilon (paper: none; Keras: 1e-07): keeps the divisor from 0, under the root
    """
    return _keras("RMSprop", learning_rate)


def notebook_rmsprop(learning_rate: float) -> keras.optimizers.Optimizer:
    """RMSProp: divides the step by the root of a decaying mean of squared gradients.

    Equation:
        r_t = rho r_{t-1} + (1 - rho) g_t^2
        w_t = w_{t-1} - learning_rate g_t / (sqrt(r_t) + epsilon)

    Source:
        Tieleman, Hinton 2012, "Neural Networks for Machine Learning", lecture 6e.

    Hyper-parameters:
        learning_rate (paper: none; Keras: 0.001): step size
        rho (paper: 0.9; Keras: 0.9): decay of the mean
        epsilon (paper: none; Keras: 1e-07): keeps the divisor from 0, outside the root
    """
    from dlperf.training.notebook_optimizers import RMSprop

    return RMSprop(learning_rate)


def rmsprop_nesterov(learning_rate: float) -> keras.optimizers.Optimizer:
    """RMSProp with Nesterov momentum: the gradient is taken where the momentum is about to lead.

    Equation:
        r_t = rho r_{t-1} + (1 - rho) g_t^2
        v_t = momentum v_{t-1} - learning_rate g_t / sqrt(r_t + epsilon)
        w_t = w_{t-1} + momentum v_t - learning_rate g_t / sqrt(r_t + epsilon)

    Source:
        Goodfellow, Bengio, Courville 2016, "Deep Learning", algorithm 8.6, in the weights of the look-ahead point.

    Hyper-parameters:
        learning_rate (paper: none; Keras: none): step size; 0.001 here
        rho (paper: none; Keras: none): decay of the mean; 0.9 here
        momentum (paper: none; Keras: none): share of the last step that is kept; 0.9 here
        epsilon (paper: none; Keras: none): keeps the divisor from 0, under the root; 1e-07 here
    """
    from dlperf.problems.optimizers.rmsprop_nesterov import RMSpropNesterov

    return RMSpropNesterov(learning_rate)


def nadam(learning_rate: float) -> keras.optimizers.Optimizer:
    """Nadam: Adam with Nesterov momentum, and a momentum that rises.

    Equation:
        mu_t = beta_1 (1 - 0.5 x 0.96^t), P_t = mu_1 ... mu_t
        m_t = beta_1 m_{t-1} + (1 - beta_1) g_t
        v_t = beta_2 v_{t-1} + (1 - beta_2) g_t^2
        n_t = mu_{t+1} m_t / (1 - P_{t+1}) + (1 - mu_t) g_t / (1 - P_t)
        w_t = w_{t-1} - learning_rate n_t / (sqrt(v_t / (1 - beta_2^t)) + epsilon)

    Source:
        Dozat 2016, "Incorporating Nesterov Momentum into Adam", ICLR workshop, algorithm 2; there 0.96^(t/250), and m_t
        is averaged with mu_t.

    Hyper-parameters:
        learning_rate (paper: none; Keras: 0.001): step size
        beta_1 (paper: 0.99; Keras: 0.9): decay of the gradient's mean
        beta_2 (paper: 0.999; Keras: 0.999): decay of the squared gradient's mean
        epsilon (paper: 1e-08; Keras: 1e-07): keeps the divisor from 0, outside the root
    """
    return _keras("Nadam", learning_rate)


def notebook_nadam(learning_rate: float) -> keras.optimizers.Optimizer:
    """Nadam: Adam with Nesterov momentum, and a momentum that rises slowly.

    Equation:
        mu_t = beta_1 (1 - 0.5 x 0.96^(schedule_decay t)), P_t = mu_1 ... mu_t
        m_t = beta_1 m_{t-1} + (1 - beta_1) g_t
        v_t = beta_2 v_{t-1} + (1 - beta_2) g_t^2
        n_t = mu_{t+1} m_t / (1 - P_{t+1}) + (1 - mu_t) g_t / (1 - P_t)
        w_t = w_{t-1} - learning_rate n_t / (sqrt(v_t / (1 - beta_2^t)) + epsilon)

    Source:
        Dozat 2016, "Incorporating Nesterov Momentum into Adam", ICLR workshop, algorithm 2; there m_t is averaged with
        mu_t.

    Hyper-parameters:
        learning_rate (paper: none; Keras: 0.001): step size
        beta_1 (paper: 0.99; Keras: 0.9): decay of the gradient's mean
        beta_2 (paper: 0.999; Keras: 0.999): decay of the squared gradient's mean
        epsilon (paper: 1e-08; Keras: 1e-07): keeps the divisor from 0, outside the root
        schedule_decay (paper: 0.004; Keras: 0.004): how fast the momentum rises
    """
    from dlperf.training.notebook_optimizers import Nadam

    return Nadam(learning_rate)


def adadelta(learning_rate: float) -> keras.optimizers.Optimizer:
    """AdaDelta: the root of the mean squared step over the root of the mean squared gradient.

    Equation:
        r_t = rho r_{t-1} + (1 - rho) g_t^2
        d_t = - sqrt(s_{t-1} + epsilon) / sqrt(r_t + epsilon) g_t
        s_t = rho s_{t-1} + (1 - rho) d_t^2
        w_t = w_{t-1} + learning_rate d_t

    Source:
        Zeiler 2012, "ADADELTA: An Adaptive Learning Rate Method", algorithm 1.

    Hyper-parameters:
        learning_rate (paper: 1; Keras: 0.001): factor of the step; the paper has none, so 1 is its form
        rho (paper: 0.95; Keras: 0.95): decay of both means
        epsilon (paper: 1e-06; Keras: 1e-07): starts the steps and keeps the divisor from 0, under the root
    """
    return _keras("Adadelta", learning_rate)


def adam(learning_rate: float) -> keras.optimizers.Optimizer:
    """Adam: the gradient's decaying mean over the root of the squared gradient's, both corrected for starting at 0.

    Equation:
        m_t = beta_1 m_{t-1} + (1 - beta_1) g_t
        v_t = beta_2 v_{t-1} + (1 - beta_2) g_t^2
        rate_t = learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t)
        w_t = w_{t-1} - rate_t m_t / (sqrt(v_t) + epsilon)

    Source:
        Kingma, Ba 2015, "Adam: A Method for Stochastic Optimization", ICLR, algorithm 1 as section 2 reorders it
        (Keras's epsilon is that section's epsilon-hat).

    Hyper-parameters:
        learning_rate (paper: 0.001; Keras: 0.001): step size
        beta_1 (paper: 0.9; Keras: 0.9): decay of the gradient's mean
        beta_2 (paper: 0.999; Keras: 0.999): decay of the squared gradient's mean
        epsilon (paper: 1e-08; Keras: 1e-07): keeps the divisor from 0, outside the root
    """
    return _keras("Adam", learning_rate)


def _keras(name: str, learning_rate: float) -> keras.optimizers.Optimizer:
    """Make a Keras optimizer; Keras is imported here so that a table of the rules need not wait for TensorFlow."""
    import keras

    return getattr(keras.optimizers, name)(learning_rate)


RULES: dict[str, Callable[[float], keras.optimizers.Optimizer]] = {
    rule.__name__: rule for rule in (adagrad, rmsprop, rmsprop_nesterov, nadam, adadelta, adam)
}
NOTEBOOK_RULES: dict[str, Callable[[float], keras.optimizers.Optimizer]] = {
    "adagrad": notebook_adagrad,
    "rmsprop": notebook_rmsprop,
    "nadam": notebook_nadam,
}
"""Those that TensorFlow 2.3 computed otherwise."""


def rule(name: str, generation: Generation) -> Callable[[float], keras.optimizers.Optimizer]:
    """Return what makes the optimizer of a rule, one of RULES, from its learning rate."""
    return NOTEBOOK_RULES.get(name, RULES[name]) if generation == "notebook" else RULES[name]


@dataclass(frozen=True)
class HyperParameter:
    """One hyper-parameter of an update rule, with its defaults as text ("none" where there is none).

    Attributes:
        name: As the Keras optimizer takes it.
        paper: Default of the paper.
        keras: Default of Keras.
        meaning: What it is.
    """

    name: str
    paper: str
    keras: str
    meaning: str


@dataclass(frozen=True)
class Documentation:
    """What a rule's docstring says.

    Attributes:
        title: First line.
        generation: Whose equation it is: "TensorFlow 2.3", "Keras 3", "both" or "dlperf".
        equation: Its lines, with semicolons between.
        source: Where it was published.
        hyper_parameters: In order.
    """

    title: str
    generation: str
    equation: str
    source: str
    hyper_parameters: tuple[HyperParameter, ...]


def documentation(name: str, generation: Generation) -> Documentation:
    """Read the docstring of a rule, one of RULES."""
    title, *sections = re.split(r"\n\n(?=[\w-]+:\n)", inspect.getdoc(rule(name, generation)) or "")
    lines_under = {}
    for section in sections:
        heading, *lines = section.splitlines()
        lines_under[heading.removesuffix(":")] = [line.strip() for line in lines]
    matches = [_HYPER_PARAMETER.fullmatch(line) for line in lines_under["Hyper-parameters"]]
    hyper_parameters = tuple(HyperParameter(*match.groups()) for match in matches if match)
    if name in NOTEBOOK_RULES:
        whose = "TensorFlow 2.3" if generation == "notebook" else "Keras 3"
    else:
        whose = "dlperf" if name == rmsprop_nesterov.__name__ else "both"
    equation, source = "; ".join(lines_under["Equation"]), " ".join(lines_under["Source"])
    return Documentation(title, whose, equation, source, hyper_parameters)
