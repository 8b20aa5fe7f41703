"""What the terminal shows: tables that fit it, as golden files, sentences that their numbers carry, and pages."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import sys
import webbrowser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlperf import entry_points
from dlperf.comparison.parameters import CompareParameters
from dlperf.comparison.sections import section
from dlperf.comparison.shown import show
from dlperf.entry_points import PROBLEMS
from dlperf.parameters import parse
from dlperf.problem import Summary
from dlperf.problems.scaling import parameters as scaling_parameters
from dlperf.tables import cell
from dlperf.terminal import tables, where
from dlperf.tracking.query import SearchResult
from tests.support.golden import FOLDER, assert_golden
from tests.support.trials import stored

NUMBERS = {"optimizers": 20, "scaling": 10, "architectures": 3, "cutout": 12, "approximators": 8}
COMPARATIVE = r"\b(rises|falls|lowest|highest|lower|higher|better|worse|faster|slower)\b"


def trials(problem: str) -> list[Any]:
    return [stored(problem, number) for number in range(NUMBERS[problem])]


@functools.cache
def summary_of(problem: str) -> Summary:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scaling_parameters, "cores", lambda: 2)  # what is called emulated depends on the machine
        return entry_points.load_problem(problem).summarize(trials(problem))


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_tables_that_end_a_sweep(
    name: str, capsys: pytest.CaptureFixture[str], pytestconfig: pytest.Config
) -> None:
    tables.show_summary(summary_of(name))
    assert_golden(f"sweep_{name}.txt", capsys.readouterr().out, pytestconfig)


def test_a_comparison(capsys: pytest.CaptureFixture[str], pytestconfig: pytest.Config) -> None:
    asked = parse(CompareParameters, {"problem": "cutout", "patience": "5"}).trials
    found = SearchResult(
        trials("cutout"), {"FAILED": ["cutout m=2 random_seed=7"]}, {"a run (1)": "it has no parameter m"}, {"older"}
    )
    show([section(entry_points.load_problem("cutout"), found, asked)], curves=True)
    assert_golden("compare_cutout.txt", capsys.readouterr().out, pytestconfig)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.txt")), ids=lambda file: file.stem)
def test_no_line_is_longer_than_80_characters(file: Path) -> None:
    assert all(len(line) <= 80 for line in file.read_text().splitlines())


@pytest.mark.parametrize("name", PROBLEMS)
def test_two_random_seeds_carry_no_comparative(name: str) -> None:
    summary = summary_of(name)
    sentences = {table: summary.sentences[table] for table in summary.shown_tables()}
    assert all(sentences.values())
    assert not re.search(COMPARATIVE, " ".join(sentences.values())), sentences


@pytest.mark.parametrize("name", PROBLEMS)
def test_one_trial_has_a_sentence_and_columns_that_are_there(name: str) -> None:
    summary = entry_points.load_problem(name).summarize(trials(name)[:1])
    for table in summary.shown_tables():
        assert summary.sentences[table]
        assert not re.search(COMPARATIVE, summary.sentences[table])


@settings(max_examples=50)
@given(
    texts=st.lists(st.text("ab_ :,/", max_size=60), min_size=1, max_size=4),
    numbers=st.lists(st.floats(-1e9, 1e9), min_size=12, max_size=12),
    width=st.integers(30, 120),
)
def test_a_table_is_no_wider_than_the_terminal_and_breaks_no_number(
    texts: list[str], numbers: list[float], width: int
) -> None:
    names = [f"a_rather_long_name_{number}" for number in range(12)]
    table = pd.DataFrame([[*texts, *numbers]], columns=[*(f"text_{n}" for n in range(len(texts))), *names])
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as output:
        patch.setattr(tables, "_width", lambda: width)
        tables.show_table("table", table, columns=[*names, *table.columns])
    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    shown = re.search(r"\((\d+)\s+of", " ".join(lines))
    for number in numbers[: int(shown.group(1)) if shown else None]:
        assert any(cell(number) in line for line in lines)


def test_wide_prints_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    summary = summary_of("optimizers")
    tables.show_summary(summary, wide=True)
    shown = capsys.readouterr().out
    assert "columns)" not in shown
    for name, table in summary.shown_tables().items():
        header = re.sub(r"[┃\s]+", "", shown.partition(name.replace("_", " "))[2])
        assert all(word in header for column in table.columns for word in re.split("[_ ]", str(column))), name


def test_the_last_line_names_the_page_which_is_opened_where_there_is_a_desktop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda uri: opened.append(uri) or True)
    monkeypatch.setattr(sys, "platform", "linux")
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    page, served = str(tmp_path / "a report.html"), "https://host/#/experiments/1/runs/2/artifacts/report.html"
    where.say_page(page, opens=True)
    printed = capsys.readouterr()
    assert printed.out == f"report: {page}\n"
    assert "there is no browser on a desktop here" in printed.err
    monkeypatch.setenv("DISPLAY", ":0")
    where.say_page(page, opens=False)
    assert opened == []
    where.say_page(page, opens=True)
    where.say_page(served, opens=True)
    assert opened == [f"{tmp_path.as_uri()}/a%20report.html", served]
    assert capsys.readouterr().err == ""
    where.say_page("s3://bucket/report.html", opens=True)
    assert len(opened) == 2
    assert "a browser cannot open s3://bucket/report.html" in capsys.readouterr().err


def test_a_server_has_addresses_for_the_run_and_the_view_of_its_problems_trials(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where.say_where("http://user:secret@host:5000", "7", "run", "dlperf-cutout")
    trials, run = capsys.readouterr().out.splitlines()
    assert (
        trials
        == "trials: http://host:5000/#/experiments/7/runs?viewStateShareKey=dlperf-cutout&workflowType=machine_learning"
    )
    assert run == "run run: http://host:5000/#/experiments/7/runs/run?workflowType=machine_learning"
    where.say_where("sqlite:////folder/mlflow.db", "7", "run", "dlperf-cutout")
    assert (
        capsys.readouterr().out == "run run; to see it: mlflow ui --backend-store-uri 'sqlite:////folder/mlflow.db'\n"
    )
    monkeypatch.setenv("DLPERF_SHOWN_TRACKING_URI", "https://ours")  # this process has it behind a tunnel
    where.say_where("http://127.0.0.1:4000", "7", "run")
    assert capsys.readouterr().out.startswith("run run: https://ours/#/experiments/7/runs/run?")


@pytest.mark.parametrize(
    ("tracking_uri", "artifacts", "place"),
    [
        ("sqlite:////folder/mlflow.db", "/folder/mlruns/7/run/artifacts", "/folder/mlruns/7/run/artifacts"),
        ("sqlite:////folder/mlflow.db", "file:///a%20folder/artifacts", "/a folder/artifacts"),
        ("http://host:5000", "/shared/7/run/artifacts", "/shared/7/run/artifacts"),
        *(
            ("http://user:secret@host:5000", elsewhere, "http://host:5000/#/experiments/7/runs/run/artifacts")
            for elsewhere in ("mlflow-artifacts:/7/run/artifacts", "s3://bucket/7/run/artifacts")
        ),
        ("postgresql://host/db", "s3://bucket/7/run/artifacts", "s3://bucket/7/run/artifacts"),
    ],
)
def test_a_page_is_where_its_reader_can_get_at_it(tracking_uri: str, artifacts: str, place: str) -> None:
    found, _, query = where.place_of_page(tracking_uri, "7", "run", artifacts).partition("?")
    assert (found, query) == (f"{place}/report.html", where.FOR_TRAINING if "#" in place else "")


def test_a_long_table_ends_in_how_much_more_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show_table("networks", pd.DataFrame({"layer": ["a", "b|c", "[d]"], "units": [1, 20_000, 3]}), most=2)
    shown = capsys.readouterr().out
    assert "20,000" in shown
    assert "[d]" not in shown
    assert shown.endswith("networks: 1 more rows in its file\n")
