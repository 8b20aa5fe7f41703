"""What the notebook's sentences on update rules come to, computed on a few made gradients.

Problem 1, question 1 explains the rules in words; each function below is the smallest computation that such a sentence
can be held against. Hyper-parameters are Keras's defaults, epsilon left out.
"""

from __future__ import annotations

import math

_BETA, _RHO = 0.9, 0.999


def goes_on_against_the_gradient(rule: str) -> float:
    """Return 1 if a step still follows earlier gradients when the newest points the other way (momentum), else 0.

    Args:
        rule: "adam", "adadelta" or "rmsprop".
    """
    decay = {"adam": _RHO, "adadelta": 0.95, "rmsprop": 0.9}[rule]
    mean, square, moved = 0.0, 0.0, 1e-6
    for count, gradient in enumerate((1.0, 1.0, 1.0, 1.0, -0.1), 1):
        mean = _BETA * mean + (1 - _BETA) * gradient
        square = decay * square + (1 - decay) * gradient**2
        if rule == "adam":  # Kingma & Ba 2014, algorithm 1
            step = -(mean / (1 - _BETA**count)) / math.sqrt(square / (1 - _RHO**count))
        elif rule == "adadelta":  # Zeiler 2012, equation 14
            step = -math.sqrt(moved / square) * gradient
            moved = decay * moved + (1 - decay) * step**2
        else:
            step = -gradient / math.sqrt(square)
    return float(step * gradient > 0)


def second_moment_of_a_constant() -> float:
    """Return Adam's v, its bias corrected, after equal gradients of 1: their variance is 0, their second moment 1."""
    square = 0.0
    for _ in range(10):
        square = _RHO * square + (1 - _RHO)
    return square / (1 - _RHO**10)


def first_step_of_nadam_over_rmsprop_with_nesterov() -> float:
    """Return the ratio of the first steps, on the same gradient and with the same learning rate.

    Nadam (Dozat 2016, algorithm 8) corrects both moments; RMSProp with Nesterov momentum (Sutskever et al. 2013, on the
    scaled gradient) corrects none.
    """
    gradient, square = 1.0, 1 - _BETA
    velocity = -gradient / math.sqrt(square)
    rmsprop = _BETA * velocity - gradient / math.sqrt(square)
    mean = (1 - _BETA) * gradient
    nadam = -(_BETA * mean / (1 - _BETA**2) + (1 - _BETA) * gradient / (1 - _BETA)) / gradient
    return nadam / rmsprop


def squared_mean_over_mean_square() -> float:
    """Return the ratio of sqrt(E[g]^2) to sqrt(E[g^2]), RMSProp's denominator, after gradients of 1, -1, 1, ...

    Both are decaying averages (Hinton's lecture 6e divides by the root of E[g^2]).
    """
    mean, square = 0.0, 0.0
    for count in range(200):
        gradient = 1.0 if count % 2 else -1.0
        mean, square = _BETA * mean + (1 - _BETA) * gradient, _BETA * square + (1 - _BETA) * gradient**2
    return abs(mean) / math.sqrt(square)


def old_mean_over_its_corrected_self() -> float:
    """Return beta_1 m_1 / (1 - beta_1^2) over the corrected m_1 / (1 - beta_1), of Nadam's derivation at step 2."""
    mean = 1 - _BETA
    return (_BETA * mean / (1 - _BETA**2)) / (mean / (1 - _BETA))
