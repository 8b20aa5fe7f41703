"""What the tables of the architectures problem say, in a sentence each."""

from __future__ import annotations

import pandas as pd

from dlperf.accounting.layers import LayerTable
from dlperf.tables import cell


def of_networks(table: pd.DataFrame) -> str:
    """Say of how many networks the counts agree, or of the only one what it has."""
    if len(table) == 1:
        row = table.iloc[0]
        counts = f"{cell(row['num_params'])} parameters and {cell(row['multiplications'])} multiplications"
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
        known = {row.layer: getattr(row, quantity) for row in table.rows if getattr(row, quantity)}
        if known:
            most, total = max(known.values()), sum(known.values())
            first, *others = [layer for layer, count in known.items() if count == most]
            where = f"each in {first} and {len(others)} more" if others else f"in {first}"
            said.append(f"{cell(most)} of {cell(total)} {quantity} ({most / total:.0%}) {where}")
    return f"{', '.join(said)}." if said else ""
