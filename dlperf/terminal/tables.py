"""Tables that fit the terminal, with a sentence below each."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dlperf.tables import cell, is_number

if TYPE_CHECKING:
    import pandas as pd

    from dlperf.problem import Summary

_PIPE_WIDTH = 80
_UNBOUNDED = 10_000
_BORDERS = 3  # what a column takes beside its text
_LONGEST_WORD = 40  # longer ones are cut
_PARTS = re.compile(r"[^_:,/]*[_:,/]+|[^_:,/]+")  # of a word that does not fit a line


def show_summary(summary: Summary, *, wide: bool = False) -> None:
    """Print those tables of a summary that are for the terminal, each with what it says."""
    for name, table in summary.shown_tables().items():
        columns, sentence = summary.columns.get(name, ()), summary.sentences.get(name, "")
        show_table(name, table, columns=columns, sentence=sentence, wide=wide)


def show_table(
    title: str,
    table: pd.DataFrame,
    *,
    columns: Sequence[str] = (),
    sentence: str = "",
    most: int | None = None,
    wide: bool = False,
) -> None:
    """Print a data frame as wide as the terminal at most, 80 characters into a pipe; numbers to the right.

    Args:
        title: Its name.
        table: The data frame.
        columns: The columns that answer its question, the first ones first where not all have room; all unless given.
        sentence: What it says, printed below it.
        most: The number of rows that are printed.
        wide: Print all columns, however wide that is.
    """
    width = _UNBOUNDED if wide else _width()
    names = list(table.columns) if wide else [name for name in columns or table.columns if name in table.columns]
    shown = table[:most]
    texts = {name: [str(name).replace("_", " "), *map(cell, shown[name])] for name in names}
    least = {name: _least(texts[name], is_number(table, name)) for name in names}
    while len(names) > 1 and not wide and _total([least[name] for name in names]) > width:
        names.pop()
    widths = _shared_out({name: least[name] for name in names}, texts, width)
    hidden = f" ({len(names)} of {len(table.columns)} columns)" if len(names) < len(table.columns) else ""
    printed = Table(title=escape(title.replace("_", " ") + hidden))
    for name in names:
        header, *cells = (_wrapped(text, widths[name]) for text in texts[name])
        printed.add_column(escape(header), justify="right" if is_number(table, name) else "left", overflow="fold")
        texts[name] = cells
    for row in zip(*(texts[name] for name in names), strict=True):
        printed.add_row(*map(escape, row))
    Console(
        width=_total(list(widths.values())) if wide else max(width, _total(list(widths.values()))), highlight=False
    ).print(printed)
    if most is not None and len(table) > most:
        print(f"{title}: {len(table) - most} more rows in its file")
    if sentence:
        say(sentence)


def say(text: str) -> None:
    """Print a text in lines as long as the terminal is wide."""
    print(textwrap.fill(text, _width(), break_long_words=False, break_on_hyphens=False))


def _width() -> int:
    return Console().width if sys.stdout.isatty() else _PIPE_WIDTH


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _BORDERS * len(widths) + 1


def _least(texts: Sequence[str], number: bool) -> int:
    """Return the narrowest that a column can be: numbers are never broken, other words only where they may be."""
    whole = max(map(len, texts[1:]), default=0) if number else 0
    parts = [
        part for text in (texts[:1] if number else texts) for word in text.split() for part in _PARTS.findall(word)
    ]
    return max([1, whole, *(min(_LONGEST_WORD, len(part)) for part in parts)])


def _shared_out(least: dict[str, int], texts: dict[str, list[str]], width: int) -> dict[str, int]:
    """Give the columns the room that is left, a character at a time, until their cells stand on one line."""
    widths = dict(least)
    wanted = {name: max(map(len, texts[name][1:]), default=0) for name in widths}
    left = width - _total(list(widths.values()))
    while left > 0 and (wanting := [name for name in widths if widths[name] < wanted[name]]):
        for name in wanting[:left]:
            widths[name] += 1
        left -= len(wanting)
    return widths


def _wrapped(text: str, width: int) -> str:
    """Break a text into lines, between words, and words that are longer than a line where they are put together."""
    if len(text) <= width:
        return text
    lines = [""]
    for word in text.split():
        for number, part in enumerate([word] if len(word) <= width else _PARTS.findall(word)):
            blank = " " if number == 0 and lines[-1] else ""
            if len(lines[-1]) + len(blank) + len(part) <= width or not lines[-1]:
                lines[-1] += blank + part
            else:
                lines.append(part)
    return "\n".join(lines)
