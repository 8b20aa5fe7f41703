"""Where a comparison reads its trials: the store itself, or a copy of a file that is not to be changed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from dlperf.errors import EnvironmentMissing, without_logins
from dlperf.tracking import database_file, schema
from dlperf.tracking.server import reach


@dataclass(frozen=True)
class Source:
    """A store that is compared.

    Attributes:
        uri: What the user calls it.
        read_from: The store that is read: the same, or a copy.
        reason: Why a copy is read, and which, as the begin of a sentence; "" if none is. Nothing can be logged into the
            store itself then.
    """

    uri: str
    read_from: str
    reason: str = ""


@contextlib.contextmanager
def opened(tracking_uri: str, *, upgrade: bool, may_be_new: bool = False) -> Iterator[Source]:
    """Find the store to compare, once it has answered, without a change to its schema.

    Args:
        tracking_uri: The store; MLflow's settings name it where this is empty.
        upgrade: MLflow may upgrade the schema of its database.
        may_be_new: It need not be there: trials come from elsewhere too.

    Yields:
        Where to read.

    Raises:
        EnvironmentMissing: If it cannot be read, or not without an upgrade.
    """
    named = tracking_uri or database_file.named_store()
    file = database_file.file_of(named)
    if may_be_new and file and not file.exists():
        database_file.check_file(named)
        yield Source(named, named)
        return
    uri = reach(tracking_uri)
    if not schema.is_database(uri):
        yield Source(uri, uri)
        return
    database, file = schema.Schema(uri), database_file.file_of(uri)
    if database.empty:
        raise EnvironmentMissing(f"{without_logins(uri)} is no store of MLflow: none of its tables is there")
    if database.older and upgrade:
        if file and (complaint := database_file.why_not_writable(file)):
            raise EnvironmentMissing(str(complaint))
        schema.upgrade(uri)
        yield Source(uri, uri)
        return
    if database.older and file is None:
        raise EnvironmentMissing(
            f"{without_logins(uri)} {database}, which MLflow has to upgrade before it can be read, and "
            "its older clients can no longer use it then: back it up and set upgrade=true, or compare through its own "
            "tracking server"
        )
    unwritable = database_file.why_not_writable(file) if file and not database.older else None
    if file and (database.older or unwritable):
        with schema.upgraded_copy(file) as copy:
            yield Source(
                uri, copy, f"{unwritable.reason}: a copy" if unwritable else f"{uri} {database}: a migrated copy"
            )
    else:
        yield Source(uri, uri)


def other_store(source: Source) -> str:
    """Return the store for a comparison's run, where the compared one takes none: MLFLOW_TRACKING_URI's.

    Not if it is the same, or one that MLflow would upgrade: "" then.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri or _same(uri, source.uri):
        return ""
    return "" if _is_older(uri) else uri


def check_run_store(*, upgrade: bool) -> None:
    """Verify that MLflow can log into the store that its settings name without an upgrade of the schema.

    Args:
        upgrade: It may be upgraded, and is, here.

    Raises:
        EnvironmentMissing: If it cannot.
    """
    uri = reach("")
    if not _is_older(uri):
        return
    if upgrade:
        schema.upgrade(uri)
    else:
        raise EnvironmentMissing(
            f"the run of MLFLOW_RUN_ID is in {without_logins(uri)}, which {schema.Schema(uri)}: "
            "set upgrade=true, or leave MLFLOW_RUN_ID out"
        )


def _is_older(uri: str) -> bool:
    file = database_file.file_of(uri)
    there = schema.is_database(uri) and (file is None or file.exists())
    return there and schema.Schema(uri).older


def _same(one: str, other: str) -> bool:
    files = [database_file.file_of(uri) for uri in (one, other)]
    if all(files):
        return len({os.path.realpath(str(file)) for file in files}) == 1
    return one.rstrip("/") == other.rstrip("/")
