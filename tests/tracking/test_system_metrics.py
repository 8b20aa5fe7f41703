"""MLflow's monitor of the host beside our runs: which runs it logs into, how it ends, and that it disturbs nothing."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
from typing import Any

import pytest

from dlperf import entry_points
from dlperf.errors import BadInput
from dlperf.metric_names import SYSTEM_METRICS
from dlperf.tracking import query
from dlperf.tracking.run import Run
from dlperf.tracking.store import Store
from dlperf.tracking.system_metrics import monitored, wanted
from tests.support.desk import Desk, Started, eventually, wait_for_line

ENABLED = {"MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "true", "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "0.2"}
CPU = "system/cpu_utilization_percentage"


@pytest.fixture
def enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENABLED.items():
        monkeypatch.setenv(name, value)


def monitors() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "SystemMetricsMonitor"]


def steps(store: Store, run: Run) -> list[int]:
    return [metric.step for metric in store.client.get_metric_history(run.id, CPU)]


def test_nothing_happens_unless_it_is_asked_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, "false"):
        if value:
            monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", value)
        else:
            monkeypatch.delenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", raising=False)
        with monitored(store.create("a run"), store.uri):
            assert not monitors()


@pytest.mark.usefixtures("enabled")
@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ValueError("a failure"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_its_thread_ends_with_the_block(store: Store, error: BaseException | None, status: str) -> None:
    """And a resumed run continues their steps."""
    run = store.create("a run")
    for _ in range(2):
        before = len(steps(store, run))
        passed_on = pytest.raises(type(error)) if error else contextlib.nullcontext()
        with passed_on, run, monitored(run, store.uri):
            assert len(monitors()) == 1
            eventually(lambda before=before: len(steps(store, run)) > before + 1)  # type: ignore[misc]
            if error:
                raise error
        assert not monitors()
    logged = steps(store, run)
    assert logged == list(range(len(logged)))
    assert store.client.get_run(run.id).info.status == status


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "perhaps"),
        ("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "often"),
        ("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0"),
        ("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "nan"),
        ("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", "-1"),
    ],
)
def test_settings_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match=f"^{name}={value}"):
        wanted()


def test_they_are_no_results(store: Store) -> None:
    """Not even where one is no number, as of a graphics card that was not asked."""
    problem: Any = entry_points.load("cutout")
    run = store.create("a run")
    run.final_metrics({"test_error": 0.5, CPU: math.nan})
    (trial,) = query.read_trials(store.client, problem, [run.id])
    assert trial.metrics == {"test_error": 0.5}


def system(run: Any) -> set[str]:
    return {name for name in run.data.metrics if name.startswith(SYSTEM_METRICS)}


@pytest.mark.slow
def test_the_curves_are_the_same_to_the_bit(desk: Desk) -> None:
    curves = []
    for number, settings in enumerate(({}, ENABLED)):
        status, output = desk.finish("--m", "0", "--epochs", "3", MLFLOW_EXPERIMENT_NAME=f"e{number}", **settings)
        assert status == 0, output
        experiment = desk.client.get_experiment_by_name(f"e{number}").experiment_id
        (run,) = desk.client.search_runs([experiment])
        assert bool(system(run)) == bool(number)
        if number:
            assert {CPU, "system/system_memory_usage_megabytes"} <= system(run)
        names = ("train_loss", "validation_error", "test_error")
        curves.append([[m.value for m in desk.client.get_metric_history(run.info.run_id, name)] for name in names])
    assert curves[0] == curves[1]


@pytest.mark.slow
def test_of_a_sweep(desk: Desk) -> None:
    """Trials one after the other have figures of their own; side by side not: the sweep in workers of approximators."""
    arguments = ["--units", "16;16,16", "--epochs", "5", "--patience", "0", "--processes", "1"]
    process = desk.popen([sys.executable, "entrypoints/approximators.py", *arguments], **ENABLED)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    runs = desk.client.search_runs(["0"])
    roles = {run.data.tags["dlperf.role"]: bool(system(run)) for run in runs}
    assert roles == {"sweep": True, "trial": True}, output


@pytest.mark.slow
def test_a_signal_ends_it_and_a_resumed_run_goes_on(desk: Desk) -> None:
    arguments = ("--m", "0", "--epochs", "4000", "--patience", "0")
    first = figures_of(desk, desk.start(*arguments, **ENABLED))
    (run,) = desk.client.search_runs(["0"])
    assert run.info.status == "KILLED"
    assert first == list(range(len(first)))
    both = figures_of(desk, desk.start(*arguments, MLFLOW_RUN_ID=run.info.run_id, **ENABLED), len(first))
    assert both == list(range(len(both)))


def figures_of(desk: Desk, process: Started, before: int = 0) -> list[int]:
    """Let a trial run until it has three figures more than there were, and end it; the steps of all.

    MLflow sends no figures before it has spent ten times as long without sending as sending takes: on a busy machine
    that can be half a minute.
    """

    def steps() -> list[int]:
        (run,) = desk.client.search_runs(["0"])
        return [metric.step for metric in desk.client.get_metric_history(run.info.run_id, CPU)]

    wait_for_line(process, "  epoch ")
    eventually(lambda: len(steps()) >= before + 3, seconds=240)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    return steps()
