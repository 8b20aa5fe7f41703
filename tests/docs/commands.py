"""Reads a command of the documentation as its program would, without running it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.docs import entry_points, other_programs
from tests.docs.shell import ASSIGNMENT, Refused, commands

_ENTRY_POINTS: dict[str, Callable[[list[str]], None]] = {
    "mlflow": entry_points.mlflow,
    "python": entry_points.python,
    "dlperf": entry_points.dlperf,
}


def is_command(text: str) -> bool:
    """Whether code within a line of prose is a command, and not a name, an option or a value."""
    words = _without_variables(text.split())
    return len(words) > 1 and words[0] in {*_ENTRY_POINTS, *other_programs.READERS}


def check(line: str) -> None:
    """Read one line of a shell.

    Raises:
        Refused: If a program in it would not know what it is given: a parameter that is not declared, a value that is
            not allowed, a file, service, target or option that does not exist.
    """
    for inner in re.findall(r"\$\((.*?)\)", line):
        check(inner)
    for words in commands(line):
        _check_words(words)


def entry_point_of(line: str) -> tuple[str, dict[str, str]] | None:
    """Return the entry point that a line starts, and the parameters that it gives; None if it starts none."""
    for words in map(_without_variables, commands(line)):
        if words[:2] == ["mlflow", "run"]:
            return entry_points.mlflow_run(words[2:])
        if words[:1] == ["dlperf"] and words[1:]:
            return words[1], entry_points.pairs(words[2:])
        if words[:1] == ["python"] and words[1].startswith("entrypoints/"):
            return Path(words[1]).stem, entry_points.pairs(words[2:])
    return None


def _without_variables(words: list[str]) -> list[str]:
    """Leave out the assignments before a command."""
    while words and ASSIGNMENT.fullmatch(words[0]):
        words = words[1:]
    return words


def _check_words(words: list[str]) -> None:
    words = _without_variables(words)
    if not words:
        return
    program, *rest = words
    if program in _ENTRY_POINTS:
        _ENTRY_POINTS[program](rest)
    elif program in other_programs.READERS:
        for inner in other_programs.READERS[program](rest):
            _check_words(inner)
    else:
        raise Refused(f"{program} is no program that this test knows")
