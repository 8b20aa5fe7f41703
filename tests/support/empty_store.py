"""SQLite stores that nothing has been logged to: MLflow's migrations take seconds, a copy takes none."""

from __future__ import annotations

import functools
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import mlflow


def make_store(file: Path, artifacts: str = "") -> str:
    """Make a store.

    Args:
        file: What becomes its database.
        artifacts: Where artifacts go; as for a program that is started in the file's folder if this is empty.

    Returns:
        The store's address.
    """
    shutil.copyfile(Path(_template().name) / "mlflow.db", file)
    with closing(sqlite3.connect(file)) as database:
        location = f"{artifacts or file.parent / 'mlruns'}/0"
        database.execute("UPDATE experiments SET artifact_location = ?", (location,))
        database.commit()
    return f"sqlite:///{file}"


@functools.cache
def _template() -> tempfile.TemporaryDirectory[str]:
    """The folder of a store that MLflow has made, once for a test process."""
    folder = tempfile.TemporaryDirectory(prefix="dlperf-store-")
    mlflow.MlflowClient(f"sqlite:///{folder.name}/mlflow.db").search_experiments()
    return folder
