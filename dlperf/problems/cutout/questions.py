"""The questions of problem 4, and what trials answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean

import pandas as pd

from dlperf.analysis.contest import Contest, command_to_settle, mean_in_words
from dlperf.analysis.settings import undisturbed
from dlperf.analysis.statistics import mean_of
from dlperf.analysis.wording import beside_others
from dlperf.problem import Answer, Question
from dlperf.problems.cutout.budgets import budgets
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
            "What do m copies of each image, each with another square cut out, give at equal epochs, updates and time, "
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
    images = f" on {first.train_examples:,} images" if first.train_examples else ""
    return Answer(
        f"ResNet-{first.depth} ends at a test error of {mean_in_words(errors)} after {cell(epochs)} epochs{images}, by "
        f"{errors.n} random seed{'s' if errors.n > 1 else ''}.",
        table,
        values=errors.n,
    )


def _copies(trials: Trials) -> Answer | None:
    kinds = sorted({trial.parameters.m for trial in trials})
    if len(kinds) < 2:
        return None
    least, most = kinds[0], kinds[-1]
    times: dict[int, list[float]] = {}
    for trial in undisturbed(trials):
        times.setdefault(trial.parameters.m, []).append(trial.metrics["train_seconds"] / trial.metrics["epochs_run"])
    costs = {m: fmean(times[m]) for m in kinds if m in times} if {least, most} <= times.keys() else {}
    compared = budgets(trials)
    said = " ".join(budget.result.in_words(where=f"At equal {budget.name}") for budget in compared)
    settled = all(budget.result.is_decided for budget in compared)
    cost = (
        f"An epoch of m={most} takes {cell(costs[most])} seconds, {cell(costs[most] / costs[least])} times that of "
        f"m={least}. "
        if costs
        else ""
    )
    return Answer(
        f"{cost}{said}{beside_others(trials)}",
        _table(costs, [budget.result for budget in compared]),
        "" if settled else command_to_settle("cutout", trials),
        min((budget.result.pairs for budget in compared), default=0),
    )


def _table(costs: dict[int, float], contests: Sequence[Contest]) -> pd.DataFrame:
    parts = [result.table().assign(quantity=result.what) for result in contests]
    times = pd.DataFrame(
        {
            "name": f"m={m}",
            "mean": value,
            "quantity": "seconds of an epoch",
            "times_the_least": value / costs[min(costs)],
        }
        for m, value in costs.items()
    )
    return pd.concat([*parts, times], ignore_index=True)
