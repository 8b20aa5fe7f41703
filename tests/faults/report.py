"""What the fault suite found, as rows of a report; `make faults` keeps it in results/faults and in docs/reliability.md.

Parts of the suite may be run apart, as outages are, whose figures need a machine at rest: their rows replace those of
the same faults, and the others stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dlperf import environment, tables

KILLS, OUTAGES, REPORT = "--kills", "--outages", "--faults-report"
KILLED = "Killed at random moments, resumed, compared with an uninterrupted run"
OUTAGE = "Outages of the tracking server in the middle of a training"
ONE_STORE = "Programs on one SQLite file at once"
ODD_VALUES = "Odd values of parameters"
HEADING = "## As measured\n"
_ROOT = Path(__file__).resolve().parents[2]
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


def documented(folder: Path) -> str:
    """Return the section of docs/reliability.md that has the figures."""
    if not (folder / "faults.json").exists():
        return f"{HEADING}\nThe suite has not been run at length with this version.\n"
    content = json.loads((folder / "faults.json").read_text())
    figures = content["figures"]
    lines = [
        f"| {fault} | {tried} | {found} |"
        for title, of_a_table in ((KILLED, _kills), (OUTAGE, _outages), (ONE_STORE, _one_store), (ODD_VALUES, _odd))
        for fault, tried, found in of_a_table(figures.get(title, []))
    ]
    machines = sorted({run["hardware"] for run in content["runs"].values()})
    table = "\n".join(["| fault | tried | found |", "|---|---:|---|", *lines])
    return f"{HEADING}\n{table}\n\nOn {'; '.join(machines)}: [every figure](../results/faults/faults.md).\n"


def _kills(rows: Sequence[Row]) -> Iterator[tuple[str, str, str]]:
    for row in rows:
        found = f"{row['equal_to_the_bit']} of {row['trials']} trials equal to the bit, {row['epochs']} epochs each"
        lost = f"{row['steps_missing']} steps missing, {row['steps_twice']} twice"
        yield f"SIGKILL, `{row['problem']}`", f"{row['kills']}", f"{found}; {lost}"


def _outages(rows: Sequence[Row]) -> Iterator[tuple[str, str, str]]:
    for fault, store in dict.fromkeys((row["fault"], row["store"]) for row in rows):
        of = [row for row in rows if (row["fault"], row["store"]) == (fault, store)]
        seconds = sum(row["seconds_away"] for row in of)
        share = 100 * max(row["tracking_seconds"] / row["train_seconds"] for row in of)
        pause = max(row["longest_pause_over_median"] for row in of)
        lost, twice = (sum(row[name] for row in of) for name in ("points_lost", "points_twice"))
        slowed = f"tracking at most {share:.2g} % of training, the longest pause {pause:.2g} times the median"
        yield (
            f"server: {fault}, {store}",
            f"{len(of)}, {seconds:.0f} s",
            f"{slowed}; {lost} points lost, {twice} twice",
        )


def _one_store(rows: Sequence[Row]) -> Iterator[tuple[str, str, str]]:
    for row in rows:
        yield (
            "programs on one SQLite file",
            f"{row['programs']}",
            f"{row['finished']} finished; {row['points_lost']} lost",
        )


def _odd(rows: Sequence[Row]) -> Iterator[tuple[str, str, str]]:
    if rows:
        tried, taken = (sum(row[name] for row in rows) for name in ("tried", "taken"))
        yield "odd values of parameters", f"{tried:,}", f"{taken:,} taken, the others refused in one line"


def document(page: Path = _ROOT / "docs" / "reliability.md", folder: Path = _ROOT / "results" / "faults") -> None:
    """Write the figures into the page, where the old ones stand."""
    before, _, after = page.read_text().partition(HEADING)
    _, heading, after = after.partition("\n## ")
    page.write_text(before + documented(folder) + heading + after)


if __name__ == "__main__":
    document()
