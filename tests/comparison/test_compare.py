"""The entry point `compare` on stores of made trials: what is compared, what is left out, files, errors, servers."""

from __future__ import annotations

import socket
import sys
import time
import webbrowser
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import mlflow
import pandas as pd
import pytest

from dlperf import entry_points
from dlperf.claims import ledger
from dlperf.cli import entry_point
from dlperf.entry_points import PROBLEMS
from dlperf.tracking import query, run_source
from tests.support.desk import ROOT, Desk
from tests.support.made_trials import log, made, new_store
from tests.support.project_run import project_run
from tests.support.served_desk import served

NUMBERS = {"optimizers": 20, "scaling": 10, "architectures": 3, "cutout": 12, "approximators": 8}
Start = Callable[..., tuple[int, str, str]]


ODD = {
    "many": "m=many: must be an integer",
    "endless": "its metric test_error=1.79e+308 is no finite number",
    "nothing given": "it has no parameter m, random_seed",
    "no epochs": "its metric epochs_run is below 1",
    "no times": "its curves have different numbers of epochs: epoch_seconds 0, validation_error 20",
    "short": "its curves have different numbers of epochs: epoch_seconds 20, validation_error 19",
    "no number": "its curve of validation_error has a value that is no finite number",
}


def log_odd_runs(client: Any) -> None:
    """Runs that finished and are no results: as people make them in the UI, or other programs."""
    good = made("cutout", 40, depth=20)  # a setting of their own, where curves are not read
    errors = good.history["validation_error"]
    changes: dict[str, dict[str, Any]] = {
        "many": {"params": {**good.params, "m": "many"}},
        "endless": {"metrics": {**good.metrics, "test_error": 1.79e308}},
        "nothing given": {"params": {}},
        "no epochs": {"metrics": {**good.metrics, "epochs_run": 0.0}},
        "no times": {"history": {k: v for k, v in good.history.items() if k != "epoch_seconds"}},
        "short": {"history": {**good.history, "validation_error": errors[:-1]}},
        "no number": {"history": {**good.history, "validation_error": [float("nan"), *errors[1:]]}},
    }
    changes["no times"]["metrics"] = {k: v for k, v in good.metrics.items() if k != "epoch_seconds"}
    for name, change in changes.items():
        log(client, replace(good, name=name, tags={**good.tags, "dlperf.trial_key": name}, **change))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with trials of all problems, and with runs that are no results."""
    with new_store(tmp_path_factory.mktemp("store")) as (uri, client):
        other = client.create_experiment("another experiment")
    for problem, count in NUMBERS.items():
        for number in range(count):
            log(client, made(problem, number), other if number % 2 else "0")
    for status, number in (("RUNNING", 20), ("FAILED", 21), ("KILLED", 22)):
        log(client, replace(made("cutout", number), status=status))
    log_odd_runs(client)
    by_hand = made("cutout", 30)
    log(client, replace(by_hand, name="by hand", metrics={"test_error": 0.1}, history={}))
    older = made("cutout", 1)
    log(client, replace(older, started=older.started - 1000, metrics={**older.metrics, "test_error": 0.99}))
    elsewhere = made("cutout", 3)
    log(
        client,
        replace(elsewhere, tags={**elsewhere.tags, "dlperf.hardware": "another CPU", "dlperf.trial_key": "elsewhere"}),
    )
    return uri


@pytest.fixture
def start(store: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Start:
    """Starts `compare` in this process on the store; gives exit status, output, errors."""
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.chdir(store.removeprefix("sqlite:///").removesuffix("mlflow.db"))

    def run(*arguments: str, uri: str = store) -> tuple[int, str, str]:
        status = entry_point("compare", [*arguments, "--tracking_uri", uri])
        return (status, *capfd.readouterr())

    return run


def comparisons(uri: str) -> list[Any]:
    client = mlflow.MlflowClient(uri)
    own = client.get_experiment_by_name("dlperf/compare")
    return list(client.search_runs([own.experiment_id], "tags.`dlperf.role` = 'comparison'")) if own else []


@pytest.mark.slow
def test_every_problem(start: Start, store: str, tmp_path: Path) -> None:
    status, output, errors = start("--output", str(tmp_path / "out"))
    assert status == 0, errors
    for problem, count in NUMBERS.items():
        extra = 1 if problem == "cutout" else 0
        assert f"{problem}: {count + extra} finished trials" in output
    assert "left out: 1 RUNNING: cutout m=4 random_seed=3" in output
    assert "left out: 1 FAILED" in output
    assert "left out: 1 KILLED" in output
    assert "left out: 1 older runs of the same trials" in output
    assert "it has no metric epochs_run, train_seconds" in output  # made by hand
    for odd, reason in ODD.items():
        assert f"skipped {odd}" in output
        assert reason in output
    assert "skipped architectures" not in output
    run = comparisons(store)[0]
    tags, metrics = run.data.tags, run.data.metrics
    assert (run.info.status, tags["dlperf.problem"]) == ("FINISHED", "compare")
    used = [name for key in tags if key.startswith("dlperf.compared.cutout") for name in tags[key].split(",")]
    assert len(used) == len(set(used)) == 13
    assert metrics["trials_compared"] == sum(NUMBERS.values()) + 1
    verdicts = ("supported", "contradicted", "not_shown", "not_comparable", "not_measured")
    assert sum(metrics[f"claims_{verdict}"] for verdict in verdicts) >= 60
    client = mlflow.MlflowClient(store)
    stored = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert stored >= {"report.html", "report.md", "environment.json", *PROBLEMS}
    for path in (
        "claims.csv",
        "claims.md",
        "claims.tex",
        "settings.csv",
        "means.csv",
        "early_stopping.csv",
        "cutout.csv",
    ):
        assert (tmp_path / "out" / "cutout" / "tables" / path).stat().st_size
    assert (tmp_path / "out" / "cutout" / "plots" / "validation_error_by_m.png").stat().st_size
    assert (tmp_path / "out" / "cutout" / "setting_2" / "tables" / "means.csv").stat().st_size
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(f'<section id="{problem}"' in page for problem in PROBLEMS)
    assert all(run_id in page for run_id in used)


def means(folder: Path, problem: str = "cutout") -> pd.DataFrame:
    return pd.read_csv(folder / problem / "tables" / "means.csv")


def test_groups_metrics_and_repeats(start: Start, tmp_path: Path) -> None:
    """Two random seeds of each m; an older run of m=2 counts when all repeats are asked for, and is no further seed."""
    asked = ["--problem", "cutout", "--group_by", "m", "--metric", "test_error", "--curves", "false"]
    assert start(*asked, "--output", str(tmp_path / "newest"))[0] == 0
    assert start(*asked, "--repeats", "all", "--output", str(tmp_path / "all"))[0] == 0
    newest, everything = means(tmp_path / "newest").set_index("m"), means(tmp_path / "all").set_index("m")
    assert list(newest.index) == [0, 2, 4, 8, 16, 32]
    assert set(newest["n"]) == {2}
    values = [made("cutout", number).metrics["test_error"] for number in (1, 7)]
    assert newest.loc[2, "mean"] == pytest.approx(sum(values) / 2)
    assert newest.loc[2, "low"] < newest.loc[2, "mean"] < newest.loc[2, "high"]
    assert (everything.loc[2, "n"], everything.loc[2, "max"]) == (2, 0.99)
    assert not (tmp_path / "newest" / "cutout" / "plots").exists()


def test_claims_on_a_problem_without_trials_are_not_measured_and_the_reference_stands_beside(
    start: Start, tmp_path: Path
) -> None:
    status, output, _ = start("--filter", "params.m = '8'", "--curves", "false", "--output", str(tmp_path))
    assert status == 0
    assert "optimizers: 0 finished trials in 0 settings" in output
    claims = pd.read_csv(tmp_path / "optimizers" / "tables" / "claims.csv")
    computed = claims["id"].isin([claim.id for claim in ledger.claims("optimizers") if claim.measure == "computed"])
    assert (len(claims) > 50, set(claims["verdict"][~computed])) == (True, {"not measured"})
    assert set(claims["verdict"][computed]) == {"supported", "contradicted"}
    beside = pd.read_csv(tmp_path / "architectures" / "tables" / "claims.csv").set_index("id")
    alexnet = beside.loc["architectures/alexnet-60-million"]
    assert (alexnet["published"], alexnet["reference"], alexnet["reference_verdict"]) == (6e7, 60965224, "supported")
    assert (alexnet["verdict"], pd.isna(alexnet["here"])) == ("not measured", True)
    assert not (tmp_path / "architectures" / "tables" / "means.csv").exists()  # its trials are not the user's


def test_a_filter_is_passed_on(start: Start, tmp_path: Path) -> None:
    asked = ["--problem", "cutout", "--curves", "false", "--output", str(tmp_path)]
    assert start(*asked, "--filter", "params.m = '8'")[0] == 0
    assert set(means(tmp_path)["m"]) == {8}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--problem", "cutouts"], "problem=cutouts: must be one of optimizers, scaling, architectures, cutout"),
        (["--problem", "cutout", "--metric", "colour"], "metric=colour: no such metric colour (valid: best_epoch"),
        (
            ["--problem", "cutout", "--group_by", "colour"],
            "group_by=colour: no such group_by colour (valid: batch_size",
        ),
        (["--filter", "params.m ~ 3"], "filter=params.m ~ 3: MLflow cannot use it"),
        (["--output", "/proc/none"], "output=/proc/none: must be a folder that can be written to"),
        (["--patience", "0"], "patience=0: must be an integer"),
    ],
)
def test_bad_input(start: Start, store: str, arguments: list[str], message: str) -> None:
    before = len(comparisons(store))
    status, _, errors = start(*arguments)
    assert status == 2
    assert errors.strip().splitlines()[-1].startswith(f"dlperf compare: {message}")
    assert len(comparisons(store)) == before


def test_nothing_found(start: Start, tmp_path: Path) -> None:
    status, _, errors = start("--problem", "cutout", "--filter", "params.m = '3'")
    assert status == 1
    line = errors.strip().splitlines()[-1]
    assert line.startswith("dlperf compare: no finished trial of cutout with params.m = '3' at sqlite:///")
    assert "there are: 8 runs of approximators, 3 runs of architectures" in line
    folder = tmp_path / "My Runs"
    folder.mkdir()
    for empty in (f"sqlite:///{folder}/empty.db", f"sqlite:///{quote(str(folder))}/empty.db"):  # MLflow writes %20
        mlflow.MlflowClient(empty).search_experiments()
        status, _, errors = start(uri=empty)
        assert (status, "there are: no run of dlperf" in errors) == (1, True)


@pytest.mark.slow
def test_an_unreachable_server(start: Start) -> None:
    """One that refuses, and one that accepts and never answers: exit status 3 within half a minute."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        begun = time.monotonic()
        status, _, errors = start(uri=f"http://127.0.0.1:{port}")
        assert time.monotonic() - begun < 30
    assert (status, f"dlperf compare: the tracking server http://127.0.0.1:{port} cannot be used" in errors) == (
        3,
        True,
    )
    status, _, errors = start(uri=f"http://127.0.0.1:{port}")
    assert status == 3
    status, _, errors = start(uri="sqlite:////no/such/folder/mlflow.db")
    assert (status, "there is no such file" in errors, Path("/no").exists()) == (3, True, False)


def test_a_run_that_is_something_else_is_left_as_it_is(
    start: Start, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial, and a comparison of before, stay FINISHED and what they were."""
    client = mlflow.MlflowClient(store)
    assert start("--problem", "architectures")[0] == 0
    (trial,) = client.search_runs(["0"], "tags.`dlperf.problem` = 'scaling'", max_results=1)
    for run in (trial, comparisons(store)[0]):
        monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
        for arguments in ((), ("--problem", "cutouts"), ("--metric", "colour")):
            status, _, errors = start(*arguments)
            assert status == 2, errors
        after = client.get_run(run.info.run_id)
        assert (after.info.status, after.data.tags) == ("FINISHED", run.data.tags)


def test_the_last_line_says_where_the_page_is_which_is_opened(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda uri: opened.append(uri) or True)
    monkeypatch.setenv("DISPLAY", ":0")
    for arguments in ((), ("--open", "true")):
        status, output, errors = start("--problem", "architectures", "--curves", "false", *arguments)
        assert status == 0, errors
        page = Path(output.splitlines()[-1].removeprefix("report: "))
        assert "What was found" in page.read_text()
    assert opened == [page.as_uri()]


def test_curves_are_read_in_bulk(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request for all runs; where an answer may have been cut off, the runs are asked for in halves."""
    client = mlflow.MlflowClient(store)
    problem = entry_points.load_problem("cutout")
    asked: list[int] = []
    bulk = run_source._bulk

    def counted(client: Any, runs: Any, name: str) -> Any:
        asked.append(len(runs))
        return bulk(client, runs, name)[: run_source._POINTS_AT_ONCE]

    monkeypatch.setattr(run_source, "_bulk", counted)
    trials = query.find_trials(run_source.StoreRuns(client), problem).trials
    assert all("train_loss" in trial.history and "colour" not in trial.history for trial in trials)
    assert asked == []
    whole = {trial.run_id: trial.history["train_loss"] for trial in trials}
    assert asked == [len(trials)]
    for trial in trials:
        own = client.get_metric_history(trial.run_id, "train_loss")
        assert whole[trial.run_id] == [m.value for m in sorted(own, key=lambda m: m.step)]
    asked.clear()
    monkeypatch.setattr(run_source, "_POINTS_AT_ONCE", 50)
    halved = query.find_trials(run_source.StoreRuns(client), problem).trials
    assert {trial.run_id: trial.history["train_loss"] for trial in halved} == whole
    assert len(asked) > 5
    with pytest.raises(KeyError):
        halved[0].history["colour"]


@pytest.mark.slow
def test_a_tracking_server_gives_the_same(start: Start, store: str, tmp_path: Path) -> None:
    """Over HTTP too, curves in bulk; run links lead to its pages."""
    assert start("--problem", "cutout", "--output", str(tmp_path / "file"))[0] == 0
    with served(tmp_path, store) as team:
        uri = team.address
        status, _, errors = start("--problem", "cutout", "--output", str(tmp_path / "http"), uri=uri)
        assert status == 0, errors
    for name in ("means", "cutout", "early_stopping", "claims", "epochs"):
        one, other = (pd.read_csv(tmp_path / kind / "cutout" / "tables" / f"{name}.csv") for kind in ("file", "http"))
        pd.testing.assert_frame_equal(one, other)
    assert f'href="{uri}/#/runs/' in (tmp_path / "http" / "report.html").read_text()


@pytest.mark.slow
def test_mlflow_run(store: str, desk: Desk) -> None:
    """The run that `mlflow run` made becomes the comparison; one that cannot be made ends FAILED."""
    for more, status in (({}, "FINISHED"), ({"metric": "colour"}, "FAILED")):
        ended, output = project_run(desk, "compare", {"problem": "scaling"} | more, MLFLOW_TRACKING_URI=store)
        assert (ended == 0) == (status == "FINISHED"), output
        newest = mlflow.MlflowClient(store).search_runs(["0"], max_results=1)[0]
        assert (newest.info.status, newest.data.params["problem"]) == (status, "scaling")
    assert "no such metric colour" in newest.data.tags["dlperf.failure"]


@pytest.mark.slow
def test_a_start_from_the_shell(store: str, desk: Desk) -> None:
    process = desk.popen(
        [
            sys.executable,
            str(ROOT / "entrypoints" / "compare.py"),
            "--problem",
            "architectures",
            "--tracking_uri",
            store,
        ]
    )
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "architectures: 3 finished trials in 1 setting\n" in output
