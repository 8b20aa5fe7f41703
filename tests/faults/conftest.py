"""How many faults there are: few by default, as many as `make faults` asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.report import KILLS, OUTAGES, REPORT, Report

_report = Report()


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config) -> int:
    """Kills of each problem."""
    return int(pytestconfig.getoption(KILLS))


@pytest.fixture(scope="session")
def outages(pytestconfig: pytest.Config) -> int:
    """Outages of each kind and store."""
    return int(pytestconfig.getoption(OUTAGES))


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Iterator[Report]:
    """The rows found so far, written at the end where the command line names a folder."""
    yield _report
    folder = pytestconfig.getoption(REPORT)
    if folder:
        _report.write(Path(folder), " ".join(["python -m pytest", *map(str, pytestconfig.invocation_params.args)]))
