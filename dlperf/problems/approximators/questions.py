"""The questions of problem 5, and what trials answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import fmean
from typing import Any

import pandas as pd

from dlperf.analysis.balance import balanced
from dlperf.analysis.contest import Contest, command_to_settle, contest
from dlperf.analysis.measures import cells, measured
from dlperf.analysis.settings import undisturbed
from dlperf.analysis.wording import beside_others, seeds
from dlperf.problem import Answer, Question
from dlperf.problems.approximators.parameters import ApproximatorsParameters
from dlperf.trial import StoredTrial

Trial = StoredTrial[ApproximatorsParameters]
Trials = Sequence[Trial]


def questions() -> tuple[Question, ...]:
    """Return the assignment's questions."""
    return (
        Question(
            "approximators/depth",
            "Does depth beat width: at equal units, do more hidden layers have a lower RMSE?",
            rmse_by_depth,
            figures=("rmse_by_total_units", "rmse_by_num_params"),
            claims=("approximators/*",),
        ),
        Question(
            "approximators/time",
            "What does depth cost in time?",
            _time_by_depth,
            figures=("train_seconds_by_num_params",),
            claims=("approximators/faster-*", "approximators/shorter-training-*"),
        ),
    )


def rmse_by_depth(trials: Trials) -> Answer | None:
    """Compare the RMSE of every depth with that of the next shallower one; None where none have equal units."""
    answer = _by_depth(trials, "test_rmse", "test RMSE at equal units")
    if answer is None or not any(len(trial.parameters.layers) == 1 for trial in trials):
        return answer
    confounded = (
        "Confounded with depth: networks of one layer have no batch normalisation, which stands between layers."
    )
    return replace(answer, sentence=f"{answer.sentence} {confounded}")


def _time_by_depth(trials: Trials) -> Answer | None:
    timed, said = undisturbed(trials), beside_others(trials)
    answer = _by_depth(timed, "train_seconds", "training time at equal units", unit="s", by_ratio=True)
    if answer is None:
        return Answer(said.strip()) if said else None
    return replace(answer, sentence=f"{answer.sentence}{said}")


def _by_depth(trials: Trials, measure: str, what: str, *, unit: str = "", by_ratio: bool = False) -> Answer | None:
    """Compare every depth with the next shallower one, at the totals of units that both have."""
    values = measured(trials, measure)
    contests, compared, left_out = [], [], []
    for shallow, deep in pairwise(sorted({len(trial.parameters.layers) for trial in trials})):
        two = [trial for trial in trials if len(trial.parameters.layers) in (shallow, deep)]
        same = balanced(cells(two, values, lambda trial: trial.parameters.layers))
        means = {depth: _by_total(same.values.values(), depth) for depth in (shallow, deep)}
        common = sorted(means[shallow].keys() & means[deep].keys())
        if common:
            kinds = {f"depth {depth}": {total: own[total] for total in common} for depth, own in means.items()}
            compared.append((shallow, deep))
            contests.append((len(common), contest(kinds, what, lower_is_better=True, unit=unit, by_ratio=by_ratio)))
            left_out += [f"{same.left_out}."] if same.left_out else []
    if not contests:
        return None
    said = [
        result.in_words(
            "totals of units", f"At the {seeds(count, 'total of units')} that networks of {_both(result)} share"
        )
        for count, result in contests
    ]
    undecided = [pair for pair, (_, result) in zip(compared, contests, strict=True) if not result.is_decided]
    table = pd.concat([result.table().assign(totals=count) for count, result in contests], ignore_index=True)
    fewest = min(result.pairs for _, result in contests)
    command = _more_totals(trials, undecided) if undecided else ""
    return Answer(" ".join([*said, *dict.fromkeys(left_out)]), table, command, fewest)


def _by_total(runs: Iterable[Mapping[Any, float]], depth: int) -> dict[int, float]:
    """The mean over the networks of one depth, and their random seeds, by total units."""
    totals: dict[int, list[float]] = {}
    for own in runs:
        for layers, value in own.items():
            if len(layers) == depth:
                totals.setdefault(sum(layers), []).append(value)
    return {total: fmean(values) for total, values in totals.items()}


def _both(result: Contest) -> str:
    return " and ".join(sorted(rival.name for rival in result.rivals))


def _more_totals(trials: Trials, undecided: Sequence[tuple[int, int]]) -> str:
    """Return a command that may decide between depths.

    What is independent is the totals of units that both have, not the seeds. So it runs a network of each depth with
    every total that was tried of either: they compare by themselves too, on another machine. Where depths share all
    totals there are only more seeds left.

    Args:
        trials: The trials.
        undecided: Pairs of depths.
    """
    totals: dict[int, set[int]] = {}
    for layers in {trial.parameters.layers for trial in trials}:
        totals.setdefault(len(layers), set()).add(sum(layers))
    networks: dict[str, None] = {}
    for pair in undecided:
        either = sorted(total for total in totals[pair[0]] | totals[pair[1]] if total >= max(pair))
        if not all(total in totals[depth] for depth in pair for total in either):
            networks |= dict.fromkeys(_evenly(total, depth) for depth in pair for total in either)
    if not networks:
        return command_to_settle("approximators", trials)
    same = ",".join(map(str, sorted({trial.parameters.random_seed for trial in trials})))
    return command_to_settle("approximators", trials, units=";".join(networks), random_seed=same)


def _evenly(total: int, depth: int) -> str:
    return ",".join(str(total // depth + (layer < total % depth)) for layer in range(depth))
