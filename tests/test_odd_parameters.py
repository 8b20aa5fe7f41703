"""Odd values of every parameter of every command: each is taken, or refused with exit status 2 in one line."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.result_texts.faults import ODD_VALUES
from dlperf import cli, entry_points
from dlperf.cli import _PROGRAM
from dlperf.declaration import Description
from dlperf.parameters import describe, identity, parse, sweep_texts, texts
from dlperf.problem import Problem
from dlperf.remote.parameters import RemoteParameters
from tests.faults.report import Report

DECLARED: dict[str, type[Any]] = {
    **{name: entry_points.load(name).parameters for name in entry_points.NAMES},
    **{name: declarations for name, (declarations, _, _) in _PROGRAM.items()},
    "remote": RemoteParameters,
}
ODD = [
    *("", " ", "0", "1", "-1", "+1", "01", "1.0", "1e3", "1e309", "-1e309", "1e-400", "nan", "inf", "-inf", "0x10"),
    *("1_0", "\uff11", "\u0663", "\u00b2", "true", "TRUE", "yes", "none", "None", "null", "[]", "{}", "9" * 400),
    *("1,2", "1,1", ",", "1,", ",1", ";", "a" * 5000, "\0", "a\0b", "\n", "1\n2", "\t", "\r", "\x1b[31m", "\ud800"),
    *("\U0001f71a", "'", '"', "`id`", "$HOME", "--", "--m", "-", "=", "%s", "{0}", "../..", "/", "/dev/null"),
    *("/dev/zero", "~", "~nobody/x", "keras:", "keras:/", "keras:\0", "host", "ssh://", "http://[", "http://u:p@h"),
    *(":0", "a:99999", "32x32x3", "0x0x0", "64,64;256", "64,,64", "1e999,2"),
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(ODD), st.text(max_size=12), st.integers().map(str), st.floats().map(str),
    st.lists(st.integers(-2, 70), max_size=4).map(lambda values: ",".join(map(str, values))),
)  # fmt: skip


def likely(description: Description) -> st.SearchStrategy[str]:
    """Values among which some are allowed."""
    named = [word.strip() for word in description.type_text.split("|")]
    return st.one_of(VALUES, st.sampled_from([*named, description.default or "1"]))


@st.composite
def command_lines(draw: st.DrawFn, name: str) -> list[str]:
    described = list(describe(DECLARED[name]))
    chosen = draw(st.lists(st.sampled_from(described), min_size=1, max_size=3, unique_by=lambda one: one.name))
    pairs = [(f"--{one.name}", draw(likely(one))) for one in chosen]
    joined = draw(st.booleans())
    return [name, *([f"{option}={value}" for option, value in pairs] if joined else itertools.chain(*pairs))]


def use(name: str, raw: dict[str, str]) -> int:
    """Do with accepted parameters all that is done with them before data, stores and hosts are asked."""
    arguments = parse(DECLARED[name], raw)
    loaded: Any = entry_points.load(name) if name in entry_points.NAMES else None
    for trial in arguments.trials[:3]:
        texts(trial)
        identity(trial)
        if isinstance(loaded, Problem):
            assert loaded.trial_name(trial)
            assert loaded.work(trial) >= 0
    sweep_texts(arguments.trials)
    return 0


tried: Counter[str] = Counter()
taken: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def _reported(report: Report) -> Iterator[None]:
    yield
    for name in DECLARED:
        if tried[name]:
            report.add(ODD_VALUES, command=name, tried=tried[name], taken=taken[name])


@pytest.fixture(autouse=True)
def _nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: Any, raw: dict[str, str]) -> int:
        return use(self.name, raw) if self.name != "remote" else 0

    for command in (cli._EntryPoint, cli._ProgramCommand, cli._Remote):
        monkeypatch.setattr(command, "start", start)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)


@pytest.mark.parametrize("name", list(DECLARED))
def test_an_odd_value_is_taken_or_refused_in_one_line(name: str) -> None:
    @settings(max_examples=150)
    @given(command_lines(name))
    def check(arguments: list[str]) -> None:
        check_answer(arguments)

    check()


@pytest.mark.parametrize("name", list(DECLARED))
def test_every_odd_value_of_every_parameter(name: str) -> None:
    for description in describe(DECLARED[name]):
        # One network, where the parameter does not choose them: all 143 take a hundred times as long.
        alone = name == "approximators" and description.name not in ("units", "max_units", "max_layers")
        for value in ODD:
            check_answer([name, f"--{description.name}={value}", *(["--units=16"] if alone else [])])


def check_answer(arguments: list[str]) -> None:
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        status = cli.main(arguments)
    lines = said.getvalue().split("\n")
    tried[arguments[0]] += 1
    taken[arguments[0]] += status == 0
    assert status in (0, 2), (arguments, status, said.getvalue())
    assert len(lines) == (1 if status == 0 else 2), (arguments, said.getvalue())
    assert len(said.getvalue()) < 3_000 or max(map(len, arguments)) > 1_000, arguments
