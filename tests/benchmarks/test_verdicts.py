"""Verdicts on a few made sets: what is there is shown, what is not is not, and the reverse is contradicted."""

from __future__ import annotations

import json

import pytest

from benchmarks import verdicts
from tests.benchmarks.conftest import Start


@pytest.mark.parametrize("problem", ["cutout", "optimizers"])
def test_verdicts_are_mostly_right(problem: str) -> None:
    without, published, reversed_ = verdicts.measured(problem, sets=5, random_seed=0)
    assert without["claims_supported"] <= 0.1
    assert published["claims_supported"] >= 0.8
    assert published["claims_contradicted"] == 0
    assert reversed_["claims_contradicted"] >= 0.8


@pytest.mark.slow
def test_every_problem_with_tests_has_its_rows(start: Start) -> None:
    ended = start("verdicts", "--sets", 1)
    assert ended.exit_status == 0
    figures = json.loads((ended.folder / "verdicts.json").read_text())["figures"]
    assert list(figures) == ["optimizers", "scaling", "cutout", "approximators"]
    for rows in figures.values():
        assert [row["scenario"] for row in rows] == list(verdicts.SCENARIOS)
        assert all(row["claims"] >= 10 for row in rows)
