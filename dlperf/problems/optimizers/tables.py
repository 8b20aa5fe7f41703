"""Tables of the optimizers problem: the notebook's, the same without the penalty, rankings and their stability."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from dlperf.analysis.settings import timed
from dlperf.problem import Deferred, Summary
from dlperf.problems.optimizers import sentences
from dlperf.problems.optimizers.choice import CRITERION, choice_table, recommendation
from dlperf.problems.optimizers.figures import comparisons, curves, learning_rates
from dlperf.problems.optimizers.parameters import OptimizersParameters
from dlperf.problems.optimizers.search import best_rates
from dlperf.problems.optimizers.update_rules import Generation, documentation
from dlperf.trial import StoredTrial

Trials = Sequence[StoredTrial[OptimizersParameters]]

# What optimizers are ranked by: column of the table of trials, and whether lower is better.
CRITERIA = {
    "final_train_loss": True,
    "final_cross_entropy": True,
    "final_subset_cross_entropy": True,
    "final_validation_cross_entropy": True,
    "test_accuracy": False,
}

_KIND = ("dropout", "optimizer", "learning_rate")
_RESULT = ("final_train_loss", "final_cross_entropy", "test_accuracy")
COLUMNS = {
    "optimizers": (*_KIND, "epochs", *_RESULT),
    "choice": (*_KIND, "probability_of_best", CRITERION, "low", "high", "test_accuracy", "search_seconds"),
    "by_optimizer": (*_KIND, "random_seeds", *_RESULT, "train_seconds"),
    "ranking_stability": ("dropout", "order by", "Kendall's tau with final_train_loss", "first by it"),
    "probability_of_best": (*_KIND, *_RESULT),
    "learning_rates": (*_KIND, "epochs", "validation_cross_entropy", "validation_accuracy", "chosen"),
}


def summary(trials: Trials) -> Summary:
    """Lay out trials, means over random seeds, rankings, claims and the tried learning rates."""
    trained = [trial for trial in trials if trial.parameters.stage == "final"]
    searched = [trial for trial in trials if trial.parameters.stage == "search"]
    tables: dict[str, pd.DataFrame] = {}
    figures: dict[str, Callable[[], Any]] = {}
    if trained:
        rows = trial_table(trained)
        tables["optimizers"] = rows
        figures |= curves(trained)
        if len(rows) > 1:
            averaged = averages(trained)
            tables = {"by_optimizer": averaged, **tables}
            figures |= comparisons(rows)
        if rows["optimizer"].nunique() > 1:
            tables |= {"ranking": ranking(averaged), "ranking_stability": ranking_stability(averaged)}
            if rows["random_seed"].nunique() > 1:
                tables["probability_of_best"] = probability_of_best(rows)
        if len(choice := choice_table(trained, searched)) > 1:
            tables = {"choice": choice, **tables}
    if searched:
        rates = tables["learning_rates"] = rate_table(searched, best_rates(searched))
        figures["learning_rates"] = lambda: learning_rates(searched, rates)
    rules = dict.fromkeys((trial.parameters.update_rule, trial.parameters.update_rules) for trial in trials)
    tables["update_rules"] = rule_table(list(rules))
    compared = ("choice", "by_optimizer", "ranking_stability", "probability_of_best", "learning_rates")
    shown = tuple(name for name in compared if name in tables) or tuple(tables)[:1]
    said: dict[str, Callable[[], str]] = {
        "choice": lambda: recommendation(trained),
        "optimizers": lambda: sentences.of_trials(tables["optimizers"]),
        "by_optimizer": lambda: sentences.of_trials(tables["optimizers"]),
        "ranking_stability": lambda: sentences.of_stability(tables["ranking_stability"]),
        "probability_of_best": lambda: sentences.of_probabilities(tables["probability_of_best"]),
        "learning_rates": lambda: sentences.of_rates(tables["learning_rates"]),
    }
    return Summary(tables, Deferred(figures), shown=shown, columns=COLUMNS, sentences=Deferred(said))


def trial_table(trials: Trials) -> pd.DataFrame:
    """The notebook's figures per trial: the loss with its penalty, the cross-entropy without."""
    rows = []
    for trial in trials:
        parameters, metrics = trial.parameters, trial.metrics
        rows.append(
            {
                "optimizer": parameters.optimizer,
                "dropout": parameters.drops,
                "learning_rate": parameters.learning_rate,
                "random_seed": parameters.random_seed,
                "epochs": int(metrics["epochs_run"]),
                "min_train_loss": metrics["best_train_loss"],
                "final_train_loss": metrics["train_loss"],
                "min_cross_entropy": metrics["best_train_cross_entropy"],
                "final_cross_entropy": metrics["train_cross_entropy"],
                "final_penalty": metrics["train_penalty"],
                "final_subset_cross_entropy": metrics["train_subset_cross_entropy"],
                "final_validation_cross_entropy": metrics.get("validation_cross_entropy", np.nan),
                "train_seconds": metrics["train_seconds"],
                "seconds_per_epoch": metrics["train_seconds"] / metrics["epochs_run"],
                "seconds_to_target": metrics.get("seconds_to_target", np.nan),
                "test_accuracy": metrics.get("test_accuracy", np.nan),
            }
        )
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def averages(trials: Trials) -> pd.DataFrame:
    """Means over random seeds, and standard deviations where there are several, in the order of the trials.

    Times are averaged over the trials beside which no other programs ran, where a kind has such.
    """
    grouped = trial_table(trials).groupby(list(_KIND), sort=False)
    means = grouped.mean(numeric_only=True).drop(columns=["random_seed"])
    kinds: dict[tuple[Any, ...], list[StoredTrial[OptimizersParameters]]] = {}
    for trial in trials:
        kind = trial.parameters.drops, trial.parameters.optimizer, trial.parameters.learning_rate
        kinds.setdefault(kind, []).append(trial)
    quiet = trial_table([trial for kind in kinds.values() for trial in timed(kind)[0]])
    quiet_means = quiet.groupby(list(_KIND), sort=False).mean(numeric_only=True)
    for column in ("train_seconds", "seconds_per_epoch", "seconds_to_target"):
        if column in means:
            means[column] = quiet_means.get(column, np.nan)
    for column in ("final_train_loss", "final_cross_entropy", "test_accuracy"):
        if grouped.size().max() > 1:
            place = list(means.columns).index(column) + 1
            means.insert(place, f"sd_{column}", grouped[column].std())
    means.insert(0, "random_seeds", grouped.size())
    return means.reset_index()


def ranking(averaged: pd.DataFrame) -> pd.DataFrame:
    """Every optimizer's place by every criterion, 1 for the best; equal means share a place."""
    placed = averaged[["dropout", "optimizer", "learning_rate"]].copy()
    for criterion, ascending in _criteria(averaged).items():
        placed[criterion] = averaged.groupby("dropout")[criterion].rank(method="min", ascending=ascending).astype(int)
    return placed


def ranking_stability(averaged: pd.DataFrame) -> pd.DataFrame:
    """Kendall's tau between the order by penalised training loss and the order by another criterion; 1 if equal."""
    rows = []
    for dropout, group in averaged.groupby("dropout"):
        for criterion, ascending in _criteria(averaged).items():
            if criterion == "final_train_loss" or len(group) < 3:
                continue
            by_loss, by_it = group["final_train_loss"], group[criterion] if ascending else -group[criterion]
            names = group["optimizer"].to_numpy()
            rows.append(
                {
                    "dropout": dropout,
                    "order by": criterion,
                    "Kendall's tau with final_train_loss": stats.kendalltau(by_loss, by_it).statistic,
                    "first by it": names[by_it.argmin()],
                    "first by final_train_loss": names[by_loss.argmin()],
                }
            )
    return pd.DataFrame(rows)


def probability_of_best(rows: pd.DataFrame) -> pd.DataFrame:
    """Probability that an optimizer beats all others when all run with one of their seeds, drawn independently.

    Exact over all combinations of the seeds run; an optimizer with several learning rates counts as several.
    """
    probabilities = []
    for dropout, rivals in rows.groupby("dropout"):
        kinds: dict[Any, pd.DataFrame] = dict(list(rivals.groupby(["optimizer", "learning_rate"], sort=False)))
        chances = {}
        for criterion, ascending in _criteria(rows).items():
            values = {kind: np.sort(group[criterion] * (1 if ascending else -1)) for kind, group in kinds.items()}
            chances[criterion] = {kind: _chance(kind, values) for kind in kinds}
        for optimizer, rate in kinds:
            row: dict[str, Any] = {"dropout": dropout, "optimizer": optimizer, "learning_rate": rate}
            probabilities.append(row | {name: chance[optimizer, rate] for name, chance in chances.items()})
    return pd.DataFrame(probabilities)


def _chance(kind: Any, values: Mapping[Any, np.ndarray]) -> float:
    """The probability that a kind's value is below one of every other's; values are sorted, low ones the better."""
    wins = np.ones(len(values[kind]))
    for other, theirs in values.items():
        if other != kind:
            wins *= 1 - np.searchsorted(theirs, values[kind], side="right") / len(theirs)
    return float(wins.mean())


def rate_table(searched: Trials, best: dict[tuple[str, bool | str], float]) -> pd.DataFrame:
    """Validation cross-entropy and accuracy per learning rate tried; the search never reads the test set."""
    alike: dict[tuple[str, bool | str], list[OptimizersParameters]] = {}
    for trial in searched:
        alike.setdefault((trial.parameters.optimizer, trial.parameters.drops), []).append(trial.parameters)
    limits = {
        kind: (min(p.learning_rate for p in ps), max(p.learning_rate for p in ps), max(p.rung for p in ps))
        for kind, ps in alike.items()
    }
    rows = []
    for trial in searched:
        parameters = trial.parameters
        kind = parameters.optimizer, parameters.drops
        lowest, highest, last = limits[kind]
        chosen = (best[kind], last) == (parameters.learning_rate, parameters.rung)
        at_edge = chosen and parameters.learning_rate in (lowest, highest)
        rows.append(
            {
                "dropout": parameters.drops,
                "optimizer": parameters.optimizer,
                "learning_rate": parameters.learning_rate,
                "rung": parameters.rung,
                "epochs": int(trial.metrics["epochs_run"]),
                "train_cross_entropy": trial.metrics["train_cross_entropy"],
                "validation_cross_entropy": trial.metrics["validation_cross_entropy"],
                "validation_accuracy": trial.metrics["validation_accuracy"],
                "chosen": ("yes, at the edge of the grid" if at_edge else "yes") if chosen else "",
            }
        )
    kinds = ["dropout", "optimizer", "learning_rate"]
    # Values of dropout may be of two types, which compare as texts only.
    return pd.DataFrame(rows).sort_values(
        kinds, key=lambda values: values.map(str) if values.name == "dropout" else values, ignore_index=True
    )


def rule_table(rules: Sequence[tuple[str, Generation]]) -> pd.DataFrame:
    """Equation, source and hyper-parameters of update rules of a generation, as their docstrings state them."""
    documented = [(rule, documentation(rule, generation)) for rule, generation in rules]
    return pd.DataFrame(
        {
            "update_rule": rule,
            "generation": says.generation,
            "hyper_parameter": hyper_parameter.name,
            "paper_default": hyper_parameter.paper,
            "keras_default": hyper_parameter.keras,
            "meaning": hyper_parameter.meaning,
            "equation": says.equation,
            "source": says.source,
        }
        for rule, says in documented
        for hyper_parameter in says.hyper_parameters
    ).drop_duplicates(ignore_index=True)


def _criteria(table: pd.DataFrame) -> dict[str, bool]:
    return {name: ascending for name, ascending in CRITERIA.items() if name in table}
