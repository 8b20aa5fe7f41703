"""Validation error at equal epochs, equal updates and equal time: more copies are not just more training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import pandas as pd

from dlperf.analysis.contest import Contest, contest
from dlperf.analysis.settings import undisturbed
from dlperf.problems.cutout.parameters import CutoutParameters
from dlperf.tables import cell
from dlperf.trial import StoredTrial

Trial = StoredTrial[CutoutParameters]


@dataclass(frozen=True)
class Budget:
    """What all trials are given equally much of.

    Attributes:
        name: "epochs", "updates" or "seconds".
        in_words: How much that is, for a sentence.
        result: The kinds of trial in the order of their error then.
    """

    name: str
    in_words: str
    result: Contest


def budgets(trials: Sequence[Trial]) -> list[Budget]:
    """Compare the trials of every m when the one that was trained least has ended.

    Updates are counted in epochs of one copy: with copies in the epoch one of m copies has m times as many. Trials
    beside which other programs ran have no seconds, and where they leave one m alone nothing is compared by them.
    """
    made = []
    of_all = trials
    for name, unit in (("epochs", "epochs"), ("updates", "epochs' worth of updates"), ("seconds", "s of training")):
        trials = undisturbed(of_all) if name == "seconds" else of_all
        if name == "seconds" and len({trial.parameters.m for trial in trials}) < 2:
            continue
        spent = {trial.run_id: _spent(trial, name) for trial in trials}
        limit = min(of_trial[-1] for of_trial in spent.values())
        kinds: dict[str, dict[int, float]] = {}
        for trial in trials:
            errors = trial.history["validation_error"]
            ended = [e for e, at in zip(errors, spent[trial.run_id], strict=True) if at <= limit * (1 + 1e-9)]
            own = kinds.setdefault(f"m={trial.parameters.m}", {})
            if ended:  # else not one epoch fits in
                own[trial.parameters.random_seed] = float(ended[-1])
        text = f"{cell(limit if name == 'seconds' else round(limit))} {unit}"
        made.append(
            Budget(
                name, text, contest(kinds, f"validation error of the last epoch within {text}", lower_is_better=True)
            )
        )
    return made


def budget_table(trials: Sequence[Trial]) -> pd.DataFrame:
    """Lay out a row per budget and m, the best first.

    Columns: equal, what all were given; m; random_seeds; validation_error, low, high, the mean and its 95 % interval.
    """
    return pd.DataFrame(
        {
            **{"equal": budget.in_words, "m": int(rival.name.removeprefix("m=")), "random_seeds": rival.mean.n},
            **{"validation_error": rival.mean.mean, "low": rival.mean.low, "high": rival.mean.high},
        }
        for budget in budgets(trials)
        for rival in budget.result.rivals
    )


def _spent(trial: Trial, name: str) -> list[float]:
    if name == "seconds":
        return list(accumulate(trial.history["epoch_seconds"]))
    parameters = trial.parameters
    each = parameters.copies if name == "updates" and parameters.copies_in == "epoch" else 1
    return [float(each * epoch) for epoch in range(1, len(trial.history["validation_error"]) + 1)]
