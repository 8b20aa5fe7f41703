"""How many faults there are: few by default, as many as `make faults` asks for."""

from __future__ import annotations

import pytest

from tests.faults.report import KILLS, OUTAGES


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config) -> int:
    """Kills of each problem."""
    return int(pytestconfig.getoption(KILLS))


@pytest.fixture(scope="session")
def outages(pytestconfig: pytest.Config) -> int:
    """Outages of each kind and store."""
    return int(pytestconfig.getoption(OUTAGES))
