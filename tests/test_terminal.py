"""What the terminal shows, as golden files: tables of every problem, and those of a comparison."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from dlperf import entry_points, terminal
from dlperf.comparison.parameters import CompareParameters
from dlperf.comparison.sections import section
from dlperf.comparison.start import show
from dlperf.entry_points import PROBLEMS
from dlperf.parameters import parse
from dlperf.problems.scaling import parameters as scaling_parameters
from dlperf.tracking.query import SearchResult
from tests.support.golden import assert_golden
from tests.support.trials import stored

NUMBERS = {"optimizers": 20, "scaling": 10, "architectures": 3, "cutout": 12, "approximators": 8}


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is called emulated depends on the machine."""
    monkeypatch.setattr(scaling_parameters, "cores", lambda: 2)


def trials(problem: str) -> list[Any]:
    return [stored(problem, number) for number in range(NUMBERS[problem])]


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_tables_that_end_a_sweep(
    name: str, capsys: pytest.CaptureFixture[str], pytestconfig: pytest.Config
) -> None:
    terminal.show_summary(entry_points.load_problem(name).summarize(trials(name)))
    assert_golden(f"sweep_{name}.txt", capsys.readouterr().out, pytestconfig)


def test_a_comparison(capsys: pytest.CaptureFixture[str], pytestconfig: pytest.Config) -> None:
    asked = parse(CompareParameters, {"problem": "cutout", "patience": "5"}).trials
    found = SearchResult(
        trials("cutout"), {"FAILED": ["cutout m=2 random_seed=7"]}, {"a run (1)": "it has no parameter m"}, {"older"}
    )
    show([section(entry_points.load_problem("cutout"), found, asked)], curves=True)
    assert_golden("compare_cutout.txt", capsys.readouterr().out, pytestconfig)


def test_a_long_table_ends_in_how_much_more_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_table("networks", pd.DataFrame({"layer": ["a", "b|c", "[d]"], "units": [1, 20_000, 3]}), most=2)
    shown = capsys.readouterr().out
    assert "20,000" in shown
    assert "[d]" not in shown
    assert shown.endswith("networks: 1 more rows in its file\n")
