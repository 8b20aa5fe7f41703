"""What a start leaves on the terminal: a table, and where to find the rest."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dlperf.errors import without_logins
from dlperf.tables import cell, is_number

if TYPE_CHECKING:
    import pandas as pd

    from dlperf.problem import Summary


def show_summary(summary: Summary) -> None:
    """Print those tables of a summary that are for the terminal."""
    for name, table in summary.shown_tables().items():
        show_table(name, table)


def show_table(title: str, table: pd.DataFrame, *, most: int | None = None) -> None:
    """Print a data frame, or its first `most` rows; numbers to the right."""
    shown = Table(title=title.replace("_", " "))
    for column in table.columns:
        shown.add_column(
            str(column).replace("_", " "),
            justify="right" if is_number(table, column) else "left",
            overflow="fold",
        )
    for row in table[:most].itertuples(index=False):
        shown.add_row(*(escape(cell(value)) for value in row))
    # Into a file or a pipe rich would take 80 columns and break the words of a wide table.
    Console(width=None if sys.stdout.isatty() else 220).print(shown)
    if most is not None and len(table) > most:
        print(f"{title}: {len(table) - most} more rows in its file")


def say_where(tracking_uri: str, experiment_id: str, run_id: str) -> None:
    """Print where the run is, and how to open it in MLflow's UI.

    DLPERF_SHOWN_TRACKING_URI is what a user calls a tracking server that this process has behind a tunnel (`remote`).
    """
    tracking_uri = without_logins(os.environ.get("DLPERF_SHOWN_TRACKING_URI") or tracking_uri)
    if tracking_uri.startswith("http"):
        print(f"run {run_id}: {tracking_uri}/#/experiments/{experiment_id}/runs/{run_id}")
    else:
        print(f"run {run_id}; to see it: mlflow ui --backend-store-uri '{tracking_uri}'")
