"""Runs and states of version 0.1.0, which lack the newer parameters: read, compared, resumed to their bits.

The earlier version is the one that git has; it runs from a folder of its own.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from dlperf.problems.optimizers.parameters import OptimizersParameters
from dlperf.problems.optimizers.problem import PROBLEM as OPTIMIZERS
from dlperf.tracking.query import find_trials
from dlperf.tracking.run_source import StoreRuns
from tests.support.desk import ROOT, SMALL, Desk, Started, wait_for_line

pytestmark = pytest.mark.slow
ONE = [
    *("--optimizer", "rmsprop", "--dropout", "true", "--dataset", "digits", "--train_examples", "640"),
    *("--threads", "1", "--epochs", "6"),
]
CUTOUT = [*SMALL, "--m", "1", "--threads", "1", "--epochs", "3"]
NETWORKS = ["--units", "16,16;32,16", "--epochs", "40", "--patience", "0", "--processes", "1"]
NOW = {"update_rules": "notebook", "dropout_after": "each", "xla": "updates"}
THEN = {"update_rules": "keras3", "dropout_after": "each", "xla": "all", "onednn": "auto"}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last commit of version 0.1.0, in a folder."""
    found = ["git", "log", "-1", "--format=%H", '-S"0.1.0"', "--", "dlperf/__init__.py"]
    raised = subprocess.run(found, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    packed = subprocess.run(
        ["git", "archive", f"{raised}^", "dlperf", "entrypoints"], cwd=ROOT, capture_output=True
    ).stdout
    if not packed:
        pytest.skip("needs the commit before version 0.2.0: a clone with its history")
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    assert '__version__ = "0.1.0"' in (folder / "dlperf" / "__init__.py").read_text()
    return folder


def curves(desk: Desk, run: Any) -> Mapping[str, list[float]]:
    """The metrics of a run, without those of its machine."""
    of_machine = ("peak_memory_mb", "others_share")
    names = [name for name in run.data.metrics if "second" not in name and name not in of_machine]
    histories = {name: desk.client.get_metric_history(run.info.run_id, name) for name in names}
    return {name: [metric.value for metric in sorted(h, key=lambda m: m.step)] for name, h in histories.items()}


def start(desk: Desk, version: Path, problem: str, *arguments: str, **environment: str) -> Started:
    return desk.popen([sys.executable, f"entrypoints/{problem}.py", *arguments], version, **environment)


def run_to_end(desk: Desk, version: Path, problem: str, *arguments: str, **environment: str) -> str:
    process = start(desk, version, problem, *arguments, **environment)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def kill_at(desk: Desk, version: Path, line: str, problem: str, *arguments: str, **environment: str) -> None:
    process = start(desk, version, problem, *arguments, **environment)
    wait_for_line(process, line)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143


def desk_of(folder: Path) -> Desk:
    folder.mkdir()
    return Desk(folder).with_store()


@pytest.fixture(scope="module")
def whole(earlier: Path, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A desk with a finished trial of problem 1."""
    desk = desk_of(tmp_path_factory.mktemp("earlier") / "whole")
    run_to_end(desk, earlier, "optimizers", *ONE)
    return desk


def test_a_killed_trial_goes_on_with_the_mathematics_it_began_with(earlier: Path, whole: Desk, tmp_path: Path) -> None:
    (uninterrupted,) = whole.runs().values()
    desk = desk_of(tmp_path / "killed")
    kill_at(desk, earlier, "epoch 1/", "optimizers", *ONE)
    (killed,) = desk.runs().values()
    assert "update_rules" not in killed.data.params

    refused = start(desk, ROOT, "optimizers", "--update_rules", "notebook", MLFLOW_RUN_ID=killed.info.run_id)
    output, _ = refused.communicate(timeout=60)
    assert refused.returncode == 2
    assert f"run {killed.info.run_id} has update_rules=keras3, and a resumed run keeps its parameters" in output

    run_to_end(desk, ROOT, "optimizers", MLFLOW_RUN_ID=killed.info.run_id)
    resumed = desk.client.get_run(killed.info.run_id)
    assert {name: resumed.data.params[name] for name in THEN} == THEN
    assert resumed.data.tags["dlperf.trial_key"] == uninterrupted.data.tags["dlperf.trial_key"]
    expected = curves(whole, uninterrupted)
    found = curves(desk, resumed)
    assert found == expected
    assert len(found["train_loss"]) == 6

    # Today's default is another trial: another curve, another key, and never in one mean with the first.
    run_to_end(desk, ROOT, "optimizers", *ONE)
    (today,) = [run for run in desk.client.search_runs(["0"]) if run.info.run_id != killed.info.run_id]
    assert {name: today.data.params[name] for name in NOW} == NOW
    assert today.data.tags["dlperf.trial_key"] != resumed.data.tags["dlperf.trial_key"]
    assert curves(desk, today)["train_loss"] != found["train_loss"]
    compared = run_to_end(desk, ROOT, "compare", "--problem", "optimizers", "--output", str(tmp_path / "tables"))
    settings = (tmp_path / "tables" / "optimizers" / "tables" / "settings.csv").read_text()
    assert len(settings.splitlines()) == 3, settings
    assert "2 finished trials in 2 settings" in compared


def test_a_killed_trial_goes_on_with_the_kernels_it_began_with(earlier: Path, tmp_path: Path) -> None:
    """Under its user's own setting of oneDNN, whatever is set now, and with evaluations as they were rounded then."""
    whole, desk = desk_of(tmp_path / "whole"), desk_of(tmp_path / "killed")
    run_to_end(whole, earlier, "cutout", *CUTOUT, TF_ENABLE_ONEDNN_OPTS="0")
    (uninterrupted,) = whole.runs().values()
    kill_at(desk, earlier, "epoch 1/", "cutout", *CUTOUT, TF_ENABLE_ONEDNN_OPTS="0")
    (killed,) = desk.runs().values()
    script = [sys.executable, "entrypoints/cutout.py"]
    resuming = desk.cold(script, MLFLOW_RUN_ID=killed.info.run_id, TF_ENABLE_ONEDNN_OPTS="1")
    output, _ = resuming.communicate(timeout=300)
    assert resuming.returncode == 0, output
    resumed = desk.client.get_run(killed.info.run_id)
    assert {name: resumed.data.params[name] for name in ("onednn", "optimized_evaluation")} == {
        "onednn": "auto",
        "optimized_evaluation": "true",
    }
    assert resumed.data.tags["dlperf.trial_key"] == uninterrupted.data.tags["dlperf.trial_key"]
    assert curves(desk, resumed) == curves(whole, uninterrupted)
    environment = desk.client.download_artifacts(killed.info.run_id, "environment.json", str(tmp_path))
    assert json.loads(Path(environment).read_text())["settings"]["TF_ENABLE_ONEDNN_OPTS"] == "0"


def test_a_stored_trial_is_read_as_what_it_was(whole: Desk) -> None:
    found = find_trials(StoreRuns(whole.client), OPTIMIZERS, filter_string="", repeats=True)
    (trial,) = found.trials
    assert isinstance(trial.parameters, OptimizersParameters)
    assert {name: getattr(trial.parameters, name) for name in THEN} == THEN
    assert OPTIMIZERS.trial_key(trial.parameters) == trial.tags["dlperf.trial_key"]


def test_a_killed_sweep_skips_what_has_finished_and_goes_on_as_it_began(earlier: Path, desk: Desk) -> None:
    kill_at(desk, earlier, "units=32,16 random_seed=0  epoch", "approximators", *NETWORKS)
    (parent,) = [run for run in desk.runs().values() if run.data.tags["dlperf.role"] == "sweep"]
    output = run_to_end(desk, ROOT, "approximators", MLFLOW_RUN_ID=parent.info.run_id)
    assert output.count("finished before, skipped") == 1
    trials = [run for run in desk.runs().values() if run.data.tags["dlperf.role"] == "trial"]
    assert [run.info.status for run in trials] == ["FINISHED", "FINISHED"]
    assert {run.data.params.get("update_rules", "none") for run in trials} == {"none", "keras3"}
