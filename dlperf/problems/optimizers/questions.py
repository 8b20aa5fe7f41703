"""The questions of problem 1, and what trials answer."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import pandas as pd

from dlperf.analysis.balance import balanced
from dlperf.analysis.contest import Contest, command_to_settle, contest, listed
from dlperf.analysis.measures import cells, measured
from dlperf.analysis.settings import undisturbed
from dlperf.analysis.wording import beside_others
from dlperf.problem import Answer, Question
from dlperf.problems.optimizers.choice import choice_table, recommendation
from dlperf.problems.optimizers.parameters import OptimizersParameters
from dlperf.problems.optimizers.tables import rule_table
from dlperf.trial import StoredTrial

Trials = Sequence[StoredTrial[OptimizersParameters]]

_NAMES = {
    **{"adagrad": "AdaGrad", "rmsprop": "RMSProp", "rmsprop_nesterov": "RMSProp with Nesterov momentum"},
    **{"nadam": "Nadam", "adadelta": "AdaDelta", "adam": "Adam"},
}
_LOSS = ("*-loss", "adam-better-convergence*")


def questions() -> tuple[Question, ...]:
    """Return the assignment's questions, and the one that a practitioner has."""
    return (
        Question(
            "optimizers/update-rules",
            "How do the five methods update the weights, and how do AdaDelta and Adam differ from RMSProp?",
            _rules,
            claims=tuple(
                f"optimizers/{name}"
                for name in (
                    *("*-momentum", "adam-variance", "nadam-is-rmsprop-nesterov", "*-higher-rate", "nadam-old-mean"),
                    "rmsprop-denominator",
                )
            ),
        ),
        Question(
            "optimizers/training-loss",
            "Which method has the lowest training loss without dropout?",
            lambda trials: _loss(trials, dropout=False),
            figures=(
                *("train_loss_without_dropout", "train_cross_entropy_without_dropout"),
                *("train_loss", "train_cross_entropy"),  # of a user's own model
            ),
            claims=tuple(f"optimizers/{pattern}" for pattern in _LOSS),
        ),
        Question(
            "optimizers/dropout",
            "What changes with dropout, in the loss and in the time?",
            _dropout,
            figures=("train_loss_with_dropout", "seconds_per_epoch"),
            claims=("optimizers/*dropout*", "optimizers/*time-ratio", "optimizers/*-slowest", "optimizers/*-fastest"),
        ),
        Question(
            "optimizers/test-accuracy",
            "Which method has the highest test accuracy, so which one would you take?",
            _accuracy,
            figures=("test_accuracy",),
            claims=("optimizers/*-accura*",),
        ),
    )


def _rules(trials: Trials) -> Answer:
    """Say how the rules work, which needs no trial; the table has those that were run, else Keras's."""
    rules = dict.fromkeys((trial.parameters.update_rule, trial.parameters.update_rules) for trial in trials)
    generations = {generation for _, generation in rules}
    of = "TensorFlow 2.3, as in the notebook" if generations == {"notebook"} else "Keras 3"
    return Answer(
        f"All of them divide the step of each weight by the root of its past squared gradients: AdaGrad sums these, "
        f"the others average them. Adam differs from RMSProp by momentum, as it averages the gradient itself too; "
        f"AdaDelta has none, and scales its step by the average of its own past squared steps. The rules here are "
        f"those of {of}; the table has their hyper-parameters.",
        rule_table(list(rules) or [(rule, "keras3") for rule in _NAMES]),
    )


def _loss(trials: Trials, *, dropout: bool) -> Answer | None:
    kinds = [trial for trial in _trained(trials) if trial.parameters.dropout == dropout]
    if not kinds:
        return None
    by_loss = _contest(kinds, "train_loss", "training loss", lower_is_better=True)
    sentence = by_loss.in_words()
    by_entropy = _contest(kinds, "train_cross_entropy", "cross-entropy", lower_is_better=True)
    if by_loss.is_decided and by_entropy.is_decided and by_loss.rivals[0].name != by_entropy.rivals[0].name:
        sentence += f" Without the L2 penalty, which is part of that loss, {_lower_first(by_entropy.in_words())}"
    return Answer(sentence, _tables(by_loss, by_entropy), _more_seeds(kinds, by_loss), by_loss.pairs)


def _dropout(trials: Trials) -> Answer | None:
    kinds = _trained(trials)
    losses = _by_dropout(kinds, "train_loss", "training loss")
    if losses is None:
        return None
    times = _by_dropout(undisturbed(kinds), "seconds_per_epoch", "time of an epoch", unit="s", by_ratio=True)
    contests = [losses, times] if times else [losses]
    sentence = " ".join(_upper_first(result.in_words()) for result in contests)
    return Answer(f"{sentence}{beside_others(kinds)}", _tables(*contests), _more_seeds(kinds, *contests), losses.pairs)


def _by_dropout(trials: Trials, measure: str, what: str, *, unit: str = "", by_ratio: bool = False) -> Contest | None:
    """Compare training without and with dropout, on the random seeds and methods that have both; None without one.

    A random seed is what was drawn; five methods with one are one draw. With protocol=corrected a method has the
    learning rate that was chosen for it, which may be another with dropout.
    """
    rates = len({trial.parameters.learning_rate for trial in trials}) > 1
    values = measured(trials, measure)

    def method(trial: StoredTrial[Any]) -> str:
        p = trial.parameters
        return _NAMES[p.optimizer] + (f" at {p.learning_rate:g}" if rates and p.notebook else "")

    one, other = (
        cells([t for t in trials if t.parameters.dropout == dropout], values, method) for dropout in (False, True)
    )
    both = {seed: {name: 0.0 for name in one[seed] if name in other[seed]} for seed in one if seed in other}
    runs = balanced({seed: methods for seed, methods in both.items() if methods}).values
    if not runs:
        return None
    methods = [str(name) for name in next(iter(runs.values()))]
    by_name = {
        name: {seed: fmean(side[seed][method] for method in methods) for seed in runs}
        for name, side in (("training without dropout", one), ("training with dropout", other))
    }
    mean = "mean " if len(methods) > 1 else ""
    return contest(by_name, f"{mean}{what} of {listed(methods)}", lower_is_better=True, unit=unit, by_ratio=by_ratio)


def _accuracy(trials: Trials) -> Answer | None:
    kinds = [trial for trial in _trained(trials) if "test_accuracy" in trial.metrics]
    if not kinds:
        return None
    by_accuracy = _contest(kinds, "test_accuracy", "test accuracy", lower_is_better=False)
    table, advice = by_accuracy.table(), recommendation(_trained(trials))
    if advice:
        searched = [trial for trial in trials if trial.parameters.stage == "search"]
        table = pd.concat([table, choice_table(_trained(trials), searched)], ignore_index=True)
    if not advice and not by_accuracy.is_decided and len(by_accuracy.rivals) > 1:
        advice = f"If one has to be taken now, the means speak for {by_accuracy.rivals[0].name}."
    said = f"{by_accuracy.in_words()} {advice}".strip()
    return Answer(said, table, _more_seeds(kinds, by_accuracy), by_accuracy.pairs)


def _contest(trials: Trials, metric: str, what: str, *, lower_is_better: bool) -> Contest:
    several = len({trial.parameters.dropout for trial in trials}) > 1
    rates: dict[str, set[float]] = {}
    for trial in trials:
        rates.setdefault(trial.parameters.optimizer, set()).add(trial.parameters.learning_rate)
    kinds: dict[str, dict[Any, float]] = {}
    for trial in trials:
        parameters = trial.parameters
        rate = f" at {parameters.learning_rate:g}" if len(rates[parameters.optimizer]) > 1 else ""
        name = _NAMES[parameters.optimizer] + rate
        name += " with dropout" if several and parameters.dropout else ""
        kinds.setdefault(name, {})[parameters.random_seed] = trial.metrics[metric]
    return contest(kinds, what, lower_is_better=lower_is_better)


def _trained(trials: Trials) -> list[StoredTrial[OptimizersParameters]]:
    return [trial for trial in trials if trial.parameters.stage == "final"]


def _tables(*contests: Contest) -> Any:
    return pd.concat([result.table().assign(quantity=result.what) for result in contests], ignore_index=True)


def _more_seeds(trials: Trials, *contests: Contest) -> str:
    """The command that would settle what is not decided; "" where all is, and where nothing is compared."""
    if all(result.is_decided or len(result.rivals) == 1 for result in contests):
        return ""
    return command_to_settle("optimizers", trials)


def _upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:] if text.startswith("Not ") else text
