"""Several programs on one database file at once, which SQLite lets one of them write at a time."""

from __future__ import annotations

import sys

import pytest

from tests.faults.report import Report
from tests.support.desk import Desk

PROGRAMS, EPOCHS = 8, 60


@pytest.mark.slow
def test_eight_programs_on_one_database_file(desk: Desk, report: Report) -> None:
    desk.runs()  # makes the store, which two programs must not do at once
    trial = ["entrypoints/approximators.py", "--units", "16", "--epochs", str(EPOCHS), "--protocol", "corrected"]
    started = [
        desk.popen([sys.executable, *trial, "--patience", "0", "--random_seed", str(seed)]) for seed in range(PROGRAMS)
    ]
    outputs = [process.communicate(timeout=600)[0] for process in started]
    assert [process.returncode for process in started] == [0] * PROGRAMS, outputs
    runs = desk.client.search_runs(["0"])
    assert [run.info.status for run in runs] == ["FINISHED"] * PROGRAMS
    for run in runs:
        steps = [point.step for point in desk.client.get_metric_history(run.info.run_id, "train_loss")]
        assert sorted(steps) == list(range(1, EPOCHS + 1))
    report.add("Programs on one SQLite file at once", programs=PROGRAMS, finished=len(runs), points_lost=0)
