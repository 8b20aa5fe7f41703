"""Outages of a real tracking server in the middle of a training: nothing is lost, waits or stands twice."""

from __future__ import annotations

import itertools
import random
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.result_texts.faults import OUTAGE
from tests.faults.report import Report
from tests.support import postgres
from tests.support.desk import SMALL, eventually, wait_for_line
from tests.support.faulty_proxy import FAULTS, Fault, FaultyProxy, faulty_proxy
from tests.support.served_desk import ServedDesk, served

# Epochs long enough for a pause between two of them to be seen.
TRAINING = [
    *(sys.executable, "entrypoints/cutout.py", "--m", "0", "--depth", "8", "--dataset", "digits"),
    *("--train_examples", "320", "--protocol", "corrected", "--patience", "0", "--epochs"),
]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedDesk]:
    folder = tmp_path_factory.mktemp("served")
    with served(folder, f"sqlite:///{folder}/mlflow.db") as there:
        yield there


@pytest.fixture
def proxy(desk: ServedDesk) -> Iterator[FaultyProxy]:
    with faulty_proxy(desk.port) as there:
        yield there


def newest(desk: ServedDesk) -> Any:
    return desk.client.search_runs(["0"], max_results=1)[0]


def check_that_all_epochs_arrived_once(desk: ServedDesk, run: Any, epochs: int) -> None:
    for name in ("train_loss", "validation_error", "epoch_seconds"):
        steps = [point.step for point in desk.client.get_metric_history(run.info.run_id, name)]
        assert sorted(steps) == list(range(1, epochs + 1)), name
    assert run.info.status == "FINISHED"


@pytest.mark.slow
def test_outages_of_every_kind_slow_nothing_and_lose_nothing(
    desk: ServedDesk, proxy: FaultyProxy, report: Report, outages: int
) -> None:
    """In one training, or, at length, in some of its own for each kind."""
    for faults in [(fault,) for fault in FAULTS] if outages > 1 else [FAULTS]:
        check_outages(desk, proxy, report, outages, faults, "SQLite")


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.skipif(bool(postgres.why_not()), reason=postgres.why_not() or "there is one")
def test_a_database_server_behind_outages_too(
    tmp_path_factory: pytest.TempPathFactory, report: Report, outages: int
) -> None:
    with (
        postgres.running() as database,
        served(tmp_path_factory.mktemp("team"), database) as desk,
        faulty_proxy(desk.port) as proxy,
    ):
        for fault in FAULTS if outages > 1 else FAULTS[-1:]:
            check_outages(desk, proxy, report, outages, (fault,), "PostgreSQL")


def check_outages(
    desk: ServedDesk, proxy: FaultyProxy, report: Report, outages: int, faults: Sequence[Fault], store: str
) -> None:
    """Let a server fail at random times of a training, and check that nothing waits for it, is lost or twice there."""
    moments, epochs = random.Random(f"{faults} {outages}"), 24 if outages > 1 else 10 + 6 * len(faults)
    between, away = ((0, 2), (4, 7)) if outages > 1 else ((0, 1), (1.5, 3.5))
    for _ in range(outages):
        process = desk.popen([*TRAINING, str(epochs)], MLFLOW_TRACKING_URI=proxy.address)
        wait_for_line(process, "epoch 1/")
        seconds_away, failed = {}, {}
        for fault in faults:
            time.sleep(moments.uniform(*between))
            begun, failed[fault] = time.monotonic(), -proxy.failed
            proxy.fault = fault
            time.sleep(moments.uniform(*away))
            proxy.fault, seconds_away[fault] = "", time.monotonic() - begun
            failed[fault] += proxy.failed
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output
        run = newest(desk)
        check_that_all_epochs_arrived_once(desk, run, epochs)
        times = [point.timestamp for point in desk.client.get_metric_history(run.info.run_id, "train_loss")]
        pauses = [later - sooner for sooner, later in itertools.pairwise(times) if later > sooner]
        trained, tracked = run.data.metrics["train_seconds"], run.data.metrics["tracking_seconds"]
        assert max(pauses) < 3 * statistics.median(pauses) + 500, pauses
        assert tracked < 0.01 * trained + 0.5
        for fault in faults:
            report.add(
                OUTAGE,
                fault=fault,
                store=store,
                seconds_away=round(seconds_away[fault], 1),
                requests_failed=failed[fault],
                train_seconds=round(trained, 1),
                tracking_seconds=round(tracked, 3),
                longest_pause_over_median=round(max(pauses) / statistics.median(pauses), 2),
                points_lost=0,
                points_twice=0,
            )


@pytest.mark.slow
def test_a_server_that_stays_away_is_told_at_the_end(desk: ServedDesk, proxy: FaultyProxy) -> None:
    process = desk.popen([*TRAINING, "12", "--finish_seconds", "3"], MLFLOW_TRACKING_URI=proxy.address)
    wait_for_line(process, "epoch 1/")
    proxy.fault = "500"
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 3, output
    run = newest(desk)
    assert f"trained, not sent: {proxy.address} does not take the results (" in output
    assert f"send them with `dlperf runs --send {run.info.run_id}`" in output
    assert "Traceback" not in output
    assert run.info.status == "RUNNING"
    state = desk.folder / "state" / run.info.run_id
    assert [file.name for file in state.iterdir()] == ["journal"]
    proxy.fault = ""
    # A start of the same run has nothing left to do but to send.
    process = desk.popen([*TRAINING, "12"], MLFLOW_RUN_ID=run.info.run_id)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert "is finished: nothing is left to do" in output
    check_that_all_epochs_arrived_once(desk, desk.client.get_run(run.info.run_id), 12)
    assert not state.exists()


@pytest.mark.slow
def test_a_sweep_goes_on_through_an_outage(desk: ServedDesk, proxy: FaultyProxy) -> None:
    """From one trial to the next: the run of the next waits until the server makes it, the last one's results too."""
    process = desk.start("--m", "0,1,2", "--epochs", "4", MLFLOW_TRACKING_URI=proxy.address)
    wait_for_line(process, "m=0 random_seed=0  epoch 1/4")
    proxy.fault = "cut"
    time.sleep(5)
    proxy.fault = ""
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    runs = desk.client.search_runs(["0"], "tags.`mlflow.parentRunId` LIKE '%'")
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    table = desk.client.download_artifacts(runs[0].data.tags["mlflow.parentRunId"], "tables/cutout.csv")
    assert len(Path(table).read_text().splitlines()) == 4


@pytest.mark.slow
def test_no_secret_is_in_what_a_program_leaves(desk: ServedDesk, proxy: FaultyProxy) -> None:
    """Of an address with a login, of MLflow's variables: not in lines, tags, command lines, states or the journal."""
    planted = "planted-secret"
    address = proxy.address.replace("://", f"://user:{planted}@")
    own = {"MLFLOW_TRACKING_URI": address, "MLFLOW_TRACKING_PASSWORD": planted, "MLFLOW_TRACKING_USERNAME": "user"}
    arguments = ("--m", "0,1", "--processes", "2", "--threads", "1", "--epochs", "200", "--finish_seconds", "1")
    process = desk.cold([sys.executable, "entrypoints/cutout.py", *SMALL, *arguments], **own)
    journals = desk.folder / "state"
    eventually(lambda: len(list(journals.glob("*/state.npz"))) == 2, 120)
    for relative in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
        assert planted not in " ".join(relative.cmdline())
    proxy.fault = "500"
    time.sleep(2)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "dlperf: not sent: " in output
    assert planted not in output
    left = [file for file in desk.folder.rglob("*") if file.is_file()]
    assert any(file.name == "entries" for file in left)
    assert not [file for file in left if planted.encode() in file.read_bytes()]
    status, output = desk.finish(
        MLFLOW_RUN_ID="unknown", **{**own, "MLFLOW_TRACKING_URI": address.replace("user", "u")}
    )
    assert (status, planted in output) == (3, False), output
