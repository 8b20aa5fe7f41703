"""The questions of problem 4, and what trials answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import accumulate
from typing import Any

import pandas as pd

from dlperf.analysis.contest import contest, mean_in_words, seeds_to_settle
from dlperf.analysis.statistics import mean_of
from dlperf.problem import Answer, Question
from dlperf.problems.cutout.parameters import CutoutParameters
from dlperf.tables import cell
from dlperf.trial import StoredTrial

Trials = Sequence[StoredTrial[CutoutParameters]]


def questions() -> tuple[Question, ...]:
    """Return the assignment's questions, and the one that a practitioner has."""
    return (
        Question(
            "cutout/baseline",
            "What error does the network reach without cutout?",
            _baseline,
            figures=("validation_error_by_m", "learning_rate"),
            claims=("cutout/baseline-*", "cutout/he-*", "cutout/parameters*"),
        ),
        Question(
            "cutout/copies",
            "What do m copies of each image, each with another square cut out, give at equal epochs and at equal time, "
            "and what do they cost?",
            _copies,
            figures=("validation_error_by_m",),
            claims=("cutout/*",),
        ),
    )


def _baseline(trials: Trials) -> Answer | None:
    without = [trial for trial in trials if trial.parameters.m == 0]
    if not without:
        return None
    first, errors = without[0].parameters, mean_of([trial.metrics["test_error"] for trial in without])
    epochs = int(max(trial.metrics["epochs_run"] for trial in without))
    table = pd.DataFrame([{"depth": first.depth, "epochs": epochs, **asdict(errors)}])
    return Answer(
        f"ResNet-{first.depth} ends at a test error of {mean_in_words(errors)} after {cell(epochs)} epochs, by "
        f"{errors.n} random seed{'s' if errors.n > 1 else ''}.",
        table,
    )


def _copies(trials: Trials) -> Answer | None:
    kinds = sorted({trial.parameters.m for trial in trials})
    if len(kinds) < 2:
        return None
    by_m = {m: [trial for trial in trials if trial.parameters.m == m] for m in kinds}
    epochs = int(min(trial.metrics["epochs_run"] for trial in trials))
    seconds = min(trial.metrics["train_seconds"] for trial in trials)
    named = {m: f"m={m}" for m in kinds}
    equal_epochs = contest(
        {named[m]: {t.parameters.random_seed: t.history["validation_error"][epochs - 1] for t in own}
         for m, own in by_m.items()},
        f"validation error after {epochs} epochs",
        lower_is_better=True,
    )  # fmt: skip
    equal_time = contest(
        {
            named[m]: {t.parameters.random_seed: error for t in own if (error := _error_at(t, seconds)) is not None}
            for m, own in by_m.items()
        },
        f"validation error after {cell(seconds)} seconds of training",
        lower_is_better=True,
    )
    costs = {m: _mean([t.metrics["train_seconds"] / t.metrics["epochs_run"] for t in own]) for m, own in by_m.items()}
    least, most = kinds[0], kinds[-1]
    sentence = (
        f"An epoch of m={most} takes {cell(costs[most])} seconds, {cell(costs[most] / costs[least])} times that of "
        f"m={least}. At equal epochs: {equal_epochs.in_words()} At equal time: {equal_time.in_words()}"
    )
    settled = equal_epochs.is_decided and equal_time.is_decided
    command = "" if settled else _more_seeds(trials)
    return Answer(sentence, _table(costs, equal_epochs, equal_time), command)


def _error_at(trial: StoredTrial[CutoutParameters], seconds: float) -> float | None:
    """The validation error of the last epoch that had ended after `seconds` of training; None before the first."""
    ended = [
        error
        for error, at in zip(trial.history["validation_error"], accumulate(trial.history["epoch_seconds"]), strict=True)
        if at <= seconds * (1 + 1e-9)
    ]
    return float(ended[-1]) if ended else None


def _table(costs: dict[int, float], *contests: Any) -> Any:
    parts = [c.table().assign(quantity=c.what) for c in contests]
    least = min(costs)
    times = pd.DataFrame(
        {"name": f"m={m}", "mean": value, "quantity": "seconds of an epoch", "times_the_least": value / costs[least]}
        for m, value in costs.items()
    )
    return pd.concat([*parts, times], ignore_index=True)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _more_seeds(trials: Trials) -> str:
    first, seeds = trials[0].parameters, len({trial.parameters.random_seed for trial in trials})
    copies = ",".join(str(m) for m in sorted({trial.parameters.m for trial in trials}))
    return (
        f"mlflow run . -e cutout -P m={copies} -P depth={first.depth} -P epochs={first.epochs} "
        f"-P train_examples={first.train_examples} -P protocol={first.protocol} -P random_seed={seeds_to_settle(seeds)}"
    )
