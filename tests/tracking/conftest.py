"""What tests of tracking share."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store: MLflow's migrations take seconds, a copy takes none."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").get_experiment("0")
    return path
