"""Where a run and its page are: the last lines of a start."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

from dlperf.errors import without_logins
from dlperf.folders import local_folder

PAGE = "report.html"
"""The page's file, in a run's artifacts and in a folder that a user names."""
FOR_TRAINING = "workflowType=machine_learning"
"""Opens an address of MLflow's UI with the menu for trainings instead of that for GenAI."""


def say_where(tracking_uri: str, experiment_id: str, run_id: str, view: str = "") -> None:
    """Print where the run is, and how to open it in MLflow's UI.

    Args:
        tracking_uri: The tracking server.
        experiment_id: The run's experiment.
        run_id: The run.
        view: The view of the experiment that shows the trials of the run's problem; "" if there is none.
    """
    if experiment := _experiment_address(tracking_uri, experiment_id):
        if view:
            print(f"trials: {experiment}/runs?viewStateShareKey={view}&{FOR_TRAINING}")
        print(f"run {run_id}: {experiment}/runs/{run_id}?{FOR_TRAINING}")
    else:
        print(f"run {run_id}; to see it: mlflow ui --backend-store-uri '{without_logins(tracking_uri)}'")


def place_of_page(tracking_uri: str, experiment_id: str, run_id: str, artifacts: str) -> str:
    """Return where a user finds the page of a run: a path, its address in MLflow's UI, or that of the artifact.

    Args:
        tracking_uri: The tracking server.
        experiment_id: The run's experiment.
        run_id: The run.
        artifacts: Where the run's artifacts lie, as MLflow says it.
    """
    if folder := local_folder(artifacts):
        return str(folder / PAGE)
    experiment = _experiment_address(tracking_uri, experiment_id)
    served = f"{experiment}/runs/{run_id}/artifacts/{PAGE}?{FOR_TRAINING}"
    return served if experiment else f"{artifacts}/{PAGE}"


def say_page(place: str, *, opens: bool) -> None:
    """Print where the page is, as the last line; `opens` opens it in the browser of this desktop.

    Where that cannot be, a line on the standard error says why.
    """
    print(f"report: {place}", flush=True)
    if not opens:
        return
    address = place if "://" in place else Path(place).as_uri()
    has_desktop = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not address.startswith(("file:", "http:", "https:")):
        print(f"dlperf: open=true: a browser cannot open {address}", file=sys.stderr)
    elif not has_desktop or not webbrowser.open(address):
        print("dlperf: open=true: there is no browser on a desktop here to open the page in", file=sys.stderr)


def _experiment_address(tracking_uri: str, experiment_id: str) -> str:
    """Return the address of an experiment in MLflow's UI; "" where nothing serves it.

    DLPERF_SHOWN_TRACKING_URI is what a user calls a tracking server that this process has behind a tunnel (`remote`).
    """
    shown = without_logins(os.environ.get("DLPERF_SHOWN_TRACKING_URI") or tracking_uri)
    return f"{shown}/#/experiments/{experiment_id}" if shown.startswith("http") else ""
