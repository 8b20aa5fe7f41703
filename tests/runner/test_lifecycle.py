"""Entry points as subprocesses: what a user starts, kills, and goes on with; read back through MLflow's API."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlperf.processor import cores
from tests.support.contract import FINAL_NAMES, assert_trial
from tests.support.desk import MLFLOW_RUN, SMALL, Desk, eventually, processes_of, wait_for_line
from tests.support.project_run import project_run


def curves(desk: Desk, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """The epoch metrics that do not depend on the clock."""
    names = ["train_loss", "train_accuracy", "validation_loss", "validation_error", "learning_rate"]
    return {name: [(m.step, m.value) for m in desk.client.get_metric_history(run_id, name)] for name in names}


@pytest.mark.slow
def test_a_trial_carries_every_name_of_the_contract(desk: Desk) -> None:
    status, output = desk.finish("--m", "2", "--epochs", "3", "--target_accuracy", "0.11", "--save_model", "true")
    assert status == 0, output
    (run,) = desk.runs().values()
    assert f"run {run.info.run_id}; to see it: mlflow ui --backend-store-uri '{desk.uri}'" in output
    assert run.info.run_name == "cutout m=2 random_seed=0"
    assert_trial(desk, run, epochs=3)
    assert run.data.tags["dlperf.validation"] == "test"
    assert run.data.params["learning_rate"] == "0.001"
    assert (run.data.params["epochs"], run.data.params["cutout_length"]) == ("3", "12")
    (used,) = run.inputs.dataset_inputs
    assert json.loads(used.dataset.profile) == {"train_examples": 128, "test_examples": 360}
    assert not (desk.folder / "state" / run.info.run_id).exists()
    _the_saved_model_predicts_what_was_measured(desk, run)


def _the_saved_model_predicts_what_was_measured(desk: Desk, run: Any) -> None:
    """Loads without dlperf's own layers and takes pixels."""
    import mlflow

    from dlperf import data

    mlflow.set_tracking_uri(desk.uri)
    (model,) = run.outputs.model_outputs
    digits = data.load("digits")
    predict = mlflow.pyfunc.load_model(f"models:/{model.model_id}").predict
    answers = np.asarray(predict(digits.test_inputs.astype("float32"))).argmax(1)
    assert (answers == digits.test_labels).mean() == pytest.approx(run.data.metrics["test_accuracy"], abs=0.003)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Linux says who has the cores")
def test_a_trial_beside_other_programs_says_so(desk: Desk) -> None:
    spin = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(spin, start_new_session=True) for _ in range(2 * cores())]
    try:
        status, output = desk.finish("--m", "0", "--epochs", "2")
    finally:
        for process in others:
            process.kill()
            process.wait()
    assert status == 0, output
    (run,) = desk.runs().values()
    assert run.data.metrics["others_share"] > 0.3
    assert run.data.tags["dlperf.disturbed"].endswith("of the cores' time, and none was free")


@pytest.mark.slow
def test_a_run_that_is_killed_twice_goes_on_to_the_same_bits(desk: Desk) -> None:
    """With early stopping, and a state torn after the second kill; more kills, of every problem: tests/faults."""
    arguments = ("--m", "2", "--epochs", "6", "--protocol", "corrected", "--patience", "2")
    status, output = desk.finish(*arguments)
    assert status == 0, output
    (whole,) = desk.client.search_runs(["0"])

    process = desk.start(*arguments)
    wait_for_line(process, "epoch 1/6")
    time.sleep(0.5)  # into a later epoch, whose state is not on disk
    process.kill()
    process.communicate()
    killed = next(r for r in desk.client.search_runs(["0"]) if r.info.run_id != whole.info.run_id)
    assert killed.info.status == "RUNNING"  # nobody could tell MLflow
    state = desk.folder / "state" / killed.info.run_id / "state.npz"
    assert state.exists()
    # The declared defaults come again, as `mlflow run --run-id` passes them.
    process = desk.start("--m", "4", MLFLOW_RUN_ID=killed.info.run_id)
    (epoch,) = (line for line in wait_for_line(process, "  epoch ") if "  epoch " in line)
    assert "epoch 1/6" not in epoch
    process.kill()
    process.communicate()

    shutil.copy(state, state.with_name("state.before.npz"))
    state.write_bytes(state.read_bytes()[:1000])
    status, output = desk.finish(MLFLOW_RUN_ID=killed.info.run_id)
    assert status == 0, output
    assert f"the state in {state} is damaged (its checksum is another): going on from the one before" in output
    resumed = desk.client.get_run(killed.info.run_id)
    assert resumed.info.status == "FINISHED"
    assert curves(desk, resumed.info.run_id) == curves(desk, whole.info.run_id)
    same = ["test_loss", "test_error", "best_epoch", "epochs_run", "stopped_early"]
    assert [resumed.data.metrics[n] for n in same] == [whole.data.metrics[n] for n in same]
    accounts = resumed.data.metrics
    seconds = [m.value for m in desk.client.get_metric_history(resumed.info.run_id, "epoch_seconds")]
    assert accounts["train_seconds"] == pytest.approx(sum(seconds), rel=0.05)
    named = [n for n in FINAL_NAMES if n.endswith("_seconds") and n != "wall_seconds"]
    assert 0.95 * accounts["wall_seconds"] <= sum(accounts[n] for n in named) <= accounts["wall_seconds"]

    status, output = desk.finish(MLFLOW_RUN_ID=resumed.info.run_id)
    assert (status, "is finished" in output) == (0, True), output


@pytest.mark.slow
def test_a_full_disk_under_the_state_stops_no_training(desk: Desk, small_disk: Path) -> None:
    with (small_disk / "fill").open("wb", buffering=0) as fill, contextlib.suppress(OSError):
        for _ in range(960):  # a little is left, for folders and locks, and no state fits in
            fill.write(bytes(4096))
    status, output = desk.finish("--m", "0", "--epochs", "2", "--state_dir", str(small_disk))
    assert status == 0, output
    (run,) = desk.client.search_runs(["0"])
    said = "cannot be written (No space left on device): a resumed run would go on at the start"
    assert output.count(said) == 1
    assert (run.info.status, run.data.tags["dlperf.state"]) == ("FINISHED", said)
    assert run.data.metrics["epochs_run"] == 2


@pytest.mark.slow
def test_a_run_that_cannot_have_a_journal_is_not_left_running(desk: Desk) -> None:
    """As `mlflow run` makes it before the program starts."""
    run = desk.client.create_run("0").info.run_id
    status, output = desk.finish("--m", "0,1", MLFLOW_RUN_ID=run, DLPERF_STATE_DIR="/proc/nowhere")
    assert status == 2, output
    assert "DLPERF_STATE_DIR=/proc/nowhere: must be a folder that can be written to" in output
    assert "Traceback" not in output
    assert desk.client.get_run(run).info.status == "FAILED"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_killed(desk: Desk, number: signal.Signals, status: int) -> None:
    process = desk.start("--m", "0,1", "--epochs", "50")
    wait_for_line(process, "epoch 1/50")
    asked = time.monotonic()
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == status
    assert time.monotonic() - asked < 15
    assert "Traceback" not in output
    for run in desk.runs().values():
        assert (run.info.status, run.data.tags["dlperf.ended"]) == ("KILLED", "killed")
        assert run.data.tags["dlperf.failure"] == f"ended by {number.name}"
    (sweep,) = (run.info.run_id for run in desk.runs().values() if run.data.tags["dlperf.role"] == "sweep")
    assert f"dlperf cutout: ended by {number.name}; it can go on: dlperf runs --resume {sweep}\n" in output


@pytest.mark.slow
def test_a_loss_that_is_not_finite_fails_the_trial(desk: Desk) -> None:
    status, output = desk.finish("--m", "0", "--learning_rate", "1000000000000000000", "--protocol", "corrected")
    assert status == 1, output
    assert "Traceback" not in output
    (run,) = desk.runs().values()
    assert (run.info.status, run.data.tags["dlperf.ended"]) == ("FAILED", "failed")
    assert "not finite in epoch 1" in run.data.tags["dlperf.failure"]


@pytest.mark.slow
def test_a_killed_sweep_with_a_failed_trial_finishes_the_others_and_can_be_repaired(desk: Desk) -> None:
    """What has finished is skipped; the state of the killed trial is damaged: the sweep goes on around and with it."""
    process = desk.start("--m", "0,1,2", "--epochs", "3")
    wait_for_line(process, "cutout m=1 random_seed=0  epoch 1/3")
    process.kill()
    process.communicate()
    before = desk.runs()
    parent = before["cutout m=0,1,2"].info.run_id
    finished = before["cutout m=0 random_seed=0"]
    assert finished.info.status == "FINISHED"

    status, output = desk.finish("--m", "0,1", MLFLOW_RUN_ID=parent)
    assert status == 2, output
    assert "m=0,1: run" in output
    assert "has m=0,1,2, and a resumed run keeps its parameters" in output

    damaged = desk.folder / "state" / desk.runs()["cutout m=1 random_seed=0"].info.run_id / "state.npz"
    damaged.write_bytes(b"not a state")
    damaged.with_name("state.before.npz").unlink(missing_ok=True)

    status, output = desk.finish(MLFLOW_RUN_ID=parent)
    assert status == 1, output
    assert "Traceback" not in output
    assert "cutout m=0 random_seed=0: finished before, skipped" in output
    runs = desk.runs()
    assert {name: run.info.status for name, run in runs.items()} == {
        "cutout m=0,1,2": "FAILED",
        "cutout m=0 random_seed=0": "FINISHED",
        "cutout m=1 random_seed=0": "FAILED",
        "cutout m=2 random_seed=0": "FINISHED",
    }
    assert "cannot be read" in runs["cutout m=1 random_seed=0"].data.tags["dlperf.failure"]
    assert "1 of 3 failed: cutout m=1" in runs["cutout m=0,1,2"].data.tags["dlperf.failure"]
    assert (runs["cutout m=0,1,2"].data.metrics["trials_failed"], _rows(desk, parent)) == (1, ["0", "2"])

    damaged.unlink()
    # A child can be resumed by itself, here through MLflow as a user would.
    child = runs["cutout m=1 random_seed=0"].info.run_id
    status, output = project_run(desk, "cutout", {}, child)
    assert status == 0, output
    assert "it is trained from the start" in output
    status, output = desk.finish(MLFLOW_RUN_ID=parent)
    assert status == 0, output
    repaired = desk.runs()["cutout m=0,1,2"]
    assert (repaired.info.status, repaired.data.metrics["trials_failed"], _rows(desk, parent)) == (
        "FINISHED",
        0,
        ["0", "1", "2"],
    )
    assert repaired.data.tags["dlperf.ended"] == "finished"
    assert "dlperf.failure" not in repaired.data.tags
    after = desk.runs()
    assert len(after) == 4
    assert after["cutout m=0 random_seed=0"].info.end_time == finished.info.end_time
    for m in (0, 1, 2):
        trial = after[f"cutout m={m} random_seed=0"]
        assert trial.data.tags["mlflow.parentRunId"] == parent
        assert trial.data.params["m"] == str(m)
        if m != 1:
            assert_trial(desk, trial, epochs=3)
    # Trained from the start, but what had been logged of it stands once.
    assert [m.step for m in desk.client.get_metric_history(child, "train_loss")] == [1, 2, 3]


@pytest.mark.slow
def test_a_run_is_gone_on_with_where_it_is_and_as_what_it_is(desk: Desk) -> None:
    """In its own experiment, whatever the command line says; and not by another entry point."""
    process = desk.start("--m", "0,1", "--epochs", "3", MLFLOW_EXPERIMENT_NAME="elsewhere")
    wait_for_line(process, "cutout m=1 random_seed=0  epoch 1/3")
    process.send_signal(signal.SIGTERM)
    process.communicate()
    experiment = desk.client.get_experiment_by_name("elsewhere").experiment_id

    def runs() -> dict[str, Any]:
        return {run.info.run_name: run for run in desk.client.search_runs([experiment])}

    parent = runs()["cutout m=0,1"]
    assert parent.info.status == "KILLED"
    status, output = project_run(desk, "main", {}, parent.info.run_id)
    assert status == 1
    assert "is a run of cutout, not of main" in output
    after = runs()["cutout m=0,1"]
    assert after.info.status != "RUNNING"  # what it is then is MLflow's to say: it has seen its program fail
    ours = [{k: v for k, v in run.data.tags.items() if k.startswith("dlperf.")} for run in (after, parent)]
    assert ours[0] == ours[1]

    status, output = project_run(desk, "cutout", {}, parent.info.run_id)
    assert status == 0, output
    assert "cutout m=0 random_seed=0: finished before, skipped" in output
    assert "m=1 random_seed=0  epoch 1/3" not in output
    assert {name: run.info.status for name, run in runs().items()} == dict.fromkeys(
        ["cutout m=0,1", "cutout m=0 random_seed=0", "cutout m=1 random_seed=0"], "FINISHED"
    )
    assert not desk.client.search_runs(["0"])


def _rows(desk: Desk, run_id: str) -> list[str]:
    """The first column of a sweep's table."""
    table = desk.client.download_artifacts(run_id, "tables/cutout.csv", str(desk.folder))
    return [row.split(",")[0] for row in Path(table).read_text().splitlines()[1:]]


@pytest.mark.slow
def test_mlflow_run_and_its_death(desk: Desk) -> None:
    """`mlflow run` alone is killed, as by a whole machine's out-of-memory killer; it hands no signal on."""
    parameters = ["-P", "dataset=digits", "-P", "depth=8", "-P", "epochs=50", "-P", "m=0,1"]
    parameters += ["-P", "train_examples=128"]
    process = desk.popen([*MLFLOW_RUN, "-e", "cutout", *parameters])
    wait_for_line(process, "epoch 1/50")
    process.kill()
    eventually(lambda: all(run.info.status != "RUNNING" for run in desk.runs().values()))
    eventually(lambda: not processes_of(desk), seconds=10)
    for run in desk.runs().values():
        assert (run.info.status, run.data.tags["dlperf.ended"]) == ("KILLED", "killed")
        assert "the `mlflow run` that started it died" in run.data.tags["dlperf.failure"]


@pytest.mark.slow
def test_mlflow_run_with_bad_input_leaves_a_failed_run(desk: Desk) -> None:
    process = desk.popen([*MLFLOW_RUN, "-e", "cutout", "-P", "depth=45", "-P", "dataset=digits"])
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "dlperf cutout: depth=45: must be 6n + 2 (8, 14, 20, 26, 32, 38, 44, ...); nearest: 44 and 50" in output
    (run,) = desk.runs().values()
    assert run.info.status == "FAILED"
    assert run.data.tags["dlperf.failure"].startswith("depth=45: ")


@pytest.mark.slow
def test_stale_runs_of_killed_processes_are_ended(desk: Desk) -> None:
    process = desk.start("--m", "0", "--epochs", "50")
    wait_for_line(process, "epoch 1/50")
    process.kill()
    process.communicate()
    (stale,) = desk.client.search_runs(["0"])
    assert stale.info.status == "RUNNING"
    assert desk.finish("--m", "1", "--epochs", "1")[0] == 0
    ended = desk.client.get_run(stale.info.run_id)
    assert (ended.info.status, ended.data.tags["dlperf.failure"]) == ("KILLED", "its process was killed")


@pytest.mark.slow
def test_an_unreachable_tracking_server_is_status_3(desk: Desk) -> None:
    status, output = desk.finish("--epochs", "1", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert status == 3
    assert "the tracking server http://127.0.0.1:9 cannot be used" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_dry_run_runs_nothing(bare_desk: Desk) -> None:
    status, output = bare_desk.finish("--m", "0,4", "--dry_run", "true", "--measure", "false")
    assert status == 0, output
    assert "cutout m=4 random_seed=0" in output
    assert not (bare_desk.folder / "mlflow.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--m", "abc"], "m=abc: "),
        (["--m", "-1"], "m=-1: "),
        (["--m", "4,4"], "m=4,4: 4 stands twice"),
        (["--depth", "45"], "depth=45: must be 6n + 2"),
        (["--protocol", "x"], "protocol=x: must be one of notebook, corrected"),
        (["--nosuch", "1"], "nosuch=1: unknown parameter"),
        (["--dataset", "cifar10", "--data_dir", "/nowhere"], "data_dir=/nowhere: "),
        (["--train_examples", "1438"], "train_examples=1438: "),
        (["--train_examples", "1438", "--dry_run", "true"], "train_examples=1438: "),
        (["--state_dir", "relative"], "state_dir=relative: must be an absolute path"),
        (["--state_dir", "/dev/null/x"], "state_dir=/dev/null/x: must be a folder that can be written to"),
        (["--train_examples", "1437", "--protocol", "corrected"], "train_examples=1437: at most 1294 "),
    ],
)
def test_bad_input_is_one_line_and_status_2(bare_desk: Desk, arguments: list[str], message: str) -> None:
    own = [a for i, a in enumerate(SMALL) if a not in arguments and SMALL[i - 1] not in arguments]
    command = [sys.executable, "entrypoints/cutout.py", *own, *arguments]
    process = bare_desk.popen(command)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert output.startswith(f"dlperf cutout: {message}")
    assert output.count("\n") == 1
    assert not (bare_desk.folder / "mlflow.db").exists()
