"""Every entry point runs: the demo as a whole, cutout on the real CIFAR-10 through `mlflow run`."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pandas as pd
import pytest

from dlperf.accounting.mlp import networks
from dlperf.entry_points import PROBLEMS
from dlperf.parameters import parse
from dlperf.problems.architectures.parameters import SUBJECTS
from dlperf.problems.scaling.parameters import ScalingParameters
from dlperf.problems.scaling.problem import PROBLEM as SCALING
from tests.support import postgres
from tests.support.contract import assert_trial
from tests.support.desk import MLFLOW_RUN, ROOT, Desk
from tests.support.served_desk import served

SMALL_NETWORKS = [",".join(map(str, units)) for units in networks(max_units=64, max_layers=2)]
OPTIMIZERS = [
    f"optimizers optimizer=adam dropout={dropout} learning_rate=0.001 random_seed=1" for dropout in ("false", "true")
]
SCRIPTS = sorted((ROOT / "entrypoints").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_entry_point_helps_without_being_installed(script: str) -> None:
    """From another folder and without the environment's dlperf: as in what MLflow builds of conda.yaml alone."""
    code = f"import runpy, sys; sys.argv = ['{script}', '--help']; runpy.run_path('{script}', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[--PARAMETER VALUE]..." in done.stdout


@pytest.fixture
def demo_desk(desk: Desk) -> Iterator[Desk]:
    """What a team has, a tracking server on PostgreSQL, where that is installed; else a store in a file."""
    if postgres.why_not():
        yield desk
    else:
        with postgres.running() as database, served(desk.folder, database) as team:
            yield team


@pytest.mark.slow
def test_the_demo_runs_every_problem_below_one_run(demo_desk: Desk) -> None:
    desk = demo_desk
    process = desk.popen([sys.executable, "entrypoints/main.py", "--random_seed", "1"])
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    runs = desk.runs()
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
    assert re.search(r"│ 0 │ +1 │ +4 │(.|\n)*│ 4 │ +1 │ +4 │", output)  # m, random_seed, epochs of the table
    assert re.search(rf"^run {runs['main'].info.run_id}[:;] ", output, re.MULTILINE)
    _compare_the_demo(desk)


def _compare_the_demo(desk: Desk) -> None:
    """What a user does next: tables of all five problems, and no figure of the demo taken for a real one."""
    compare = desk.popen([sys.executable, "entrypoints/compare.py", "--output", str(desk.folder / "out")])
    output, _ = compare.communicate(timeout=120)
    assert compare.returncode == 0, output
    for problem in PROBLEMS:
        assert re.search(rf"^{problem}: [1-9]\d* finished trials in 1 setting$", output, re.MULTILINE), problem
        claims = pd.read_csv(desk.folder / "out" / problem / "tables" / "claims.csv")
        if problem == "cutout":
            experiments = claims.loc[claims["by"] == "experiment", "verdict"]
            assert set(experiments) == {"not comparable", "not measured"}
            assert claims.loc[claims["verdict"] == "not comparable", "reason"].str.startswith("demo data").any()
    assert "not comparable: demo data" in output
    assert (desk.folder / "out" / "report.html").stat().st_size > 100_000


@pytest.mark.slow
@pytest.mark.cifar10
def test_cutout_on_the_real_cifar10_under_mlflow_run(desk: Desk) -> None:
    parameters = ["-P", "m=4", "-P", "depth=8", "-P", "epochs=2", "-P", "train_examples=2000"]
    process = desk.popen([*MLFLOW_RUN, "-e", "cutout", *parameters])
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    (run,) = desk.runs().values()
    assert_trial(desk, run, epochs=2)
    assert run.data.params["dataset"] == "cifar10"
    losses = [m.value for m in desk.client.get_metric_history(run.info.run_id, "train_loss")]
    assert losses[1] < losses[0]
    assert run.data.metrics["test_accuracy"] > 0.2
