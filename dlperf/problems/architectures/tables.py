"""Tables of the architectures problem: the three ways of counting side by side, with verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from dlperf.problem import Deferred, Summary
from dlperf.problems.architectures import sentences
from dlperf.problems.architectures.figures import subject_figure, work_figure
from dlperf.problems.architectures.parameters import TOTALS, ArchitecturesParameters
from dlperf.trial import StoredTrial

# In the order of the table. The metric ACCOUNT/QUANTITY is by closed form; the endings below mark the other ways.
_QUANTITIES = (
    *TOTALS,
    *("receptive_field", "output_size", "output_depth", "params_per_channels_squared"),
    *("multiplications_ratio", "multiplications_saved"),
)
AT_LEAST = "at least"
"""The verdict on a sum that leaves out what is not known."""

_NOT_KNOWN = {"multiplications": "layers_not_counted", "activations": "outputs_not_counted"}
_WAYS = {"closed_form": "", "keras": "_keras", "measured": "_measured"}


def summary(trials: Sequence[StoredTrial[ArchitecturesParameters]]) -> Summary:
    """Lay out what was counted, the three ways side by side, with verdicts."""
    ways = pd.concat([three_ways(trial.parameters.subject, trial.metrics) for trial in trials], ignore_index=True)
    rows = []
    for (subject, account), group in ways.groupby(["subject", "account"], sort=False):
        values = dict(zip(group["quantity"], group["closed_form"], strict=True))
        if not set(TOTALS) <= values.keys():  # a run made by hand
            continue
        totals = {quantity: int(values[quantity]) for quantity in TOTALS}
        lower_bounds = group["quantity"][group["verdict"] == AT_LEAST]
        row = {"subject": subject, "account": account, **totals, "three_ways": together(group["verdict"])}
        rows.append({**row, AT_LEAST: ", ".join(lower_bounds)})
    table = pd.DataFrame(rows, columns=["subject", "account", *TOTALS, "three_ways", AT_LEAST])
    if not any(table[AT_LEAST]):
        table = table.drop(columns=AT_LEAST)
    further = ways[~ways["quantity"].isin(TOTALS)].dropna(axis="columns", how="all")
    tables = {"architectures": table} | ({"further_quantities": further} if len(further) else {})
    figures = {"architectures": lambda: subject_figure(table)}
    if len(table) > 1:
        figures["work_and_weights"] = lambda: work_figure(table)
    said = {
        "architectures": lambda: sentences.of_networks(table),
        "further_quantities": lambda: sentences.of_further(further),
    }
    return Summary(
        {**tables, "three_ways": ways},
        Deferred(figures),
        shown=tuple(tables),
        columns={"architectures": ("subject", "account", "num_params", "multiplications", "three_ways", AT_LEAST)},
        sentences=Deferred(said),
    )


def three_ways(subject: str, metrics: Mapping[str, float]) -> pd.DataFrame:
    """Return a row per account and quantity that says whether its ways agree; a pure function of the metrics."""
    accounts = list(dict.fromkeys(name.partition("/")[0] for name in metrics if "/" in name))
    rows = []
    for account in sorted(accounts, key=_account_order):
        for quantity in _QUANTITIES:
            values = {way: metrics.get(f"{account}/{quantity}{ending}") for way, ending in _WAYS.items()}
            if values["closed_form"] is None:
                continue
            plain = metrics.get(f"{account}/num_params_plain") if quantity == "num_params" else None
            is_bound = metrics.get(f"{account}/{_NOT_KNOWN.get(quantity)}", 0) > 0
            row = {"subject": subject, "account": account, "quantity": quantity, **values}
            rows.append({**row, "verdict": _verdict(quantity, values, is_bound, plain)})
    return pd.DataFrame(rows, columns=["subject", "account", "quantity", *_WAYS, "verdict"])


def _verdict(quantity: str, values: Mapping[str, float | None], is_bound: bool, plain: float | None) -> str:
    """Compare the ways: all that are there must be equal (ratios: to a part in 10^12), or not below a lower bound.

    Args:
        quantity: What is counted.
        values: The count of each way.
        is_bound: The closed form's count is a lower bound.
        plain: Parameters without what adapters or quantisation changed; None where nothing did.
    """
    known = [value for value in values.values() if value is not None]
    if is_bound:
        return "differs" if min(known) < known[0] else AT_LEAST
    tolerance = 1e-12 if "multiplications_" in quantity else 0
    if any(not math.isclose(known[0], value, rel_tol=tolerance) for value in known):
        return "differs"
    if quantity in ("num_params", "multiplications") and values["measured"] is None:
        return "not measured"
    if plain is not None:
        return f"agrees, {known[0] - plain:+,.0f} by adapters or quantisation"
    return "agrees" if len(known) > 1 else "-"


def together(verdicts: Iterable[str]) -> str:
    """Return the worst of several verdicts; of those that agree, the one that says more."""
    distinct = dict.fromkeys(verdicts)
    for verdict in ("differs", AT_LEAST, "not measured"):
        if verdict in distinct:
            return verdict
    return next((verdict for verdict in distinct if verdict.startswith("agrees,")), "agrees")


def _account_order(account: str) -> int:
    order = ("notebook", "corrected", "paper", "without_biases", "with_biases", "stack", "single", "naive", "reduced",
             "googlenet_3b")  # fmt: skip
    return order.index(account) if account in order else len(order)
