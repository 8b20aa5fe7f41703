"""Golden files: texts as people approved them. `pytest --overwrite-golden` writes them anew; look at the diff."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "golden"
OPTION = "--overwrite-golden"


def assert_golden(name: str, text: str, config: pytest.Config) -> None:
    """Compare a text with tests/golden/NAME, or write that file where the option asks for it."""
    file = FOLDER / name
    lines = "".join(f"{line.rstrip()}\n" for line in text.splitlines())  # no trailing blanks, which editors take away
    if config.getoption(OPTION):
        file.write_text(lines)
    assert lines == file.read_text(), f"{file} differs; if the new text is right, run pytest {OPTION}"
