"""The schema of a tracking database, read without MLflow, which upgrades an older one as soon as it connects."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import mlflow.store.db.utils as databases
import sqlalchemy
from alembic.script import ScriptDirectory

from dlperf.errors import EnvironmentMissing, in_one_line, one_line, without_logins
from dlperf.tracking import database_file

_KINDS = ("sqlite", "postgresql", "mysql", "mssql")
_SECONDS_TO_CONNECT = "5"
_TAKE_A_TIMEOUT = ("psycopg2", "psycopg", "pymysql", "mysqldb")


class Schema:
    """What a tracking database's tables are made for.

    Attributes:
        uri: The database.
        empty: It has no table of MLflow's.
        older: MLflow would upgrade it.
    """

    def __init__(self, uri: str) -> None:
        """Read it.

        Raises:
            EnvironmentMissing: If the database cannot be read, or a newer MLflow has made its tables.
        """
        self.uri = uri
        file = database_file.file_of(uri)
        tables, self._revision = database_file.tables_and_revision(file) if file else _tables_and_revision(uri)
        self._newest, known = _revisions()
        self.empty = not tables & {"experiments", "runs"}
        self.older = not self.empty and self._revision != self._newest
        if self.older and self._revision and self._revision not in known:
            raise EnvironmentMissing(
                f"{without_logins(uri)} was written by a newer MLflow than {mlflow.__version__}, which does not know "
                f"its schema {self._revision}: install that MLflow, or set MLFLOW_TRACKING_URI to another store"
            )

    def __str__(self) -> str:
        """Say how old it is."""
        old = self._revision or "of MLflow before 1.0"
        return f"has an older schema ({old}; MLflow {mlflow.__version__} has {self._newest})"


def is_database(uri: str) -> bool:
    """Whether MLflow opens the store itself; else it is a server, or a folder."""
    return uri.partition(":")[0].partition("+")[0] in _KINDS


def check(uri: str) -> None:
    """Verify within seconds that MLflow can use a database, where the store is one; it may be yet to be made.

    Raises:
        EnvironmentMissing: If it cannot.
    """
    if not is_database(uri):
        return
    database_file.check_file(uri)
    file = database_file.file_of(uri)
    if file is None or file.exists():
        Schema(uri)


def upgrade(uri: str) -> None:
    """Let MLflow upgrade a database's schema, as `mlflow db upgrade` does.

    Raises:
        EnvironmentMissing: If it cannot.
    """
    try:
        engine = databases.create_sqlalchemy_engine(uri)
        try:
            databases._upgrade_db(engine)
        finally:
            engine.dispose()
    except Exception as error:
        raise EnvironmentMissing(
            f"MLflow cannot upgrade the schema of {without_logins(uri)}: {one_line(error)}"
        ) from error


@contextlib.contextmanager
def upgraded_copy(file: Path) -> Iterator[str]:
    """Copy a SQLite database and upgrade the copy.

    Yields:
        The address of the copy, which goes with the block.

    Raises:
        EnvironmentMissing: If it cannot be copied or upgraded.
    """
    with tempfile.TemporaryDirectory(prefix="dlperf-compare-", ignore_cleanup_errors=True) as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        database_file.copy(file, Path(folder) / "mlflow.db")
        with _quiet():  # what MLflow says of its migrations would be taken for the user's file
            upgrade(uri)
        yield uri


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


def _revisions() -> tuple[str, set[str]]:
    """Return MLflow's newest revision and all that it knows."""
    script = ScriptDirectory.from_config(databases._get_alembic_config(""))
    return str(script.get_current_head()), {migration.revision for migration in script.walk_revisions()}


def _tables_and_revision(uri: str) -> tuple[set[str], str]:
    try:
        engine = databases.create_sqlalchemy_engine(_impatient(uri))
        try:
            with engine.connect() as connection:
                tables = set(sqlalchemy.inspect(connection).get_table_names())
                revision: Any = None
                if "alembic_version" in tables:
                    revision = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version")).scalar()
                return tables, str(revision or "")
        finally:
            engine.dispose()
    except ModuleNotFoundError as error:
        raise EnvironmentMissing(
            f"{without_logins(uri)} needs a driver: {in_one_line(str(error))}; for PostgreSQL: "
            "pip install 'dlperf[server]'"
        ) from error
    except Exception as error:
        raise EnvironmentMissing(f"the database {without_logins(uri)} cannot be used: {one_line(error)}") from error


def _impatient(uri: str) -> str:
    url = sqlalchemy.engine.make_url(uri)
    if url.get_driver_name() in _TAKE_A_TIMEOUT and "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": _SECONDS_TO_CONNECT})
    return url.render_as_string(hide_password=False)
