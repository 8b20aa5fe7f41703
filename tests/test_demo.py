"""The demo runs as a whole, on less data; what it and two more trials log is what docs/tracking.md lists."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dlperf import entry_points
from dlperf.accounting.mlp import networks
from dlperf.entry_points import PROBLEMS
from dlperf.metric_names import EPOCH_METRICS, has_best
from dlperf.parameters import parse
from dlperf.problems.architectures.parameters import SUBJECTS
from dlperf.problems.scaling.parameters import ScalingParameters
from dlperf.problems.scaling.problem import PROBLEM as SCALING
from dlperf.processor import cores
from tests.docs.pages import DOCS, code_spans, first_column
from tests.support import postgres
from tests.support.contract import assert_trial
from tests.support.desk import ROOT, Desk, processes_of
from tests.support.served_desk import served
from tests.support.small_demo import make_demo_small
from tests.support.warm_start import WarmProcess

TRACKING = DOCS / "tracking.md"
WAYS = ("", "_keras", "_measured")
DIGITS = ["--dataset", "digits", "--train_examples", "128", "--epochs", "1", "--protocol", "corrected"]
# Trials that use the metrics that the demo does not.
MORE = {
    "cutout": [*DIGITS, "--depth", "8", "--m", "1", "--target_accuracy", "0.001"],
    "optimizers": [
        *(*DIGITS, "--optimizer", "adam", "--learning_rate", "0.001,0.0003", "--dropout", "false"),
        *("--search_epochs", "1"),
    ],
}
SMALL_NETWORKS = [",".join(map(str, units)) for units in networks(max_units=64, max_layers=2)]
OPTIMIZERS = [
    f"optimizers optimizer=adam dropout={dropout} learning_rate=0.001 random_seed=1" for dropout in ("false", "true")
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """What a team has, a tracking server on PostgreSQL, where that is installed; else a store in a file."""
    folder = tmp_path_factory.mktemp("demo")
    if postgres.why_not():
        yield Desk(folder).with_store()
    else:
        with postgres.running() as database, served(folder, database) as team:
            yield team


def finish(
    desk: Desk, entry_point: str, *arguments: str, first: Callable[[], None] | None = None, **environment: str
) -> str:
    command = [sys.executable, f"entrypoints/{entry_point}.py", *arguments]
    process = WarmProcess(command, ROOT, {**desk.environment, **environment}, first=first)
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def demo(desk: Desk) -> str:
    """The demo's output; a browser that takes note of what it is to open stands beside."""
    browser = desk.folder / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >{shlex.quote(str(desk.folder / "opened"))}\n')
    browser.chmod(0o755)
    shown = {"DISPLAY": ":0", "BROWSER": f"{shlex.quote(str(browser))} %s"}
    return finish(desk, "main", "--random_seed", "1", "--open", "true", first=make_demo_small, **shown)


@pytest.fixture(scope="module")
def comparison(desk: Desk, demo: str) -> str:
    """What a user does next; its output."""
    return finish(desk, "compare", "--output", str(desk.folder / "out"))


@pytest.fixture(scope="module")
def runs(desk: Desk, comparison: str) -> list[Any]:
    """All runs of the demo, of the comparison, and of the trials that log the rest."""
    for name, arguments in MORE.items():
        finish(desk, name, *arguments, MLFLOW_EXPERIMENT_NAME="more")
    return list(desk.client.search_runs(["0", desk.client.get_experiment_by_name("more").experiment_id]))


def test_it_runs_every_problem_below_one_run(desk: Desk, demo: str) -> None:
    runs = {name: run for name, run in desk.runs().items() if name != "compare"}
    workers = parse(ScalingParameters, {**SCALING.demo, "random_seed": "1"}).trials
    architectures = "architectures subject=" + ",".join(SUBJECTS)
    assert runs.keys() == {
        *("main", "cutout m=0,4", "cutout m=0 random_seed=1", "cutout m=4 random_seed=1", architectures),
        *(f"architectures subject={subject}" for subject in SUBJECTS),
        *("optimizers", *OPTIMIZERS),
        *("scaling", *map(SCALING.trial_name, workers)),
        *("approximators", *(f"approximators units={units} random_seed=1" for units in SMALL_NETWORKS)),
    }
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    parents = {name: run.data.tags.get("mlflow.parentRunId") for name, run in runs.items()}
    assert parents["main"] is None
    sweeps = ("optimizers", "scaling", "approximators", "cutout m=0,4", architectures)
    assert {parents[sweep] for sweep in sweeps} == {runs["main"].info.run_id}
    for subject in SUBJECTS:
        counted = runs[f"architectures subject={subject}"]
        assert parents[counted.info.run_name] == runs[architectures].info.run_id
        assert counted.data.tags["dlperf.verdict"] == "agrees"
    for name in OPTIMIZERS:
        assert_trial(desk, runs[name], epochs=5)
    for m in (0, 4):
        trial = runs[f"cutout m={m} random_seed=1"]
        assert parents[trial.info.run_name] == runs["cutout m=0,4"].info.run_id
        assert_trial(desk, trial, epochs=4)
    assert re.search(r"│ 0 │ +1 │ +4 │(.|\n)*│ 4 │ +1 │ +4 │", demo)  # m, random_seed, epochs of the table
    assert re.search(rf"^run {runs['main'].info.run_id}[:;] ", demo, re.MULTILINE)


def test_it_ends_with_its_page_which_is_opened(desk: Desk, demo: str) -> None:
    """What the trials that come with dlperf answer stands beside; MLflow's UI opens its run with the answers."""
    run, page = desk.runs()["main"], demo.splitlines()[-1].removeprefix("report: ")
    assert (desk.folder / "opened").read_text().strip() == (page if "://" in page else Path(page).as_uri())
    assert run.info.run_id in page
    text = Path(desk.client.download_artifacts(run.info.run_id, "report.html", str(desk.folder))).read_text()
    assert re.search(r"<em>Reference:</em> With [^<]{1,200}: Strong scaling", text)  # asked for otherwise than the demo
    for problem in PROBLEMS:
        assert f"**{problem}**: " in run.data.tags["mlflow.note.content"]


@pytest.mark.skipif(cores() < 2, reason="on one core the demo has one worker")
def test_its_scaling_is_measured(desk: Desk, demo: str) -> None:
    runs = desk.runs()
    one, two = (runs[f"scaling mode=weak workers={n} strategy=multi_worker random_seed=1"].data for n in (1, 2))
    names = {"step_seconds", "images_per_second", "train_seconds", "cost", "all_reduce_seconds", "ceiling"}
    assert two.metrics.keys() >= names | {"minor_faults_per_step", "speedup", "weak_efficiency", "peak_memory_mb"}
    assert two.metrics["weak_efficiency"] == pytest.approx(one.metrics["step_seconds"] / two.metrics["step_seconds"])
    assert two.metrics["images_per_second"] == pytest.approx(2 * 64 / two.metrics["step_seconds"])
    assert two.metrics["cost"] == pytest.approx(0.45 * 2 * two.metrics["epochs_seconds"] / 3600)
    accounts = ("setup", "compile", "train", "evaluation", "tracking", "checkpoint", "reporting", "waiting")
    booked = sum(two.metrics[f"{name}_seconds"] for name in accounts if f"{name}_seconds" in two.metrics)
    assert 0.95 * two.metrics["wall_seconds"] <= booked <= two.metrics["wall_seconds"]
    assert set(files(desk.client, runs["scaling"].info.run_id)) >= {
        *("tables/scaling.csv", "tables/step.csv", "plots/throughput.png", "plots/efficiency.png"),
    }
    assert not processes_of(desk)


def test_what_it_runs_in_full_can_be_run() -> None:
    for name in PROBLEMS:
        problem = entry_points.load_problem(name)
        problem.verify(parse(problem.parameters, problem.demo).trials)


def test_its_comparison_takes_no_figure_for_a_real_one(desk: Desk, comparison: str) -> None:
    for problem in PROBLEMS:
        assert re.search(rf"^{problem}: [1-9]\d* finished trials in 1 setting$", comparison, re.MULTILINE), problem
        claims = pd.read_csv(desk.folder / "out" / problem / "tables" / "claims.csv")
        if problem == "cutout":
            experiments = claims.loc[claims["by"] == "experiment", "verdict"]
            assert set(experiments) == {"not comparable", "not measured"}
            assert claims.loc[claims["verdict"] == "not comparable", "reason"].str.startswith("demo data").any()
    assert "not comparable" in comparison
    assert (desk.folder / "out" / "report.html").stat().st_size > 100_000


def problem_of(run: Any) -> str:
    return str(run.data.tags["dlperf.problem"])


def test_metrics(runs: list[Any]) -> None:
    """Of architectures, quantities stand for the metrics NETWORK/QUANTITY."""
    quantities = first_column(TRACKING, "architectures")
    documented = {
        *EPOCH_METRICS,
        *(f"best_{metric}" for metric in EPOCH_METRICS if has_best(metric)),
        *first_column(TRACKING, "Time accounts"),
        *first_column(TRACKING, "Final metrics"),
        *first_column(TRACKING, "scaling"),
        *quantities,
    }
    logged: set[str] = set()
    for run in runs:
        for metric in run.data.metrics:
            network, slash, quantity = metric.partition("/")
            if slash:
                assert problem_of(run) == "architectures"
                assert any(quantity == f"{name}{way}" for name in quantities for way in WAYS), metric
            logged.add(re.sub("(_keras|_measured)$", "", quantity) if slash else network)
    # No layer has adapters or is quantised here.
    assert logged | {"num_params_plain"} == documented


def test_metrics_of_epochs_by_problem(runs: list[Any], desk: Desk) -> None:
    """A metric whose row names problems is logged by them and by no other."""
    named: dict[str, set[str]] = {}
    for run in runs:
        if run.data.tags["dlperf.role"] == "trial":
            named.setdefault(problem_of(run), set()).update(run.data.metrics)
    trains = {"optimizers", "scaling", "cutout", "approximators"}
    assert {name for name, metrics in named.items() if "train_loss" in metrics} == trains
    assert {name for name, metrics in named.items() if "learning_rate" in metrics} == trains - {"scaling"}
    assert {name for name, metrics in named.items() if "train_penalty" in metrics} == {"optimizers", "cutout"}
    assert {name for name, metrics in named.items() if "train_rmse" in metrics} == {"approximators"}
    assert {name for name, metrics in named.items() if "train_subset_loss" in metrics} == {"optimizers"}
    assert {name for name, metrics in named.items() if "round_step_seconds" in metrics} == {"scaling"}


def test_tags(runs: list[Any]) -> None:
    logged = {tag for run in runs for tag in run.data.tags if tag.startswith("dlperf.")}
    logged = {re.sub(r"^dlperf\.compared\..*", "dlperf.compared.PROBLEM", tag) for tag in logged}
    logged |= {"dlperf.memory_kills"}  # where a control group counts them
    # No run has failed here, none was imported, no total is a lower bound, no disk was full, and no model is a user's.
    elsewhere = {
        "dlperf.failure",
        "dlperf.archived_run",
        "dlperf.archived_sweep",
        "dlperf.at_least",
        "dlperf.state",
        "dlperf.model_digest",
    }
    assert first_column(TRACKING, "Tags") - logged == elsewhere
    assert logged <= first_column(TRACKING, "Tags")


def test_parameters_that_follow_from_the_network(runs: list[Any]) -> None:
    documented = {span.text for span in code_spans(TRACKING)}
    for run in runs:
        declared = set(entry_points.load(problem_of(run)).parameters.model_fields)
        assert run.data.params.keys() - declared <= documented
    facts = {parameter for run in runs for parameter in run.data.params} - {
        name for each in entry_points.NAMES for name in entry_points.load(each).parameters.model_fields
    }
    assert facts == {"num_params", "update_rule", "num_layers", "total_units", "gradient_bytes"}


def files(client: Any, run_id: str, folder: str | None = None) -> Iterator[str]:
    for found in client.list_artifacts(run_id, folder):
        if found.is_dir:
            yield from files(client, run_id, found.path)
        else:
            yield found.path


def test_artifacts(runs: list[Any], desk: Desk) -> None:
    patterns = {
        re.escape(path).replace("PROBLEM", "[a-z]+").replace(r"\*", "[^/]+")
        for path in first_column(TRACKING, "Parameters, data and artifacts")
    }
    unused = set(patterns)
    for run in runs:
        for path in files(desk.client, run.info.run_id):
            used = {pattern for pattern in patterns if re.fullmatch(pattern, path)}
            assert used, (problem_of(run), path)
            unused -= used
    assert not unused
