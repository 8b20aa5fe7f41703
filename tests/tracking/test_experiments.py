"""The experiment that the environment names: deleted, not there, misspelt; and what its artifacts need."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from matplotlib.figure import Figure
from mlflow.store.tracking.dbmodels.models import SqlExperimentTag
from sqlalchemy.orm import Session

from dlperf import entry_points, errors
from dlperf.entry_points import PROBLEMS
from dlperf.errors import BadInput, EnvironmentMissing
from dlperf.metric_names import best
from dlperf.tracking import run
from dlperf.tracking.store import Store
from tests.support.made_trials import log, made


@pytest.fixture
def client(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(empty_database, tmp_path)
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    return mlflow.MlflowClient()


def refusal(error: type[errors.DlperfError] = EnvironmentMissing) -> str:
    """The line that a start ends with before it has made a run."""
    with pytest.raises(error) as raised:
        (store := Store()).adopted() or store.create("a run")
    assert "server" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_view_of_a_problems_trials_has_them_best_first_and_stays_as_users_change_it(client: Any, name: str) -> None:
    problem, store = entry_points.load_problem(name), Store(entry_point=name)
    trials = [made(name, number) for number in range(3)]
    for trial in trials:
        log(client, trial, store.experiment_id)
    sweep = replace(trials[0], name="a sweep", tags={**trials[0].tags, "dlperf.role": "sweep"})
    log(client, sweep, store.experiment_id)
    store.offer_view(problem)
    view = client.get_experiment(store.experiment_id).tags[tag := f"mlflow.sharedViewState.dlperf-{name}"]
    state = json.loads(json.loads(view)["state"])
    order = f"{state['orderByKey']} {'ASC' if state['orderByAsc'] else 'DESC'}"
    shown = client.search_runs([store.experiment_id], state["searchFilter"], order_by=[order])
    assert {run.info.run_name for run in shown} == {trial.name for trial in trials}
    values = [run.data.metrics[problem.compared[0]] for run in shown]
    assert values[0] == best(problem.compared[0], values)
    logged = {f"params.`{each}`" for run in shown for each in run.data.params}
    logged |= {f"metrics.`{each}`" for run in shown for each in run.data.metrics}
    assert set(state["selectedColumns"]) - logged <= {"metrics.`seconds_to_target`", "metrics.`speedup`"}
    client.set_experiment_tag(store.experiment_id, tag, "changed")
    Store(entry_point=name).offer_view(problem)
    assert client.get_experiment(store.experiment_id).tags[tag] == "changed"


def test_starts_that_make_an_experiments_first_run_at_once_all_run(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database refuses a tag that another start sets between the look for it and the writing."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "new")
    at_once = 4
    ready = threading.Barrier(at_once)
    merge = Session.merge

    def merge_together(session: Session, instance: Any, **options: Any) -> Any:
        found = merge(session, instance, **options)
        if isinstance(instance, SqlExperimentTag):
            ready.wait(timeout=60)
        return found

    number = client.create_experiment("new")
    stores = [Store() for _ in range(at_once)]
    assert {store.experiment_id for store in stores} == {number}  # from now on each knows it, without tags
    monkeypatch.setattr(Session, "merge", merge_together)
    with ThreadPoolExecutor(at_once) as pool:
        made_runs = list(pool.map(lambda store: store.create("a run"), stores))
    assert len({run.id for run in made_runs}) == at_once
    tags = client.get_experiment_by_name("new").tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_deleted_experiment_is_named(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    number = client.create_experiment("last year")
    run = client.create_run(number)
    client.delete_experiment(number)
    advice = (
        "the experiment last year was deleted: bring it back with `mlflow experiments restore "
        f"--experiment-id {number}`, or name another one in MLFLOW_EXPERIMENT_NAME"
    )
    for name, value in (
        ("MLFLOW_EXPERIMENT_NAME", "last year"),
        ("MLFLOW_EXPERIMENT_ID", number),
        ("MLFLOW_RUN_ID", run.info.run_id),
    ):
        with monkeypatch.context() as given:
            given.setenv(name, value)
            assert refusal() == f"{name}={value}: {advice}"


def test_the_deleted_default_is_named_and_others_do_not_need_it(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = client.create_run(client.create_experiment("another"))
    client.delete_experiment("0")
    line = refusal()
    assert "the experiment Default was deleted: bring it back with" in line
    assert "--experiment-id 0" in line
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    store = Store()
    adopted = store.adopted()
    assert adopted is not None
    assert (adopted.id, store.experiment_id) == (run.info.run_id, run.info.experiment_id)
    monkeypatch.delenv("MLFLOW_RUN_ID")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    assert Store().create("a run").experiment_id == run.info.experiment_id


def test_a_deleted_run_is_told_from_a_deleted_experiment(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = client.create_run("0")
    client.delete_run(run.info.run_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    assert refusal().endswith(
        f"this run was deleted: bring it back with `mlflow runs restore --run-id {run.info.run_id}`"
    )


@pytest.mark.parametrize("number", ["77", "abc"])
def test_an_experiment_that_is_not_there(client: Any, monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", number)
    line = refusal()
    assert line.startswith(f"MLFLOW_EXPERIMENT_ID={number}: sqlite:///")
    assert "has no such experiment: `mlflow experiments search` lists those that are there" in line


@pytest.mark.parametrize("name", [" mine", "mine ", "  "])
def test_blanks_around_a_name_are_a_mistake(client: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Unless there is such an experiment; nothing is made."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", name)
    assert refusal(BadInput).startswith(f"MLFLOW_EXPERIMENT_NAME='{name}': begins or ends with a blank")
    assert [each.name for each in client.search_experiments()] == ["Default"]
    number = client.create_experiment(name)
    assert Store().create("a run").experiment_id == number


def test_a_name_that_mlflow_refuses(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "x" * 600)
    assert "MLflow cannot use it: " in refusal(BadInput)


def test_artifacts_that_cannot_be_kept_are_told_before_there_is_a_run(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can write into /proc."""
    for location in ("/proc/mlruns/1", "file:///proc/mlruns/1"):
        number = client.create_experiment(location, artifact_location=location)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", number)
        line = refusal()
        assert line.startswith("the folder /proc cannot be written to (")
        assert f"the artifacts of the experiment {location} go to /proc/mlruns/1: make it writable" in line
        assert not client.search_runs([number])
        with monkeypatch.context() as given:
            given.setenv("MLFLOW_RUN_ID", client.create_run(number).info.run_id)
            assert "the artifacts of run " in refusal()


def test_artifacts_that_cannot_be_written_any_more_are_one_line(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run: run.Run = Store().create("a run")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("log_text", "log_artifacts", "log_dict", "log_figure"):
        monkeypatch.setattr(run._client, name, full)
    for log_it in (
        lambda: run.table("t", pd.DataFrame({"a": [1]})),
        lambda: run.files(Path.cwd()),
        lambda: run.facts({}, {}, {}),
        lambda: run.figure("f", Figure()),
    ):
        with pytest.raises(EnvironmentMissing, match=f"No space left on device.*go on with MLFLOW_RUN_ID={run.id}"):
            log_it()


def test_compare_says_that_deleted_experiments_are_not_searched(
    client: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlperf.cli import entry_point

    client.delete_experiment(client.create_experiment("last year"))
    assert entry_point("compare", ["--tracking_uri", mlflow.get_tracking_uri()]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.endswith("; experiments that were deleted are not searched: last year")
    client.delete_experiment("0")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    assert entry_point("compare", ["--tracking_uri", mlflow.get_tracking_uri()]) == 3
    assert "the experiment Default was deleted: bring it back" in capsys.readouterr().err


def test_a_start_that_names_none_has_the_experiment_of_its_entry_point(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made once, whoever comes first; the user's name wins, and a run that is there stays where it is."""
    for entry_point, name in (("cutout", "dlperf/cutout"), ("main", "dlperf/demo"), ("compare", "dlperf/compare")):
        runs = [Store(entry_point=entry_point).create("a run") for _ in range(2)]
        assert {client.get_experiment(run.experiment_id).name for run in runs} == {name}
    child = Store(entry_point="main").create("below", parent=runs[0])
    assert client.get_experiment(child.experiment_id).name == "dlperf/demo"
    monkeypatch.setattr(mlflow.MlflowClient, "get_experiment_by_name", _none_at_first(client))
    assert client.get_experiment(Store(entry_point="cutout").experiment_id).name == "dlperf/cutout"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert client.get_experiment(Store(entry_point="cutout").experiment_id).name == "mine"
    monkeypatch.setenv("MLFLOW_RUN_ID", runs[0].id)
    store = Store(entry_point="cutout")
    store.adopted()
    assert client.get_experiment(store.experiment_id).name == "dlperf/compare"


def _none_at_first(client: Any) -> Any:
    """Another start makes the experiment between the question whether it is there and our making it."""
    by_name, asked = type(client).get_experiment_by_name, []

    def answer(self: Any, name: str) -> Any:
        asked.append(name)
        return by_name(self, name) if len(asked) > 1 else None

    return answer
