"""The search for a learning rate: which rates are tried, and which one is trained with."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    first = asked[0].random_seed
    candidates: dict[tuple[str, bool], list[OptimizersParameters]] = {}
    for trial in asked:
        if trial.random_seed == first:
            candidates.setdefault((trial.optimizer, trial.dropout), []).append(trial)
    chosen = best_rates(finished) | {
        pair: alike[0].learning_rate for pair, alike in candidates.items() if len(alike) == 1
    }
    searches = [trial.searching() for alike in candidates.values() if len(alike) > 1 for trial in alike]
    return searches + [t for t in asked if chosen.get((t.optimizer, t.dropout)) == t.learning_rate]


def best_rates(trials: Sequence[StoredTrial[OptimizersParameters]]) -> dict[tuple[str, bool], float]:
    """Return, by optimizer and dropout, the tried rate of the lowest validation cross-entropy after the last epoch."""
    tried = [trial for trial in trials if trial.parameters.stage == "search"]
    # The best one comes last, so the dictionary keeps it.
    tried.sort(key=lambda trial: -trial.metrics.get("validation_cross_entropy", math.inf))
    return {(t.parameters.optimizer, t.parameters.dropout): t.parameters.learning_rate for t in tried}
