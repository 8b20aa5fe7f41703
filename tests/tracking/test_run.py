"""The tracking layer on a real SQLite store, read back through MLflow's own client."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from dlperf.errors import BadInput, Ended, EnvironmentMissing
from dlperf.parameters import parse, texts
from dlperf.runner.resume import original_arguments, was_started
from dlperf.tracking.journal import Header, Journal
from dlperf.tracking.query import said_trial
from dlperf.tracking.run import Run
from dlperf.tracking.store import Store
from dlperf.trial import DataUsed
from tests.support.begun_runs import PROBLEM, begin, reread
from tests.support.desk import eventually

EPOCH = {"train_loss": 1.0, "epoch_seconds": 2.0}


def steps(store: Store, run: Run, name: str = "train_loss") -> list[int]:
    return [m.step for m in store.client.get_metric_history(run.id, name)]


def test_parameters_mlflow_has_logged_stay_as_they_are(store: Store) -> None:
    run = begin(store, {"learning_rate": "1e-3"}, learning_rate="1e-3", m="4")
    logged = reread(store, run)
    assert logged.params["learning_rate"] == "1e-3"
    assert logged.params["epochs"] == "100"
    assert store.client.get_run(run.id).info.run_name == "cutout m=4"  # the made-up name is replaced


def test_a_logged_parameter_with_another_value_is_refused(store: Store) -> None:
    with pytest.raises(BadInput, match=r"m=4: run .* has m=7"):
        begin(store, {}, m="7")


def test_a_name_the_user_chose_is_kept(store: Store) -> None:
    run = Run(store.client, store.uri, store.client.create_run("0", run_name="my run"))
    arguments = parse(PROBLEM.parameters, {"dataset": "digits"})
    run.begin(PROBLEM, "cutout m=4", "trial", texts(arguments.trials[0]), {})
    assert store.client.get_run(run.id).info.run_name == "my run"


def test_an_epoch_is_logged_once_however_often_it_is_told(store: Store) -> None:
    run = begin(store, {})
    run.epochs(1, [EPOCH])
    run.epochs(2, [EPOCH])
    resumed = reread(store, run)
    for epoch in (1, 2, 3):
        resumed.epochs(epoch, [EPOCH])
    assert steps(store, run) == [1, 2, 3]
    resumed.epochs(1, [EPOCH] * 5)  # as a worker does that takes over from a dead one
    assert steps(store, run) == [1, 2, 3, 4, 5]


def test_what_is_said_waits_while_the_server_is_away(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin(store, {})
    folder = tmp_path / "state" / run.id / "journal"
    run.keep_journal(folder, "cutout", store.sender)
    run.epochs(1, [EPOCH])
    eventually(lambda: steps(store, run) == [1])
    with monkeypatch.context() as away:

        def refuse(*_: object, **__: object) -> None:
            raise mlflow.MlflowException("connection refused")

        away.setattr(store.client, "log_batch", refuse)
        run.epochs(2, [EPOCH])
        time.sleep(0.2)
        run.epochs(3, [EPOCH])
        run.final_metrics({"test_error": 0.5})
        said = f"connection refused.*`dlperf runs --send {run.id} --state_dir {tmp_path}/state` once it does"
        with pytest.raises(EnvironmentMissing, match=said), store.sender.finishing(1):
            pass
        assert run.said.curves["train_loss"] == [1.0] * 3
    with store.sender.finishing(30):
        run.epochs(4, [EPOCH])
        run.end("FINISHED")
    assert capsys.readouterr().err.count("training goes on") == 1
    assert steps(store, run) == [1, 2, 3, 4]
    assert reread(store, run)._run.data.metrics["test_error"] == 0.5
    eventually(lambda: not folder.parent.exists())


def test_what_a_killed_program_said_is_sent_by_the_next_start(store: Store, tmp_path: Path) -> None:
    """Without a thread that sends, as if the program had been killed before it could."""
    parent = begin(store, {})
    child = store.create("cutout m=4", parent=parent)
    for run in (parent, child):
        journal = Journal(
            tmp_path / run.id / "journal", Header(run.id, parent.id if run is child else "", "cutout", "cutout", "")
        )
        journal.append("tags", {"dlperf.trial_key": "key", "dlperf.ended": "finished"})
        journal.append("metrics", [["test_error", 0.5, 1, 0]])
        journal.append("ended", {"status": "FINISHED", "time": 5})
        journal.close()
    assert store.children(parent) == {}
    caught_up = store.caught_up(parent, str(tmp_path))
    assert caught_up.finished
    assert caught_up.logged_metrics == {"test_error"}
    assert store.children(parent)["key"].finished
    assert not any(tmp_path.glob("*/journal"))


def test_a_run_is_made_once_the_server_answers_and_a_refusal_is_not_repeated(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    create_run = store.client.create_run

    def answer_late(*given: Any, **further: Any) -> Any:
        asked.append("asked")
        if len(asked) < 3:
            raise mlflow.MlflowException("connection refused")
        return create_run(*given, **further)

    monkeypatch.setattr(store.client, "create_run", answer_late)
    monkeypatch.setattr("dlperf.tracking.store._PAUSE", 0.01)
    noted: list[Run] = []
    store.patience = 30
    assert [store.create("late", made=noted.append)] == noted
    asked.clear()
    store.patience = 0
    with pytest.raises(mlflow.MlflowException):
        store.create("never")
    store.patience = 30
    asked.clear()

    def refuse(*_: Any, **__: Any) -> Any:
        asked.append("asked")
        raise mlflow.MlflowException("no such experiment", error_code=INVALID_PARAMETER_VALUE)

    monkeypatch.setattr(store.client, "create_run", refuse)
    with pytest.raises(mlflow.MlflowException):
        store.create("refused")
    assert asked == ["asked"]


def test_a_clock_that_is_set_back_sets_back_no_point(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last value of a metric is the one of the latest time, of a step."""
    run = begin(store, {})
    run.final_metrics({"trials_finished": 1})
    later = time.time()
    monkeypatch.setattr(time, "time", lambda: later - 3600)
    run.final_metrics({"trials_finished": 2}, again=True)
    run.epochs(1, [EPOCH])
    assert reread(store, run)._run.data.metrics["trials_finished"] == 2
    assert store.client.get_metric_history(run.id, "train_loss")[0].timestamp >= 1000 * (later - 60)


def test_a_trial_reads_alike_from_memory_and_from_the_store(store: Store, tmp_path: Path) -> None:
    """Also one that an earlier start has begun, and one whose metrics are no finite numbers."""
    first = begin(store, {})
    with first:
        first.facts({"num_params": "7"}, {"dlperf.hardware": "abacus"}, {})
        first.epochs(1, [{**EPOCH, "learning_rate": 0.1 + 0.2}] * 2)
    run = reread(store, first)
    run.keep_journal(tmp_path / run.id / "journal", "cutout", store.sender)
    with store.sender.finishing(30), run:
        run.epochs(1, [{"train_loss": 1 / number, "epoch_seconds": 2.0} for number in range(1, 12)])
        run.final_metrics({"test_error": 1 / 3})
        run.set_tags({"dlperf.target_reached": "true"})
    said, (stored,) = said_trial(PROBLEM, run), store.read_trials(PROBLEM, [run.id])
    assert {name: list(values) for name, values in said.history.items()} == {
        name: list(stored.history[name]) for name in stored.history
    }
    assert (said.parameters, said.logged_params, said.started) == (
        stored.parameters,
        stored.logged_params,
        stored.started,
    )
    assert said.metrics == stored.metrics
    assert said.tags == stored.tags


def test_final_metrics_are_logged_once(store: Store) -> None:
    run = begin(store, {})
    run.final_metrics({"test_error": 0.5})
    reread(store, run).final_metrics({"test_error": 0.7, "wall_seconds": 3.0})
    assert [m.value for m in store.client.get_metric_history(run.id, "test_error")] == [0.5]
    assert steps(store, run, "wall_seconds") == [0]


@pytest.mark.parametrize(
    ("error", "status", "ended"),
    [
        (None, "FINISHED", "finished"),
        (ValueError("two\nlines"), "FAILED", "failed"),
        (KeyboardInterrupt(), "KILLED", "killed"),
        (Ended(signal.SIGTERM, "ended by SIGTERM"), "KILLED", "killed"),
    ],
)
def test_a_run_ends_as_its_block_does(store: Store, error: BaseException | None, status: str, ended: str) -> None:
    run = begin(store, {})
    passed_on = pytest.raises(type(error)) if error else contextlib.nullcontext()
    with passed_on, run:
        assert store.client.get_run(run.id).info.status == "RUNNING"
        if error:
            raise error
    logged = store.client.get_run(run.id)
    assert (logged.info.status, logged.data.tags["dlperf.ended"]) == (status, ended)
    assert ("dlperf.failure" in logged.data.tags) == (error is not None)
    if isinstance(error, ValueError):
        assert logged.data.tags["dlperf.failure"] == "two lines"


@pytest.mark.parametrize("most", [455, 7_000])
def test_the_tag_of_a_failure_keeps_its_reason(store: Store, most: int) -> None:
    """Of a sweep of many failures too; a tag holds 8,000 characters."""
    for length, run in ((most, begin(store, {})), (20_000, begin(store, {}))):
        with pytest.raises(ValueError, match="xxx"), run:
            raise ValueError(f"{'x' * length} the reason")
        failure = store.client.get_run(run.id).data.tags["dlperf.failure"]
        assert failure.endswith("x the reason")
        assert len(failure) == min(length + 11, 7_500)
    run = begin(store, {})
    run.end("FAILED", f"{'y' * 9_000} the reason")
    assert store.client.get_run(run.id).data.tags["dlperf.failure"].endswith("y the reason")


def test_a_resumed_run_that_finishes_loses_its_failure(store: Store) -> None:
    run = begin(store, {})
    with pytest.raises(ValueError, match="first"), run:
        raise ValueError("first")
    with reread(store, run):
        pass
    tags = store.client.get_run(run.id).data.tags
    assert tags["dlperf.ended"] == "finished"
    assert "dlperf.failure" not in tags


def test_a_resumed_run_keeps_its_parameters(store: Store) -> None:
    run = reread(store, begin(store, {"m": "8", "epochs": "7"}))
    assert was_started(run)
    # What `mlflow run --run-id` passes: the declared defaults, m=4 among them.
    raw = original_arguments(PROBLEM, run, {"m": "4", "depth": "44", "protocol": "notebook"})
    assert (raw["m"], raw["epochs"]) == ("8", "7")
    assert raw["threads"] == run.params["threads"]  # kept from the machine it began on
    moved = parse(PROBLEM.parameters, original_arguments(PROBLEM, run, {"epochs": "7", "data_dir": "/moved"}))
    assert moved.trials[0].data_dir == "/moved"
    run.begin(PROBLEM, "cutout m=8", "trial", texts(moved.trials[0]), {})  # not refused: it defines nothing
    with pytest.raises(BadInput, match=r"epochs=9: run .* has epochs=7, and a resumed run keeps its parameters"):
        original_arguments(PROBLEM, run, {"epochs": "9"})
    with pytest.raises(BadInput, match=r"learning_rate=0\.5: run .* has learning_rate=0\.001"):
        original_arguments(PROBLEM, run, {"learning_rate": "0.5"})


def test_children_prefer_the_finished_run_of_a_trial(store: Store) -> None:
    parent = store.create("sweep")
    made = [store.create("trial", parent=parent) for _ in range(3)]
    for number, run in enumerate(made):
        store.client.set_tag(run.id, "dlperf.trial_key", "key")
        store.client.set_terminated(run.id, "FINISHED" if number == 1 else "FAILED")
    assert {key: run.id for key, run in store.children(parent).items()} == {"key": made[1].id}


def test_the_data_set_is_an_input(store: Store) -> None:
    run = begin(store, {})
    run.data(DataUsed("digits", "abc", "embedded", {"train": 3, "test": 2}))
    logged = store.client.get_run(run.id)
    (used,) = logged.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest, used.dataset.profile) == (
        "digits",
        "abc",
        '{"train_examples": 3, "test_examples": 2}',
    )
    assert logged.data.tags["dlperf.data_digest"] == "abc"


def test_an_unknown_run_id_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "nosuch")
    with pytest.raises(EnvironmentMissing, match="MLFLOW_RUN_ID=nosuch"):
        store.adopted()


def test_a_file_store_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mlflow.set_tracking_uri(f"file:{tmp_path}/mlruns")
    with pytest.raises(EnvironmentMissing, match="cannot be used") as raised:
        Store()
    assert "\n" not in str(raised.value)
