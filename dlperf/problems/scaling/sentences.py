"""What the tables of the scaling problem say, in a sentence each."""

from __future__ import annotations

import pandas as pd

from dlperf.analysis.wording import seeds, span
from dlperf.tables import cell


def of_measurements(measured: pd.DataFrame) -> str:
    """Say what the most workers of each mode came to, and how many rows are emulated."""
    said = []
    for mode, rows in measured.groupby("mode", sort=False):
        most = rows[rows["workers"] == rows["workers"].max()].iloc[-1]
        workers = seeds(int(most["workers"]), "worker")
        text = f"{mode} scaling, {workers} ({most['strategy']}): {cell(most['step_seconds'])} seconds a step"
        if "speedup" in rows and most["workers"] > 1 and pd.notna(most["speedup"]):
            text += f", a speed-up of {cell(most['speedup'])}, an efficiency of {cell(most['efficiency'])}"
        said.append(text)
    sentence = "; ".join(said)
    sentence = f"{sentence[0].upper()}{sentence[1:]}."
    emulated = int((measured["note"] != "").sum()) if "note" in measured else 0
    if emulated:
        sentence += f" {emulated} of {len(measured)} rows are emulated and say nothing about as many devices."
    return sentence


def of_steps(steps: pd.DataFrame) -> str:
    """Say what share of a step its parts take, over the rows of the table."""
    shares = []
    for part in ("compute", "input", "all_reduce", "wait"):
        share = (100 * steps[f"{part}_ms"] / steps["step_ms"]).dropna()
        if len(share):
            shares.append(f"{part.replace('_', '-')} {span(list(share.round()))} %")
    return f"Of a step: {', '.join(shares)}." if shares else ""


def of_laws(laws: pd.DataFrame) -> str:
    """Say which law of each mode has the least error, and what it predicts."""
    predicts = next((name for name in laws.columns if name.startswith("prediction")), "")
    if not predicts:
        return ""
    best = laws[laws["least_error"] == "yes"].drop_duplicates(["mode", "law"]) if "least_error" in laws else laws[:0]
    said = [f"{row['mode']}: {row['law']}, a speed-up of {row[predicts]}" for _, row in best.iterrows()]
    return f"Least error, and its {predicts}: {'; '.join(said)}." if said else ""
