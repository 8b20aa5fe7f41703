"""Databases as an older MLflow made them: by its migrations up to an earlier revision, with runs of today."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow.store.db.utils as databases
from alembic import command
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase

MLFLOW_2_0 = "cc1f77228345"
ONE_BEFORE = "75868b020152"  # no table is missing: MLflow would not upgrade it by itself, but refuse it


def make(uri: str, revision: str) -> None:
    """Make the tables of an earlier revision in an empty database."""
    engine = databases.create_sqlalchemy_engine(uri)
    InitialBase.metadata.create_all(engine)
    config = databases._get_alembic_config(engine.url.render_as_string(hide_password=False))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def older(current: Path, to: Path, revision: str) -> None:
    """Write a SQLite store of today as one of an earlier revision, as far as that has the columns."""
    make(f"sqlite:///{to}", revision)
    with closing(sqlite3.connect(to)) as database:
        database.execute("ATTACH ? AS current", (str(current),))
        database.execute("PRAGMA foreign_keys = OFF")
        tables = "SELECT name FROM {}.sqlite_master WHERE type = 'table' AND name NOT LIKE 'alembic%'"
        here, there = ({name for (name,) in database.execute(tables.format(db))} for db in ("main", "current"))
        for table in here & there:
            columns = [
                {row[1]: bool(row[3]) for row in database.execute(f"PRAGMA {db}.table_info({table})")}
                for db in ("main", "current")
            ]
            common = ", ".join(f'"{name}"' for name in columns[0] if name in columns[1])
            database.execute(f"DELETE FROM main.{table}")
            database.execute(f"INSERT INTO main.{table} ({common}) SELECT {common} FROM current.{table}")
        database.commit()
