"""What tests of tracking share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.empty_store import make_store


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    make_store(path)
    return path
