"""The text on what the suite of faults found, from the report that `make faults` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.result_texts.sources import RESULTS

# The tables of the report.
KILLED = "Killed at random moments, resumed, compared with an uninterrupted run"
OUTAGE = "Outages of the tracking server in the middle of a training"
ONE_STORE = "Programs on one SQLite file at once"
ODD_VALUES = "Odd values of parameters"
_TRAINED = ("optimizers", "cutout", "approximators", "scaling")  # what is killed
Row = dict[str, Any]


def faults(folder: Path = RESULTS / "faults") -> str:
    """Kills and outages survived, what they slowed down, points lost, odd values tried."""
    if not (folder / "faults.json").exists():
        return "The suite has not been run at length with this version."
    content = json.loads((folder / "faults.json").read_text())
    figures = content["figures"]
    lines = [
        f"| {fault} | {tried} | {found} |"
        for title, of_a_table in ((KILLED, _kills), (OUTAGE, _outages), (ONE_STORE, _one_store), (ODD_VALUES, _odd))
        for fault, tried, found in of_a_table(figures.get(title, []))
    ]
    machines = sorted({run["hardware"] for run in content["runs"].values()})
    table = "\n".join(["| fault | tried | found |", "|---|---:|---|", *lines])
    missing = ", ".join(_not_run(figures))
    left = f" Not run at length with this version: {missing}." if missing else ""
    return f"{table}\n\nOn {'; '.join(machines)}: [every figure](../results/faults/faults.md).{left}"


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


def _not_run(figures: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    killed = [row["problem"] for row in figures.get(KILLED, [])]
    yield from (f"SIGKILL of `{problem}`" for problem in _TRAINED if problem not in killed)
    yield from (title[0].lower() + title[1:] for title in (OUTAGE, ONE_STORE, ODD_VALUES) if not figures.get(title))


def _odd(rows: Sequence[Row]) -> Iterator[tuple[str, str, str]]:
    if rows:
        tried, taken = (sum(row[name] for row in rows) for name in ("tried", "taken"))
        yield "odd values of parameters", f"{tried:,}", f"{taken:,} taken, the others refused in one line"
