"""The texts on single problems: a table and what it comes to, for the page in docs and for the one in results."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from benchmarks.result_texts.sources import Shown, shown
from dlperf.claims.ledger import Claim, claims

_SUBJECTS = {
    ("alexnet", "notebook"): "AlexNet, the notebook's count and order (one group, no dense biases)",
    ("alexnet", "corrected"): "AlexNet, corrected (with the dense biases)",
    ("alexnet", "paper"): "AlexNet, as in the paper (two groups)",
    ("vgg19", "without_biases"): "VGG19 without biases",
    ("vgg19", "with_biases"): "VGG19 with biases",
    ("stacked_filters", "stack"): "3 filters of 5 x 5, 64 channels",
    ("stacked_filters", "single"): "1 filter of 13 x 13, 64 channels",
    ("inception", "naive"): "Inception module, naive",
    ("inception", "reduced"): "Inception module, reduced",
    ("inception", "googlenet_3b"): "GoogLeNet's module 3b",
}
WORDS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
DATA = "CIFAR-10, re-encoded as JPEG, so not to the pixel the official files"


def optimizers() -> str:
    """Loss, cross-entropy and accuracy by optimizer, with and without dropout."""
    source = shown("optimizers")
    table: Any = _means(source.tables["optimizers"], ["optimizer", "dropout"])
    published = {
        (rule.replace("rmsprop_nesterov", "nadam"), claim.where["dropout"]): f"{claim.published:.3f}"
        for claim in claims("optimizers")
        if claim.measure == "test_accuracy" and claim.published and "dropout" in claim.where
        if (rule := claim.where.get("optimizer") or claim.where.get("update_rule"))
    }
    rows = [
        {
            **{
                "optimizer": row.Index[0],
                "dropout": "with" if row.Index[1] else "without",
                "train loss": f"{row.final_train_loss:.3f}",
            },
            **{"cross-entropy": f"{row.final_cross_entropy:.3f}", "penalty": f"{row.final_penalty:.3f}"},
            **{"on 5,000 training images, inference": f"{row.final_subset_cross_entropy:.3f}"},
            **{"s per epoch": f"{row.seconds_per_epoch:.2f}", "test accuracy": f"{row.test_accuracy:.3f}"},
            "notebook's, 200 epochs": published.get(
                (row.Index[0].replace("rmsprop_nesterov", "nadam"), row.Index[1]), "-"
            ),
        }
        for row in rows_of(table)
    ]
    lower = sum(table.test_accuracy[name, True] < table.test_accuracy[name, False] for name in _names(table))
    return f"""*Means of {_seeds(source.tables["optimizers"])} after {_epochs(source)} of the notebook's 200 epochs,
{DATA}; {source.origin}.*

{table_of(rows)}

{ranking()} With dropout the mean test accuracy is lower for {lower} of {len(_names(table))} optimizers."""


def lowest_loss(part: str = "") -> str:
    """Which optimizer had the lowest training loss without dropout, by which the notebook ranked them.

    Args:
        part: Of the problem's results.
    """
    trials = shown("optimizers", part).tables["optimizers"]
    table = _means(trials, ["optimizer", "dropout"]).xs(False, level="dropout")
    first = str(table.final_train_loss.idxmin())
    rank = int(table.final_cross_entropy.rank()[first])
    by_entropy = f"is number {rank} by cross-entropy" if rank > 1 else "the lowest cross-entropy"
    return (
        f"after {table.epochs[first]:.0f} epochs, with {_seeds(trials)}, `{first}` had the lowest training loss of "
        f"{WORDS[len(table)]} and {by_entropy}"
    )


def ranking() -> str:
    """What the order by training loss and the one by cross-entropy have to do with each other."""
    source = shown("optimizers")
    table: Any = _means(source.tables["optimizers"], ["optimizer", "dropout"])
    without = table.xs(False, level="dropout")
    stability = source.tables["ranking_stability"]
    tau = {
        bool(row["dropout"]): row["Kendall's tau with final_train_loss"]
        for _, row in stability[stability["order by"] == "final_cross_entropy"].iterrows()
    }
    largest = without.final_penalty / without.final_train_loss
    return (
        f"Without dropout, {lowest_loss()}; of the loss of `{largest.idxmax()}` {largest.max():.0%} is weight "
        f"penalty. Kendall's tau between the orders by loss and by cross-entropy is {tau[False]:.1f} without "
        f"dropout, {tau[True]:.1f} with it."
    )


def scaling() -> str:
    """Step, throughput and efficiency by mode and workers."""
    source = shown("scaling")
    table, step = source.tables["scaling"], source.tables["step"]
    rows = [
        {
            **{"mode": row.mode, "workers": row.workers, "strategy": row.strategy.replace("none", "plain loop")},
            **{
                "batch": row.batch,
                "step, ms (quartiles)": f"{1e3 * row.step_seconds:.0f} ({1e3 * row.p25:.0f} to {1e3 * row.p75:.0f})",
            },
            **{"images per second": f"{row.images_per_second:.0f}", "10 epochs, s": f"{row.epochs_seconds:,.0f}"},
            **{"speed-up": f"{row.speedup:.3g}", "efficiency": f"{row.efficiency:.3g}"},
            "of the ceiling": f"{row.efficiency_of_ceiling:.3g}",
        }
        for row in rows_of(table)
    ]
    several = step[step.workers == step.workers.max()]
    made_of = "; ".join(
        f"{row.mode} {row.compute_ms:.0f} compute, {row.input_ms:.1f} input, {row.all_reduce_ms:.1f} all-reduce, "
        f"{row.wait_ms:.1f} waiting"
        for row in rows_of(several)
    )
    plain = table[(table.workers == 1) & (table.strategy != "none")]
    changes = " and ".join(f"{row.speedup_over_plain - 1:+.1%} ({row.mode})" for row in rows_of(plain))
    data = source.facts["dataset"].replace("synthetic", "images drawn at random")
    return f"""*{source.facts["model"]} on {data}; {source.origin}.*

{table_of(rows)}

The strategy itself changes the speed of one worker by {changes}. What a step of {several.workers.max()} workers is
made of, in ms: {made_of} (which is what is left of the step; as it was measured at other moments, it may come out below
zero)."""


def speedups() -> str:
    """How much faster the most workers are."""
    table = shown("scaling").tables["scaling"]
    most = table[table.workers == table.workers.max()].set_index("mode")
    return (
        f"{most.workers.iloc[0]} workers, a core each, are {most.speedup['strong']:.2f} (strong) and "
        f"{most.speedup['weak']:.2f} (weak) times as fast as one"
    )


def architectures() -> str:
    """What was counted of every network."""
    source = shown("architectures")
    rows = [
        {
            "network": _SUBJECTS.get((row.subject, row.account), row.subject.replace("keras:", "") + " (Keras)"),
            **{"parameters": f"{row.num_params:,.0f}", "activations": f"{row.activations:,.0f}"},
            **{"multiplications": f"{row.multiplications:,.0f}", "closed form = Keras = program": row.three_ways},
        }
        for row in rows_of(source.tables["architectures"])
    ]
    further = source.tables["further_quantities"].set_index(["account", "quantity"]).closed_form
    return f"""*From {source.origin}.*

{table_of(rows)}

Both stacks of filters see {further["stack", "receptive_field"]:.0f} x {further["single", "receptive_field"]:.0f}
pixels, by recurrence and by the support of the gradient, and make {further["stack", "output_size"]:.0f} x
{further["single", "output_size"]:.0f} of 32 x 32. The reduced Inception module saves
{further["reduced", "multiplications_saved"]:.1%} of the multiplications, a ratio of
{further["reduced", "multiplications_ratio"]:.3f}."""


def _cutout_caption() -> str:
    """What the figure of validation errors shows."""
    source = shown("cutout")
    images = (
        f"{int(source.facts['train_examples']):,} images of " if source.facts.get("train_examples", "0") != "0" else ""
    )
    return (
        f"*ResNet-{source.facts['depth']} on {images}{DATA}, {_epochs(source)} epochs, validated on the 10,000 test "
        f"images as the notebook did; {_seeds(source.tables['cutout'])}; {source.origin}.*"
    )


def cutout() -> str:
    """Time and error by copies."""
    source = shown("cutout")
    table: Any = _means(source.tables["cutout"], ["m"])
    epochs = source.tables["epochs"]
    rows = [
        {
            **{"m": row.Index, "epochs": f"{row.epochs:.0f}", "train seconds": f"{row.train_seconds:,.1f}"},
            **{"seconds per epoch": f"{row.seconds_per_epoch:.1f}", "best error": f"{row.best_validation_error:.3f}"},
            "final error": f"{row.final_validation_error:.3f}",
        }
        for row in rows_of(table)
    ]
    least, most = table.index.min(), table.index.max()
    seconds = float(table.train_seconds[least])
    curves = epochs[epochs.m.astype(int) == most].groupby("epoch")[["epoch_seconds", "validation_error"]].mean()
    begun = curves[curves.epoch_seconds.cumsum() <= seconds]
    so_far = "has not ended its first epoch"
    if len(begun):
        trained = f"{len(begun)} epoch{'s' if len(begun) > 1 else ''}"
        so_far = f"has trained {trained} and stands at {begun.validation_error.iloc[-1]:.3f}"
    return f"""{_cutout_caption()}

{table_of(rows)}

Per epoch m={most} takes {table.seconds_per_epoch[most] / table.seconds_per_epoch[least]:.1f} times the seconds of
m={least}. After the {seconds:,.0f} seconds in which m={least} has come to
{table.final_validation_error[least]:.3f}, m={most} {so_far}."""


def copies() -> str:
    """What the most copies give, and what they cost."""
    table: Any = _means(shown("cutout").tables["cutout"], ["m"])
    least, most = table.index.min(), table.index.max()
    return (
        f"after {table.epochs[most]:.0f} epochs, m={most} copies of each image: error "
        f"{table.final_validation_error[most]:.3f} instead of {table.final_validation_error[least]:.3f}, for "
        f"{table.train_seconds[most] / table.train_seconds[least]:.1f} times the training time"
    )


def approximators() -> str:
    """The networks that the notebook printed, and what depth does."""
    source = shown("approximators")
    networks = source.tables["networks"]
    return f"""*{networks.units.nunique()} networks, protocol=notebook, {_seeds(networks)}, early stopping as the
notebook's; {source.origin}.* The lowest RMSE of the 20 rows that the notebook published,
beside {"ours" if networks.random_seed.nunique() == 1 else "the means of ours"}:

{_published_networks()}

{depths()[0].upper()}{depths()[1:]}. {_common_level(source)}"""


def depths() -> str:
    """The RMSE of deeper networks over that of shallower ones of as many units."""
    means = (
        shown("approximators")
        .tables["by_total_units"]
        .pivot(index="total_units", columns="num_layers", values="mean_rmse")
    )
    ratios = {deep: (means[deep] / means[deep - 1]).dropna() for deep in (2, 3)}
    parts = [
        f"{WORDS[deep]} layers have {ratio.median():.2f} times the RMSE of {WORDS[deep - 1]} "
        f"(median of {len(ratio)} pairs)"
        for deep, ratio in reversed(ratios.items())
    ]
    return f"at equal total units {', and '.join(parts)}"


def _published_networks() -> str:
    ours = shown("approximators").tables["networks"].groupby("units").validation_rmse.mean()
    rows = [
        {
            "units": claim.where["units"],
            "notebook": f"{claim.published:.1f}",
            "ours": f"{ours[claim.where['units']]:.1f}",
        }
        for claim in _rows_of_the_notebook()
    ]
    half = (len(rows) + 1) // 2
    pairs = zip(rows[:half], rows[half:], strict=True)
    return table_of([{**left, **{f"{name} ": value for name, value in right.items()}} for left, right in pairs])


def _rows_of_the_notebook() -> list[Claim]:
    return [
        c for c in claims("approximators") if c.measure == "best_validation_rmse" and c.published and "units" in c.where
    ]


def _common_level(source: Shown) -> str:
    times = source.tables["time_to_rmse"]
    parts = [
        f"{row.reached} of {row.trials} with {WORDS[row.num_layers]} layer{'s' if row.num_layers > 1 else ''}"
        for row in rows_of(times[times.rmse == times.rmse.min()])
    ]
    reached = f"Of the trials {', '.join(parts)} reach an RMSE of {times.rmse.min():.0f}"
    return f"{reached}; predicting the mean gives 300."


def _means(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The means over random seeds, in the order of the table."""
    means: pd.DataFrame = table.groupby(by if len(by) > 1 else by[0], sort=False).mean(numeric_only=True)
    return means


def rows_of(table: pd.DataFrame) -> list[Any]:
    """Return the rows with their cells as attributes."""
    return list(table.itertuples())


def _names(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(name for name, _ in table.index))


def _epochs(source: Shown) -> str:
    epochs = source.tables[source.problem]["epochs"]
    return str(epochs.max()) if epochs.nunique() == 1 else f"{epochs.min()} to {epochs.max()}"


def _seeds(table: pd.DataFrame) -> str:
    count = table.random_seed.nunique()
    return "one random seed" if count == 1 else f"{count} random seeds"


def table_of(rows: list[dict[str, Any]]) -> str:
    """Write rows as a Markdown table, columns of numbers to the right."""
    names = list(rows[0])
    numbers = [all(re.match(r"-?[\d,.]+(%| \(|$)|-?$", str(row[name])) for row in rows) for name in names]
    lines = [
        f"| {' | '.join(str(text).strip() for text in line)} |" for line in (names, *(row.values() for row in rows))
    ]
    return "\n".join([lines[0], f"|{'|'.join('---:' if number else '---' for number in numbers)}|", *lines[1:]])
