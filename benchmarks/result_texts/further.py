"""The texts on what else results/ has of single problems: measured once, by a command that stands beside it."""

from __future__ import annotations

from typing import Any

import pandas as pd
from scipy.stats import kendalltau

from benchmarks.result_texts.problems import DATA, WORDS, rows_of, table_of
from benchmarks.result_texts.sources import RESULTS, compared, shown
from dlperf.analysis.settings import undisturbed
from dlperf.claims.ledger import claims
from dlperf.trial import StoredTrial

_ACCOUNTS = ("train", "evaluation", "compile", "setup", "tracking", "checkpoint")


def optimizers_200_epochs() -> str:
    """Loss and accuracy after as many epochs as the notebook trained for, beside what it printed."""
    source = shown("optimizers", "notebook_200_epochs")
    table = source.tables["optimizers"]
    printed = {
        (claim.where.get("optimizer") or claim.where.get("update_rule"), claim.where["dropout"], claim.measure): claim
        for claim in claims("optimizers")
        if claim.published and claim.measure in ("train_loss", "test_accuracy") and "dropout" in claim.where
    }
    rows = []
    beside: dict[str, list[tuple[float, float]]] = {"training loss": [], "test accuracy": []}
    for row in rows_of(table):
        loss, accuracy = (printed[row.optimizer, row.dropout, name] for name in ("train_loss", "test_accuracy"))
        if not row.dropout:
            beside["training loss"].append((row.final_train_loss, float(str(loss.published))))
            beside["test accuracy"].append((row.test_accuracy, float(str(accuracy.published))))
        rows.append(
            {
                **{"optimizer": row.optimizer, "dropout": "with" if row.dropout else "without"},
                **{"random seed": row.random_seed, "train loss": f"{row.final_train_loss:.3f}"},
                **{"notebook's": f"{loss.published:.3f}", "cross-entropy": f"{row.final_cross_entropy:.3f}"},
                **{"penalty": f"{row.final_penalty:.3f}", "test accuracy": f"{row.test_accuracy:.3f}"},
                "notebook's ": f"{accuracy.published:.3f}",
            }
        )
    without = table[~table.dropout.astype(bool)]
    share = without.final_penalty / without.final_train_loss
    orders = [f"{kendalltau(*zip(*pairs, strict=True)).statistic:.2g} by {what}" for what, pairs in beside.items()]
    return f"""*{DATA}; {source.origin}.*

{table_of(rows)}

Kendall's tau between the order here and the notebook's, without dropout: {" and ".join(orders)}. The weight penalty is
{share.min():.0%} to {share.max():.0%} of these losses without dropout."""


def dropout_readings() -> str:
    """Which of two readings of its dropout the notebook ran, by the lowest training loss that it printed."""
    printed = {
        str(claim.where.get("optimizer") or claim.where.get("update_rule")): float(str(claim.published))
        for claim in claims("optimizers")
        if claim.measure == "best_train_loss" and claim.published and claim.where.get("dropout")
    }
    longest: dict[tuple[str, str], StoredTrial[Any]] = {}
    for trial in sorted(compared("optimizers").trials, key=lambda trial: trial.parameters.epochs):
        if trial.parameters.dropout and trial.parameters.random_seed == 0:
            longest[trial.parameters.optimizer, trial.parameters.dropout_after] = trial
    readings = {"last": "after the last layer", "each": "after each layer"}
    rows = []
    below: dict[str, list[str]] = {reading: [] for reading in readings}
    for optimizer, lowest in printed.items():
        row = {"optimizer": optimizer, "notebook's lowest of 200 epochs": f"{lowest:.3f}"}
        for reading, name in readings.items():
            if (optimizer, reading) not in longest:
                row |= {name: "not run", f"epochs {name}": "-"}
                continue
            trial = longest[optimizer, reading]
            loss = trial.metrics["best_train_loss"]
            row |= {name: f"{loss:.3f}", f"epochs {name}": f"{trial.metrics['epochs_run']:.0f}"}
            if loss < 0.99 * lowest:
                below[reading].append(f"`{optimizer}`")
        rows.append(row)
    ran = [reading for _, reading in longest]
    said = [
        f"dropout {name} {', '.join(below[reading]) or 'none'} of {WORDS[ran.count(reading)]}"
        for reading, name in readings.items()
        if reading in ran
    ]
    return f"""{table_of(rows)}

More than 1 % below what the notebook printed lie, with {", and with ".join(said)}."""


def laws() -> str:
    """The serial share that the laws of scaling would mean."""
    table = shown("scaling").tables["laws"]
    shares = table[table.parameter.str.startswith("serial share")]
    parts = [f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f}) {row.mode}" for row in rows_of(shares)]
    return f"The serial share that the speed-up would mean is {' and '.join(parts)}."


def collectives() -> str:
    """Ways to reduce over two hosts."""
    table = pd.read_csv(RESULTS / "scaling" / "collectives.csv")
    return table_of(
        [
            {
                **{"bandwidth": row.limit, "collective": row.collective.upper()},
                "step, ms": f"{1e3 * row.step_seconds:.0f}",
                "images per second": f"{row.images_per_second:.0f}",
                "all-reduce alone, ms": f"{1e3 * row.all_reduce_seconds:.1f}",
            }
            for row in rows_of(table)
        ]
    )


def networks_by_seed() -> str:
    """What the trials of problem 5 spent their time on, by random seed, and how far the seeds lie apart."""
    by_seed: dict[int, list[StoredTrial[Any]]] = {}
    for trial in compared("approximators").trials:
        by_seed.setdefault(trial.parameters.random_seed, []).append(trial)
    rows = []
    for seed, trials in sorted(by_seed.items()):
        spent = {name: sum(t.metrics[f"{name}_seconds"] for t in trials) for name in ("wall", *_ACCOUNTS)}
        epochs = [t.metrics["epochs_run"] for t in trials]
        rows.append(
            {
                **{"random seed": seed, "finished": len(trials), "disturbed": len(trials) - len(undisturbed(trials))},
                **{
                    "epochs": f"{min(epochs):.0f} to {max(epochs):,.0f}",
                    "hours, in all": f"{spent['wall'] / 3600:.2f}",
                },
                **{name: f"{spent[name] / spent['wall']:.1%}" for name in _ACCOUNTS},
            }
        )
    networks = shown("approximators").tables["networks"]
    rmse = networks[networks.num_layers == 2].groupby("units").test_rmse
    apart = rmse.max() - rmse.min()
    return f"""{table_of(rows)}

The lowest and the highest RMSE of one network of two layers lie {apart.min():.1f} to {apart.max():.1f} apart, depending
on the random seed alone; {apart.median():.1f} in the median."""


def time_to_rmse() -> str:
    """When trials of each depth reached levels of RMSE."""
    return table_of(
        [
            {
                **{"RMSE": f"{row.rmse:.1f}", "layers": WORDS[row.num_layers], "trials": row.trials},
                **{"reached": row.reached, "median epochs": f"{row.median_epochs:.1f}".replace("nan", "-")},
                "median seconds": f"{row.median_seconds:.2f}".replace("nan", "-"),
            }
            for row in rows_of(shown("approximators").tables["time_to_rmse"])
        ]
    )
