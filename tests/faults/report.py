"""What the fault suite found, as rows of a report; `make faults` keeps it in results/faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dlperf import environment, tables

KILLS, OUTAGES, REPORT = "--kills", "--outages", "--faults-report"


class Report:
    """The rows of the suite by table.

    Attributes:
        rows: Rows by title of their table.
    """

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {}

    def add(self, title: str, **row: Any) -> None:
        self.rows.setdefault(title, []).append(row)

    def write(self, folder: Path, command: str) -> None:
        """Write faults.json, and faults.md as people read it."""
        import pandas as pd

        folder.mkdir(parents=True, exist_ok=True)
        described = {**environment.describe(), "command": command}
        content = {"environment": described, "figures": self.rows}
        (folder / "faults.json").write_text(json.dumps(content, indent=1) + "\n")
        texts = [f"Run on {environment.hardware()}; command: `{command}`."]
        for title, rows in self.rows.items():
            texts += [f"{title}:", tables.markdown(pd.DataFrame(rows)).strip()]
        (folder / "faults.md").write_text("\n\n".join(texts) + "\n")
