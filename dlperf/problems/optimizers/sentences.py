"""What the tables of the optimizers problem say, in a sentence each."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dlperf.analysis.contest import BySeed, contest
from dlperf.analysis.wording import span
from dlperf.tables import cell


def of_trials(rows: pd.DataFrame) -> str:
    """Say of each half of the trials, with and without dropout, which optimizer leads by the training loss."""
    if len(rows) == 1:
        row = rows.iloc[0]
        loss = f"a training loss of {cell(row['final_train_loss'])}, {cell(row['final_penalty'])} of it weight penalty"
        test = f"; test accuracy {cell(row['test_accuracy'])}" if "test_accuracy" in rows else ""
        return f"{row['optimizer']}: {loss}, after {row['epochs']} epochs{test}."
    said = []
    for dropout, half in rows.groupby("dropout", sort=False):
        kinds = _by_seed(half, "final_train_loss")
        if len(kinds) > 1:
            result = contest(kinds, "final training loss", lower_is_better=True)
            said.append(result.in_words(where=network(dropout).capitalize()))
    return " ".join(said)


def of_stability(stability: pd.DataFrame) -> str:
    """Say how far the orders by other criteria are the one by the training loss."""
    tau = stability["Kendall's tau with final_train_loss"]
    other = int((stability["first by it"] != stability["first by final_train_loss"]).sum())
    first = f"{other} of {len(stability)} put another optimizer first"
    return f"Orders by other criteria have a tau of {span(list(tau))} with that by final training loss; {first}."


def of_probabilities(probabilities: pd.DataFrame) -> str:
    """Say which optimizers have any probability of being first by the training loss."""
    said = []
    for dropout, half in probabilities.groupby("dropout", sort=False):
        able = half[half["final_train_loss"] > 0].sort_values("final_train_loss", ascending=False)
        shares = ", ".join(f"{row['optimizer']} {row['final_train_loss']:.0%}" for _, row in able.iterrows())
        said.append(f"{network(dropout)} {shares}")
    return f"First by final training loss with the seeds run: {'; '.join(said)}."


def of_rates(rates: pd.DataFrame) -> str:
    """Say how many kinds chose a learning rate at the edge of the grid, where a further one could have won."""
    chosen = rates[rates["chosen"] != ""]
    edge = chosen[chosen["chosen"] != "yes"]
    names = ", ".join(
        f"{row['optimizer']} {cell(row['learning_rate'])} {network(row['dropout'])}" for _, row in edge.iterrows()
    )
    outside = f": {names}" if names else ""
    return f"{len(edge)} of {len(chosen)} choices lie at the edge of the grid{outside}."


def _by_seed(half: pd.DataFrame, criterion: str) -> dict[str, BySeed]:
    kinds: dict[str, dict[Any, float]] = {}
    several = half.groupby("optimizer")["learning_rate"].nunique().max() > 1
    for row in half.itertuples():
        name = f"{row.optimizer} {cell(row.learning_rate)}" if several else str(row.optimizer)
        kinds.setdefault(name, {})[row.random_seed] = float(getattr(row, criterion))
    return dict(kinds)


def network(dropout: Any) -> str:
    """Say which networks a row is of, by its column `dropout`."""
    if isinstance(dropout, str):
        return f"with the model {dropout}"
    return "with dropout" if dropout else "without dropout"
