"""The questions of problem 5, and what trials answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import fmean

import pandas as pd

from dlperf.analysis.contest import Contest, command_to_settle, contest
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
    answer = _by_depth(trials, lambda t: t.metrics["test_rmse"], "test RMSE at equal units")
    if answer is None or not any(len(trial.parameters.layers) == 1 for trial in trials):
        return answer
    confounded = (
        "Confounded with depth: networks of one layer have no batch normalisation, which stands between layers."
    )
    return replace(answer, sentence=f"{answer.sentence} {confounded}")


def _time_by_depth(trials: Trials) -> Answer | None:
    timed, said = undisturbed(trials), beside_others(trials)
    answer = _by_depth(timed, lambda t: t.metrics["train_seconds"], "training time at equal units", unit="s")
    if answer is None:
        return Answer(said.strip()) if said else None
    return replace(answer, sentence=f"{answer.sentence}{said}")


def _by_depth(trials: Trials, read: Callable[[Trial], float], what: str, unit: str = "") -> Answer | None:
    """Compare every depth with the next shallower one, at the totals of units that both have."""
    totals: dict[int, dict[int, list[float]]] = {}
    for trial in trials:
        layers = trial.parameters.layers
        totals.setdefault(len(layers), {}).setdefault(sum(layers), []).append(read(trial))
    depths = sorted(totals)
    contests, compared = [], []
    for shallow, deep in pairwise(depths):
        common = sorted(set(totals[shallow]) & set(totals[deep]))
        if common:
            kinds = {f"depth {d}": {total: fmean(totals[d][total]) for total in common} for d in (shallow, deep)}
            compared.append((shallow, deep))
            contests.append((len(common), contest(kinds, what, lower_is_better=True, unit=unit)))
    if not contests:
        return None
    sentence = " ".join(
        result.in_words(
            "totals of units", f"At the {seeds(count, 'total of units')} that networks of {_both(result)} share"
        )
        for count, result in contests
    )
    undecided = [pair for pair, (_, result) in zip(compared, contests, strict=True) if not result.is_decided]
    table = pd.concat([result.table().assign(totals=count) for count, result in contests], ignore_index=True)
    fewest = min(result.pairs for _, result in contests)
    return Answer(sentence, table, _more_totals(trials, totals, undecided) if undecided else "", fewest)


def _both(result: Contest) -> str:
    return " and ".join(sorted(rival.name for rival in result.rivals))


def _more_totals(
    trials: Trials, totals: Mapping[int, Mapping[int, object]], undecided: Sequence[tuple[int, int]]
) -> str:
    """Return a command that may decide between depths.

    What is independent is the totals of units that both have, not the seeds: so it runs the networks by which they
    share all the totals of either, and more seeds only where there are no such networks.

    Args:
        trials: The trials.
        totals: The totals of units of each depth.
        undecided: Pairs of depths.
    """
    lacking = sorted(
        (depth, total)
        for pair in undecided
        for depth, other in (pair, pair[::-1])
        for total in totals[other].keys() - totals[depth].keys()
        if total >= depth
    )
    if not lacking:
        return command_to_settle("approximators", trials)
    units = ";".join(",".join(map(str, _evenly(total, depth))) for depth, total in dict.fromkeys(lacking))
    same = ",".join(map(str, sorted({trial.parameters.random_seed for trial in trials})))
    return command_to_settle("approximators", trials, units=units, random_seed=same)


def _evenly(total: int, depth: int) -> list[int]:
    return [total // depth + (layer < total % depth) for layer in range(depth)]
