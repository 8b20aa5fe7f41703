"""What a start leaves on the terminal: a table, and where to find the rest."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd


def show_table(title: str, table: pd.DataFrame) -> None:
    """Print a data frame; numbers to the right, with four significant digits."""
    shown = Table(title=title)
    for column in table.columns:
        shown.add_column(
            str(column).replace("_", " "),
            justify="right" if table[column].dtype.kind in "iuf" else "left",
            overflow="fold",
        )
    for row in table.itertuples(index=False):
        shown.add_row(*(_cell(value) for value in row))
    # Into a file or a pipe rich would take 80 columns and break the words of a wide table.
    Console(width=None if sys.stdout.isatty() else 160).print(shown)


def say_where(tracking_uri: str, experiment_id: str, run_id: str) -> None:
    """Print where the run is, and how to open it in MLflow's UI."""
    if tracking_uri.startswith("http"):
        print(f"run {run_id}: {tracking_uri}/#/experiments/{experiment_id}/runs/{run_id}")
    else:
        print(f"run {run_id}; to see it: mlflow ui --backend-store-uri '{tracking_uri}'")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        if value != value:
            return "-"
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)
