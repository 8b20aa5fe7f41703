"""How docs/resuming.md says that a start ends which cannot do what it is asked to: command, exit status, line."""

from __future__ import annotations

from dataclasses import dataclass

from tests.docs.pages import DOCS, names, tables

PAGE = DOCS / "resuming.md"


@dataclass(frozen=True)
class End:
    """One documented start.

    Attributes:
        command: What the user types.
        status: Its exit status.
        line: What the line says, in part.
    """

    command: str
    status: int
    line: str


def statuses() -> dict[int, str]:
    """Return the documented exit statuses, each with what gives it."""
    (table,) = (table for table in tables(PAGE) if table[0][-1].text == "exit status")
    return {int(row[-1].text): row[0].text for row in table[1:]}


def documented_ends() -> list[End]:
    """Return the starts of the table whose last column is the line that is said."""
    (table,) = (table for table in tables(PAGE) if table[0][-1].text.startswith("the line"))
    return [End(names(row[0])[0], int(row[1].text), names(row[2])[0]) for row in table[1:]]
