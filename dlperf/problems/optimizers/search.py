"""The search for a learning rate: which rates are tried, and which one is trained with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dlperf.problems.optimizers.parameters import OptimizersParameters
from dlperf.trial import StoredTrial


def next_trials(
    asked: Sequence[OptimizersParameters], finished: Sequence[StoredTrial[OptimizersParameters]]
) -> Sequence[OptimizersParameters]:
    """Try the learning rates with the first random seed; then train with the best one, with all random seeds.

    The notebook's protocol has no validation images to choose by: there every trial asked for is run.
    """
    if asked[0].notebook or asked[0].stage == "search":
        return asked
    searches: list[OptimizersParameters] = []
    chosen: dict[tuple[str, bool], float] = {}
    for pair, alike in candidates(asked).items():
        losses = {
            (t.parameters.rung, t.parameters.learning_rate): t.metrics.get("validation_cross_entropy", math.inf)
            for t in finished
            if t.parameters.stage == "search" and (t.parameters.optimizer, t.parameters.dropout) == pair
        }
        tried, best = _halving(alike, losses) if alike[0].search == "halving" else _grid(alike, losses)
        searches += tried
        if best is not None:
            chosen[pair] = best
    return searches + [t for t in asked if chosen.get((t.optimizer, t.dropout)) == t.learning_rate]


def candidates(asked: Sequence[OptimizersParameters]) -> dict[tuple[str, bool], list[OptimizersParameters]]:
    """Return the trials of the first random seed, one a learning rate, by optimizer and dropout."""
    alike: dict[tuple[str, bool], list[OptimizersParameters]] = {}
    for trial in asked:
        if trial.random_seed == asked[0].random_seed:
            alike.setdefault((trial.optimizer, trial.dropout), []).append(trial)
    return alike


def rungs(count: int, budget: int) -> list[tuple[int, int]]:
    """Return the rounds of successive halving: learning rates, and epochs of each.

    Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", algorithm 1:
    every round has an equal share of the budget, and the better half of the rates goes on. A rate that goes on is
    trained anew, for about twice the epochs.

    Args:
        count: Learning rates, at least 2.
        budget: Epochs in all; at least one for each rate of each round.
    """
    rounds = math.ceil(math.log2(count))
    counts = [count]
    while len(counts) < rounds:
        counts.append(math.ceil(counts[-1] / 2))
    return [(n, max(1, budget // (rounds * n))) for n in counts]


def least_budget(count: int) -> int:
    """Return the epochs that the rounds of `count` learning rates need at least."""
    return math.ceil(math.log2(count)) * count if count > 1 else 0


def best_rates(trials: Sequence[StoredTrial[OptimizersParameters]]) -> dict[tuple[str, bool | str], float]:
    """Return, by optimizer and dropout, the rate of the lowest validation cross-entropy in the last round tried."""
    tried = [trial for trial in trials if trial.parameters.stage == "search"]
    # The best one comes last, so the dictionary keeps it.
    tried.sort(key=lambda t: (t.parameters.rung, -t.metrics.get("validation_cross_entropy", math.inf)))
    return {(t.parameters.optimizer, t.parameters.drops): t.parameters.learning_rate for t in tried}


_Losses = Mapping[tuple[int, float], float]


def _grid(alike: list[OptimizersParameters], losses: _Losses) -> tuple[list[OptimizersParameters], float | None]:
    """Try every rate alike; the best is known once any has finished, the others having failed by then."""
    if len(alike) == 1:
        return [], alike[0].learning_rate
    # Of equal losses the last one counts, as in `best_rates`.
    best = min(reversed([*losses]), key=lambda key: losses[key])[1] if losses else None
    return [trial.searching() for trial in alike], best


def _halving(alike: list[OptimizersParameters], losses: _Losses) -> tuple[list[OptimizersParameters], float | None]:
    """Try all rates briefly, then the better half for longer, and so on."""
    if len(alike) == 1:
        return [], alike[0].learning_rate
    tried: list[OptimizersParameters] = []
    left = alike
    for rung, (_, epochs) in enumerate(rungs(len(alike), alike[0].search_budget)):
        tried += [trial.searching(rung=rung, epochs=epochs) for trial in left]
        done = [trial for trial in left if (rung, trial.learning_rate) in losses]
        if not done:
            return tried, None
        done.sort(key=lambda trial, rung=rung: losses[rung, trial.learning_rate])  # type: ignore[misc]
        left = done[: math.ceil(len(left) / 2)]
    return tried, left[0].learning_rate
