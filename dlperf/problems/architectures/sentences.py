"""What the tables of the architectures problem say, in a sentence each."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from dlperf.accounting.layers import LayerTable
from dlperf.tables import cell


def of_networks(table: pd.DataFrame) -> str:
    """Say of how many networks the counts agree, or of the only one what it has."""
    if len(table) == 1:
        row = table.iloc[0]
        bound = "at least " if "multiplications" in row.get("at least", "") else ""
        counts = f"{cell(row['num_params'])} parameters and {bound}{cell(row['multiplications'])} multiplications"
        return f"{row['subject']}: {counts}; closed form, Keras and the compiled program: {row['three_ways']}."
    counted = table["three_ways"].value_counts()
    verdicts = ", ".join(f"{verdict} for {count}" for verdict, count in counted.items())
    return f"Closed form, Keras and the compiled program: {verdicts} of {len(table)} networks."


def of_further(table: pd.DataFrame) -> str:
    """Say of how many further quantities the counts agree."""
    counted = table["verdict"].value_counts()
    verdicts = ", ".join(f"{'one count alone' if verdict == '-' else verdict}: {n}" for verdict, n in counted.items())
    return f"{len(table)} further quantities by verdict: {verdicts}."


def of_layers(table: LayerTable) -> str:
    """Say which layer has most of the parameters, and which of the multiplications."""
    said = []
    for quantity in ("parameters", "multiplications"):
        known: Counter[str] = Counter()  # a layer that is called twice has two rows
        for row in table.rows:
            known[row.layer] += getattr(row, quantity) or 0
        if total := known.total():
            most = max(known.values())
            first, *others = [layer for layer, count in known.items() if count == most]
            where = f"each in {first} and {len(others)} more" if others else f"in {first}"
            whole = f"{cell(total)} {quantity} ({most / total:.0%})"
            if quantity in table.at_least:
                whole = f"at least {cell(total)} {quantity}"  # who knows what share it is
            said.append(f"{cell(most)} of {whole} {where}")
    return f"{', '.join(said)}." if said else ""
