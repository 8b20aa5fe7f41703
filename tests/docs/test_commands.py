"""Every command that the documentation shows is one that its program would take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dlperf.entry_points import PROBLEMS
from tests.docs.commands import check, entry_point_of, is_command
from tests.docs.ends import documented_ends
from tests.docs.entry_points import declares
from tests.docs.pages import DOCS, PAGES, RESULTS, ROOT, Piece, code_spans, shell_lines
from tests.docs.shell import Refused
from tests.docs.test_pages import page_name

_GIVEN = re.compile(r"([a-z][a-z0-9_]*)=(\S+)")
_NO_PARAMETER = {"device=0,1"}  # written like one: GPUs, as Docker names them


def refused(pieces: list[Piece]) -> list[str]:
    found = []
    for piece in pieces:
        try:
            check(piece.text)
        except Refused as reason:
            found.append(f"{piece}: {reason}")
    return found


@pytest.mark.parametrize("page", [*PAGES, *RESULTS], ids=page_name)
def test_commands_in_blocks_of_code_are_taken_by_their_programs(page: Path) -> None:
    assert not refused(shell_lines(page))


@pytest.mark.parametrize("page", [*PAGES, *RESULTS], ids=page_name)
def test_commands_within_sentences_and_tables_are_taken_by_their_programs(page: Path) -> None:
    wrong_on_purpose = {case.command for case in documented_ends() if case.status == 2}
    spans = [span for span in code_spans(page) if is_command(span.text) and span.text not in wrong_on_purpose]
    assert not refused(spans)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_a_parameter_with_its_value_is_declared_so(page: Path) -> None:
    wrong = []
    for span in code_spans(page):
        given = _GIVEN.fullmatch(span.text.removeprefix("-P "))
        if given and given[0] not in _NO_PARAMETER and not declares(given[1], given[2]):
            wrong.append(str(span))
    assert not wrong


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("mlflow run . -e cutout -P dept=20", "did you mean depth"),
        ("mlflow run . -e cutout -P m=-1", "at least 0"),
        ("mlflow run . -e cutot -P m=4", "no entry point cutot"),
        ("mlflow run . -e cutout -M m=4", "No such option"),
        ("mlflow run docs -e cutout", "no MLproject"),
        ("mlflow sever --port 5000", "no sub-command sever"),
        ("mlflow server --prt 5000", "No such option"),
        ("python entrypoints/cutout.py --m 4 --dept 20", "did you mean depth"),
        ("python entrypoints/cutuot.py --m 4", "there is no"),
        ("RAY_ADDRESS=host:1 dlperf cutout --engine rya", "one of local, ray"),
        ("dlperf remote --host ssh://gpuhost --entry_point cutout --dept 20", "did you mean depth"),
        ("docker run --rm dlperf cutout --dept 20", "did you mean depth"),
        ("docker build -t dlperf --build-arg VARIATN=gpu .", "no ARG VARIATN"),
        ("docker compose exec -T databse pg_dump --username mlflow", "no service databse"),
        ("docker compose -f compose.ouath.yaml up", "there is no"),
        ("docker volume rm dlperf-stat", "nothing makes a volume"),
        ("kubectl apply -f kubernetes/volume.yaml", "there is no"),
        ("make setup && make tset", "no tset"),
        ("pip install 'dlperf[rya]'", "no extra rya"),
        ("python -m benchmarks.overhaed", "no module"),
        ("python -m benchmarks.overhead --dpeth 44", "no --dpeth"),
        ("rm -rf /", "no program"),
    ],
)
def test_a_wrong_command_would_be_found(line: str, reason: str) -> None:
    with pytest.raises(Refused, match=re.escape(reason)):
        check(line)


def test_comments_variables_and_redirections_are_no_part_of_a_command() -> None:
    assert entry_point_of("A=b mlflow run . -e cutout -P m=4   # -P dept=20") == ("cutout", {"m": "4"})
    assert entry_point_of("make setup && dlperf cutout --m 4 > out") == ("cutout", {"m": "4"})
    assert entry_point_of('mlflow run . -e approximators -P "units=64;16,16"') == (
        "approximators",
        {"units": "64;16,16"},
    )


def test_every_entry_point_is_shown_as_a_command_on_its_page() -> None:
    for name in (*PROBLEMS, "compare"):
        shown = [entry_point_of(line.text) for line in shell_lines(DOCS / f"{name}.md")]
        assert name in [found[0] for found in shown if found], name
    readme = [piece.text for piece in shell_lines(ROOT / "README.md")]
    assert {"make demo", "make test"} <= set(readme)
