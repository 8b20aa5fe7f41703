"""`dlperf runs` as a user types it: lists, resumes, sends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import sys
import time
from pathlib import Path

import mlflow
import psutil
import pytest

from dlperf.tracking.journal import Header, Journal
from tests.support.desk import Desk, eventually, processes_of, wait_for_line


def runs(desk: Desk, *arguments: str, **environment: str) -> tuple[int, str]:
    process = desk.popen([sys.executable, "-m", "dlperf", "runs", *arguments], **environment)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def row(output: str, run_id: str) -> list[str]:
    """The cells of a run in the table."""
    (line,) = (line for line in output.splitlines() if run_id in line)
    return [cell.strip() for cell in line.strip("│ ").split("│")]


def stop(pid: int, desk: Desk) -> None:
    """Stop a process, which else may end while it is looked at, where it does not hold the store's lock."""

    def stopped_without_the_lock() -> bool:
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        time.sleep(0.5)  # for its other threads
        try:
            with contextlib.closing(sqlite3.connect(desk.folder / "mlflow.db", timeout=0.2)) as store:
                store.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            os.kill(pid, signal.SIGCONT)
            return False
        return True

    eventually(stopped_without_the_lock)


@pytest.mark.slow
def test_without_a_store_there_is_nothing_to_list(bare_desk: Desk) -> None:
    status, output = runs(bare_desk)
    assert status == 3, output


@pytest.mark.slow
def test_what_was_killed_is_listed_with_its_epoch_and_goes_on(desk: Desk) -> None:
    process = desk.start("--m", "0,1", "--epochs", "12", "--patience", "0")
    wait_for_line(process, "m=0 random_seed=0  epoch 1/12")
    stop(process.pid, desk)
    status, output = runs(desk)
    assert status == 0, output
    by_name = desk.runs()
    parent, child = by_name["cutout m=0,1"].info.run_id, by_name["cutout m=0 random_seed=0"].info.run_id
    assert row(output, parent)[1:3] == ["cutout m=0,1", f"runs, process {process.pid}"]
    assert row(output, child)[2] == f"runs, process {process.pid}"
    status, output = runs(desk, "--resume", parent)
    assert (status, "is still being run by a process" in output) == (2, True), output
    status, output = desk.finish("--m", "0,1", "--epochs", "12", "--patience", "0", MLFLOW_RUN_ID=parent)
    assert (status, f"MLFLOW_RUN_ID={parent}: is still being run by another process" in output) == (2, True), output
    process.kill()
    process.communicate()
    status, output = runs(desk)
    assert row(output, parent)[2].startswith("killed, can go on")
    assert row(output, child)[2] == "killed, can go on"
    assert 1 <= int(row(output, child)[3]) <= 12
    status, output = runs(desk, "--resume", "all")
    assert status == 0, output
    assert {run.info.status for run in desk.runs().values()} == {"FINISHED"}
    (page,) = re.findall("^report: (.*)", output, re.MULTILINE)
    assert (Path(page).name, Path(page).parts[-3]) == ("report.html", parent)
    assert "What was found" in Path(page).read_text()
    status, output = runs(desk)
    assert (status, output) == (0, "every run has finished, and nothing waits to be sent\n")
    assert runs(desk, "--resume", "all")[0] == 1
    status, output = runs(desk, "--resume", parent)
    assert (status, "there is no such run that has not finished" in output) == (2, True), output


@pytest.mark.slow
def test_a_signal_to_runs_ends_what_it_resumes(desk: Desk) -> None:
    process = desk.start("--m", "0", "--epochs", "50")
    wait_for_line(process, "epoch 1/50")
    process.kill()
    process.communicate()
    resuming = desk.cold([sys.executable, "-m", "dlperf", "runs", "--resume", "all"])
    wait_for_line(resuming, "/50")
    resuming.send_signal(signal.SIGTERM)
    output, _ = resuming.communicate(timeout=60)
    assert resuming.returncode == 143, output
    eventually(lambda: not processes_of(desk))
    (run,) = desk.runs().values()
    assert (run.info.status, run.data.tags["dlperf.ended"]) == ("KILLED", "killed")
    anew = desk.start("--m", "0", "--epochs", "50")
    told = f"run {run.info.run_id} of the same was killed, and can go on: dlperf runs --resume {run.info.run_id}"
    wait_for_line(anew, told)
    anew.kill()
    anew.communicate()


@pytest.mark.slow
def test_what_waits_is_listed_and_sent_without_tensorflow(desk: Desk, tmp_path: Path) -> None:
    client = mlflow.MlflowClient(desk.uri)
    ids = [client.create_run("0", run_name=f"trial {number}").info.run_id for number in range(3)]
    for run_id in ids:
        with contextlib.closing(
            Journal(desk.folder / "state" / run_id / "journal", Header(run_id, "", run_id, "cutout", desk.uri))
        ) as journal:
            journal.append("tags", {"dlperf.problem": "cutout", "dlperf.ended": "finished"})
            journal.append("metrics", [["test_error", 0.5, int(time.time() * 1000), 0]])
            journal.append("ended", {"status": "FINISHED", "time": 5})
    status, output = runs(desk)
    assert status == 0, output
    assert [row(output, run_id)[2:] for run_id in ids] == [["trained, not sent (FINISHED)", "-", "3"]] * 3
    status, output = runs(desk, "--tracking_uri", "http://127.0.0.1:9")
    assert (status, row(output, ids[0])[4]) == (3, "3")
    status, output = runs(desk, "--send", "all", "--tracking_uri", f"sqlite:///{tmp_path}/other.db")
    assert status == 3
    assert client.get_run(ids[0]).info.status == "RUNNING"
    no_tensorflow = tmp_path / "tensorflow.py"
    no_tensorflow.write_text("raise SystemExit('TensorFlow was loaded')")
    status, output = runs(desk, "--send", ids[0], PYTHONPATH=str(tmp_path))
    assert (status, output) == (0, f"run {ids[0]}: 3 entries sent\n")
    status, output = runs(desk, "--send", "all")
    assert (status, output.count("3 entries sent")) == (0, 2)
    for run_id in ids:
        assert client.get_run(run_id).data.metrics == {"test_error": 0.5}
        assert client.get_run(run_id).info.status == "FINISHED"
    assert not any((desk.folder / "state").iterdir())
    assert runs(desk, "--send", "all")[0] == 1
    status, output = runs(desk, "--send", ids[0])
    assert (status, "nothing of such a run waits to be sent" in output) == (2, True)
    assert runs(desk, "--send", "all", "--resume", "all")[0] == 2
