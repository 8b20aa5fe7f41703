"""Which optimizer to take: what each came to, how probably it is the best, and what its search has cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from dlperf.analysis.best import Choice, choose
from dlperf.analysis.settings import timed
from dlperf.analysis.statistics import mean_of, time_to
from dlperf.problems.optimizers.parameters import OptimizersParameters
from dlperf.problems.optimizers.sentences import network
from dlperf.trial import StoredTrial

Trials = Sequence[StoredTrial[OptimizersParameters]]

CRITERION = "validation_cross_entropy"
"""The metric of the last epoch that decides, as in the search for a learning rate; lower is better."""


def choice_table(trained: Trials, searched: Trials) -> pd.DataFrame:
    """Lay out a row per optimizer and dropout, with intervals over random seeds; empty without validation examples."""
    rows: list[dict[str, Any]] = []
    for dropout, kinds in _kinds(trained).items():
        choice = _choice(kinds)
        for place, (optimizer, trials) in enumerate(kinds.items()):
            final, best, test = (
                mean_of([t.metrics[name] for t in trials if name in t.metrics] or [np.nan])
                for name in (CRITERION, f"best_{CRITERION}", "test_accuracy")
            )
            search = [t for t in searched if (t.parameters.optimizer, t.parameters.drops) == (optimizer, dropout)]
            rows.append(
                {
                    "dropout": dropout,
                    "optimizer": optimizer,
                    "learning_rate": trials[0].parameters.learning_rate,
                    "random_seeds": final.n,
                    "probability_of_best": choice.probabilities[place] if choice else np.nan,
                    CRITERION: final.mean,
                    "low": final.low,
                    "high": final.high,
                    f"best_{CRITERION}": best.mean,
                    "test_accuracy": test.mean,
                    "test_low": test.low,
                    "test_high": test.high,
                    "epochs_to_target": _median(trials, "epochs_to_target", "epochs_run"),
                    "seconds_to_target": _median(timed(trials)[0], "seconds_to_target", "train_seconds"),
                    "search_trials": len(search),
                    "search_epochs": int(sum(t.metrics["epochs_run"] for t in search)),
                    "search_seconds": sum(t.metrics["train_seconds"] for t in search),
                }
            )
    return pd.DataFrame(rows)


def recommendation(trained: Trials) -> str:
    """Say in a sentence what to take, how sure that is and what would settle it, without and with dropout apart."""
    said = []
    several = len(_kinds(trained)) > 1
    for dropout, kinds in _kinds(trained).items():
        choice, names = _choice(kinds), list(kinds)
        start = f"{network(dropout)} " if several else ""
        if len(names) < 2:
            continue
        if choice is None:
            said.append(f"{start}nothing is recommended: one random seed does not say how sure a choice is")
            continue
        seeds = min(len(trials) for trials in kinds.values())
        first, second = names[choice.first], names[choice.second]
        sure = f"{first} is the best by final validation cross-entropy with a probability of "
        sure += f"{choice.probabilities[choice.first]:.0%} ({seeds} random seeds)"
        if choice.more_seeds is None:
            sure += f"; as good as nothing tells it from {second}"
        elif choice.more_seeds:
            next_one = f"{second} ({choice.probabilities[choice.second]:.0%})"
            sure += (
                f", before {next_one}: {choice.more_seeds} more seeds of both would settle it if they go on like that"
            )
        said.append(start + sure)
    sentence = "; ".join(said)
    return f"{sentence[:1].upper()}{sentence[1:]}." if sentence else ""


def _kinds(trained: Trials) -> dict[bool | str, dict[str, list[StoredTrial[OptimizersParameters]]]]:
    """Trials that were validated, by dropout and optimizer; of several learning rates the one with the best mean."""
    rates: dict[tuple[bool | str, str], dict[float, list[StoredTrial[OptimizersParameters]]]] = {}
    for trial in trained:
        if CRITERION in trial.metrics:
            p = trial.parameters
            rates.setdefault((p.drops, p.optimizer), {}).setdefault(p.learning_rate, []).append(trial)
    kinds: dict[bool | str, dict[str, list[StoredTrial[OptimizersParameters]]]] = {}
    for (dropout, optimizer), by_rate in rates.items():
        best = min(by_rate.values(), key=lambda trials: float(np.mean([t.metrics[CRITERION] for t in trials])))
        kinds.setdefault(dropout, {})[optimizer] = best
    return kinds


def _choice(kinds: dict[str, list[StoredTrial[OptimizersParameters]]]) -> Choice | None:
    return choose([[t.metrics[CRITERION] for t in trials] for trials in kinds.values()])


def _median(trials: Trials, reached: str, followed: str) -> float:
    return time_to(
        [t.metrics[reached] for t in trials if reached in t.metrics],
        [t.metrics[followed] for t in trials if reached not in t.metrics],
    ).median
