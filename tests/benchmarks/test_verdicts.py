"""Verdicts on a few made sets: what is there is shown, what is not is not, and the reverse is contradicted."""

from __future__ import annotations

import json

import pytest

from benchmarks import verdicts
from tests.benchmarks.conftest import Start


@pytest.mark.parametrize("problem", ["cutout", "optimizers"])
def test_verdicts_are_mostly_right(problem: str) -> None:
    without, published, reversed_, runs = verdicts.measured(problem, sets=5, random_seed=0)
    assert without["claims_supported"] <= 0.1
    assert published["claims_supported"] >= 0.8
    assert published["claims_contradicted"] == 0
    assert reversed_["claims_contradicted"] >= 0.8
    assert runs["claims"] >= 30
    assert runs["sets_with_any_contradicted"] <= 0.2  # of five sets
    assert runs["claims_supported"] > 0


def test_sets_in_slices_come_to_the_same() -> None:
    whole = verdicts.measured("cutout", sets=3, random_seed=1)
    slices = verdicts.measured("cutout", 3, 1, verdicts.measured("cutout", sets=1, random_seed=1))
    for one, other in zip(whole, slices, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
        assert one["sets"] == 3


@pytest.mark.slow
def test_every_problem_with_tests_has_its_rows(start: Start) -> None:
    assert start("verdicts", "--sets", 1).exit_status == 0
    ended = start("verdicts", "--sets", 2, "--resume")
    assert ended.exit_status == 0
    figures = json.loads((ended.folder / "verdicts.json").read_text())["figures"]
    assert list(figures) == ["optimizers", "scaling", "cutout", "approximators"]
    for problem, rows in figures.items():
        of_runs = [verdicts.PUBLISHED_RUNS] if problem != "scaling" else []
        assert [row["scenario"] for row in rows] == [*verdicts.SCENARIOS, *of_runs]
        assert all(row["claims"] >= 10 and row["sets"] == 2 for row in rows)
