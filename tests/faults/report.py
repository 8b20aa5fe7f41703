"""What the fault suite found, as rows of a report; `make faults` keeps it in results/faults.

Parts of the suite may be run apart, as outages are, whose figures need a machine at rest: their rows replace those of
the same faults, and the others stay.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dlperf import environment, tables

KILLS, OUTAGES, REPORT = "--kills", "--outages", "--faults-report"
Row = dict[str, Any]


class Report:
    """The rows of the suite by table.

    Attributes:
        rows: Rows by title of their table. The texts in a row say which fault it is of.
    """

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {}

    def add(self, title: str, **row: Any) -> None:
        self.rows.setdefault(title, []).append(row)

    def write(self, folder: Path, command: str) -> None:
        """Write faults.json, and faults.md as people read it, with what earlier runs found of other faults."""
        import pandas as pd

        figures: dict[str, list[Row]] = {}
        runs: dict[str, Row] = {}
        if (folder / "faults.json").exists():
            before = json.loads((folder / "faults.json").read_text())
            figures, runs = before["figures"], before["runs"]
        for title, rows in self.rows.items():
            new = {_fault(row) for row in rows}
            figures[title] = [row for row in figures.get(title, []) if _fault(row) not in new] + rows
        if self.rows:
            of = sorted(self.rows)
            runs[command] = {"tables": of, "hardware": environment.hardware(), **environment.describe()}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "faults.json").write_text(json.dumps({"runs": runs, "figures": figures}, indent=1) + "\n")
        texts = [f"`{name}`: {', '.join(run['tables'])}; on {run['hardware']}." for name, run in runs.items()]
        for title, rows in figures.items():
            texts += [f"{title}:", tables.markdown(pd.DataFrame(rows)).strip()]
        (folder / "faults.md").write_text("\n\n".join(texts) + "\n")


def _fault(row: Row) -> tuple[str, ...]:
    return tuple(value for value in row.values() if isinstance(value, str))
