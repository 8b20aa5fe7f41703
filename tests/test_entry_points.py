"""Every entry point can be asked for help from anywhere; cutout runs on the real CIFAR-10 through `mlflow run`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.contract import assert_trial
from tests.support.desk import MLFLOW_RUN, ROOT, Desk

SCRIPTS = sorted((ROOT / "entrypoints").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_entry_point_helps_without_being_installed(script: str) -> None:
    """From another folder and without the environment's dlperf: as in what MLflow builds of conda.yaml alone."""
    code = f"import runpy, sys; sys.argv = ['{script}', '--help']; runpy.run_path('{script}', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[--PARAMETER VALUE]..." in done.stdout


@pytest.mark.slow
@pytest.mark.cifar10
def test_cutout_on_the_real_cifar10_under_mlflow_run(desk: Desk) -> None:
    parameters = ["-P", "m=2", "-P", "depth=8", "-P", "epochs=2", "-P", "train_examples=2000"]
    process = desk.popen([*MLFLOW_RUN, "-e", "cutout", *parameters])
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    (run,) = desk.runs().values()
    assert_trial(desk, run, epochs=2)
    assert run.data.params["dataset"] == "cifar10"
    losses = [m.value for m in desk.client.get_metric_history(run.info.run_id, "train_loss")]
    assert losses[1] < losses[0]
    assert run.data.metrics["test_accuracy"] > 0.2
