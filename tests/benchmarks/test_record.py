"""A benchmark keeps what it has measured, whatever happens to the parts after it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.record import MeasurementFailed, Record, at_least, in_own_process, several


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def fail(reason: Exception) -> dict[str, float]:
    raise reason


def test_a_part_is_on_disk_when_the_next_one_begins(tmp_path: Path) -> None:
    file = tmp_path / "new" / "benchmark.json"
    record = Record(file, data="random images")
    record.measure("first", lambda: {"seconds": 1.5})
    seen: list[Any] = []
    record.measure("second", lambda: seen.append(read(file)) or [{"m": 1}])  # type: ignore[func-returns-value]
    (before,) = seen
    assert before["figures"] == {"first": {"seconds": 1.5}}
    assert read(file)["figures"] == {"first": {"seconds": 1.5}, "second": [{"m": 1}]}
    assert read(file)["environment"]["data"] == "random images"
    assert read(file)["seconds"].keys() == {"first", "second"}
    assert record.end() == 0


def test_a_part_that_fails_costs_the_others_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "benchmark.json"
    record = Record(file)
    assert record.measure("first", lambda: {"seconds": 1.5}) == {"seconds": 1.5}
    assert record.measure("second", lambda: fail(MeasurementFailed("a process\nended"))) is None
    record.measure("third", lambda: {"seconds": 2.5})
    assert record.end() == 1
    assert read(file)["figures"] == {"first": {"seconds": 1.5}, "third": {"seconds": 2.5}}
    assert read(file)["failed"] == {"second": "a process ended"}
    assert "second" not in read(file)["seconds"]
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == "second failed: a process ended"
    assert "Traceback" not in printed.err
    markdown = file.with_suffix(".md").read_text()
    assert "second failed: a process ended" in markdown
    assert [line.split()[1] for line in markdown.splitlines() if line.startswith("| ")] == ["part", "first", "third"]
    assert "2.5" in printed.out


def test_a_bug_shows_where_it_is_and_costs_the_others_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = Record(tmp_path / "benchmark.json")
    record.measure("first", lambda: {"seconds": 1.5})
    record.measure("second", lambda: fail(TypeError("too many arguments")))
    assert record.end() == 1
    assert read(tmp_path / "benchmark.json")["figures"] == {"first": {"seconds": 1.5}}
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.splitlines()[-1] == "second failed: too many arguments"


def test_an_interruption_ends_it_and_leaves_what_was_measured(tmp_path: Path) -> None:
    record = Record(tmp_path / "benchmark.json")
    record.measure("first", lambda: {"seconds": 1.5})

    def interrupted() -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record.measure("second", interrupted)
    assert read(tmp_path / "benchmark.json")["figures"] == {"first": {"seconds": 1.5}}


def test_parts_of_the_same_numbers_are_rows_of_one_table(tmp_path: Path) -> None:
    record = Record(tmp_path / "benchmark.json")
    record.measure("repeat", lambda: {"seconds": {"16,16": 0.5}})  # raw, in no table
    record.measure("cutout", lambda: {"seconds": 1.5})
    record.measure("memory", lambda: [{"m": 1, "MB": 20_000}, {"m": 2, "MB": 30_000}])
    record.measure("scaling", lambda: {"seconds": 2.5})
    record.end()
    texts = (tmp_path / "benchmark.md").read_text().split("\n\n")[1:]
    assert texts[::2] == ["cutout to scaling:", "memory:"]
    tables = texts[1::2]
    cells = [
        [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.strip().splitlines()] for table in tables
    ]
    assert [table[0] for table in cells] == [["part", "seconds"], ["m", "MB"]]
    assert [table[2:] for table in cells] == [
        [["cutout", "1.5"], ["scaling", "2.5"]],
        [["1", "20,000"], ["2", "30,000"]],
    ]


def test_a_process_that_fails_is_named_with_its_last_line() -> None:
    with pytest.raises(
        MeasurementFailed, match=r"python -m benchmarks\.nothing --m 4 ended with exit status 1: .*No module"
    ):
        in_own_process("nothing", "--m", 4)


def test_options_are_refused_below_their_least() -> None:
    assert several(at_least(1))("1,20") == [1, 20]
    for text in ("0", "-3", "1.5", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="must be a whole number from 1 on"):
            at_least(1)(text)
