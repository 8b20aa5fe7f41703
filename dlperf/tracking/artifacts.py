"""Artifacts of a run as files of a folder, as they will lie among its artifacts."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow

from dlperf import tables
from dlperf.environment import describe as describe_environment
from dlperf.trial import SavedModel

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

ENVIRONMENT = "environment.json"


def write_environment(folder: Path, environment: Mapping[str, Any]) -> None:
    """Write what a run runs on as environment.json."""
    (folder / ENVIRONMENT).write_text(json.dumps(environment, indent=2, default=str))


def read_environment(path: str) -> dict[str, Any]:
    """Read what `write_environment` wrote."""
    environment: dict[str, Any] = json.loads(Path(path).read_text())
    return environment


def write_table(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Write a table as tables/NAME.csv, and where it is not too long to read as .md and .tex."""
    for ending, text in tables.files(table).items():
        _made(folder / "tables" / f"{name}.{ending}").write_text(text)


def write_figure(folder: Path, name: str, figure: matplotlib.figure.Figure) -> None:
    """Write a figure as plots/NAME.png."""
    figure.savefig(_made(folder / "plots" / f"{name}.png"), dpi=120)


def write_drawing(folder: Path, name: str, figure: matplotlib.figure.Figure) -> None:
    """Write a figure as plots/NAME.svg, its text as text; equal figures give equal bytes."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        path = _made(folder / "plots" / f"{name}.svg")
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def write_model(folder: Path, saved: SavedModel) -> None:
    """Write a trained Keras model with its input example as MLflow keeps models."""
    versions = describe_environment()["versions"]
    requirements = [f"{name}=={versions[name]}" for name in ("tensorflow", "keras", "numpy", "mlflow")]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # Keras's bar for its one prediction
        warnings.simplefilter("ignore")
        mlflow.tensorflow.save_model(
            saved.model, str(folder), input_example=saved.input_example, pip_requirements=requirements
        )


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
