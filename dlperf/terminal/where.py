"""Where a run or a page is: the last line of a start."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

from dlperf.errors import without_logins


def say_where(tracking_uri: str, experiment_id: str, run_id: str) -> None:
    """Print where the run is, and how to open it in MLflow's UI.

    DLPERF_SHOWN_TRACKING_URI is what a user calls a tracking server that this process has behind a tunnel (`remote`).
    """
    tracking_uri = without_logins(os.environ.get("DLPERF_SHOWN_TRACKING_URI") or tracking_uri)
    if tracking_uri.startswith("http"):
        print(f"run {run_id}: {tracking_uri}/#/experiments/{experiment_id}/runs/{run_id}")
    else:
        print(f"run {run_id}; to see it: mlflow ui --backend-store-uri '{tracking_uri}'")


def open_page(page: Path) -> None:
    """Open a page in the browser of this desktop, or say why that cannot be."""
    has_desktop = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not has_desktop or not webbrowser.open(page.as_uri()):
        print("dlperf: open=true: there is no browser on a desktop here to open the page in", file=sys.stderr)
