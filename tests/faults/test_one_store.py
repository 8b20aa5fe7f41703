"""Several programs at once: on one database file, which SQLite lets one of them write at a time; on one run."""

from __future__ import annotations

import sys

import pytest

from benchmarks.result_texts.faults import ONE_STORE
from tests.faults.report import Report
from tests.support.desk import Desk

PROGRAMS, EPOCHS = 8, 30


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
    report.add(ONE_STORE, programs=PROGRAMS, finished=len(runs), points_lost=0)


@pytest.mark.slow
def test_two_starts_with_one_run_id(desk: Desk) -> None:
    """One of them runs it; the other is refused, or finds it finished."""
    run_id = desk.client.create_run("0").info.run_id
    trial = ["entrypoints/approximators.py", "--units", "16", "--epochs", "400", "--protocol", "corrected"]
    started = [desk.popen([sys.executable, *trial, "--patience", "0"], MLFLOW_RUN_ID=run_id) for _ in range(2)]
    ends = sorted((process.communicate(timeout=200)[0], process.returncode) for process in started)
    assert sorted(status for _, status in ends) in ([0, 2], [0, 0]), ends
    refused = "is still being run by another process; end that first\n"
    said = [output for output, _ in ends if refused in output or "is finished: nothing is left to do" in output]
    assert len(said) == 1
    assert "Traceback" not in said[0]
    assert desk.client.get_run(run_id).info.status == "FINISHED"
    steps = [point.step for point in desk.client.get_metric_history(run_id, "train_loss")]
    assert sorted(steps) == list(range(1, 401))
