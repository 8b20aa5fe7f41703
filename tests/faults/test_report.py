"""The report of the fault suite: parts that are run apart stand in one, and the page has its figures."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.result_texts.faults import KILLED, ODD_VALUES, OUTAGE, faults
from tests.faults.report import Report


def test_a_part_that_is_run_again_replaces_its_own_rows_alone(tmp_path: Path) -> None:
    counted = {"equal_to_the_bit": 7, "epochs": 30, "metrics_compared": 12, "steps_missing": 0, "steps_twice": 0}
    first = Report()
    for problem in ("optimizers", "cutout"):
        first.add(KILLED, problem=problem, kills=25, trials=7, **counted)
    first.write(tmp_path, "the kills")
    second = Report()
    second.add(KILLED, problem="cutout", kills=30, trials=7, **counted)
    measured = {"seconds_away": 5.5, "requests_failed": 9, "train_seconds": 20.0, "points_lost": 0, "points_twice": 0}
    for pause, tracking in ((1.1, 0.01), (1.3, 0.02)):
        second.add(
            OUTAGE,
            fault="cut",
            store="SQLite",
            tracking_seconds=tracking,
            longest_pause_over_median=pause,
            **measured,
        )
    second.add(ODD_VALUES, command="cutout", tried=2000, taken=300)
    second.write(tmp_path, "the others")
    content = json.loads((tmp_path / "faults.json").read_text())
    assert {row["problem"]: row["kills"] for row in content["figures"][KILLED]} == {"optimizers": 25, "cutout": 30}
    assert list(content["runs"]) == ["the kills", "the others"]
    assert content["runs"]["the kills"]["tables"] == [KILLED]
    Report().write(tmp_path, "nothing")
    assert json.loads((tmp_path / "faults.json").read_text()) == content

    text = faults(tmp_path)
    killed = "7 of 7 trials equal to the bit, 30 epochs each; 0 steps missing, 0 twice"
    assert f"| SIGKILL, `cutout` | 30 | {killed} |" in text
    outage = "tracking at most 0.1 % of training, the longest pause 1.3 times the median; 0 points lost, 0 twice"
    assert f"| server: cut, SQLite | 2, 11 s | {outage} |" in text
    assert "| odd values of parameters | 2,000 | 300 taken, the others refused in one line |" in text
    assert "Not run at length with this version: SIGKILL of `approximators`, SIGKILL of `scaling`, programs on" in text
    assert "not been run" in faults(tmp_path / "nowhere")
