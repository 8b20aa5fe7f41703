"""Which killed run a new start would do again."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Param

from dlperf.entry_points import load_problem
from dlperf.parameters import declared_defaults, parse, sweep_texts
from dlperf.runner.listing import killed_twin, unfinished
from dlperf.tracking.owner import this_process
from dlperf.tracking.store import Store
from tests.support.empty_store import make_store

CUTOUT = load_problem("cutout")
LOGGED = sweep_texts(parse(CUTOUT.parameters, {}).trials)
THREADS = LOGGED["threads"]


@pytest.mark.parametrize(
    ("given", "tags", "raw", "is_twin"),
    [
        ({"m": "0,4"}, {}, {"m": "0,4"}, True),
        ({"m": "0,4", "processes": "2"}, {}, {"m": "0,4", "data_dir": "/data"}, True),  # which define no trial
        ({**declared_defaults(CUTOUT.parameters), "m": "0,4"}, {}, {"m": "0,4"}, True),  # as `mlflow run` gives them
        ({"m": "0,4", "learning_rate": "0.01"}, {}, {"m": "0,4", "learning_rate": "1e-2"}, True),
        ({"m": "0,4", "threads": "1"}, {}, {"m": "0,4", "threads": "1"}, True),
        ({"m": "0,4", "threads": THREADS}, {}, {"m": "0,4"}, True),  # as a resumed run has it
        ({"m": "0,4", "threads": "1024"}, {}, {"m": "0,4"}, False),
        ({"m": "0,4"}, {}, {"m": "4,0"}, False),
        ({"m": "0,4"}, {}, {"m": "0,4", "random_seed": "1"}, False),
        ({"m": "0,4", "of_another_version": "1"}, {}, {"m": "0,4"}, False),
        ({"m": "0,4"}, {"dlperf.problem": "scaling"}, {"m": "0,4"}, False),
        ({"m": "0,4"}, {"dlperf.process": "another-host 1 1"}, {"m": "0,4"}, False),
        ({"m": "0,4"}, {"mlflow.parentRunId": "1" * 32}, {"m": "0,4"}, False),  # goes on with the run above it
    ],
)
def test_a_killed_twin_was_asked_for_the_same(
    tmp_path: Path, given: dict[str, str], tags: dict[str, str], raw: dict[str, str], is_twin: bool
) -> None:
    uri = make_store(tmp_path / "mlflow.db")
    client = mlflow.MlflowClient(uri)
    own = {"dlperf.problem": "cutout", "dlperf.ended": "killed", "dlperf.process": this_process()}
    run = client.create_run("0", tags={**own, "dlperf.given": json.dumps(given), **tags})
    params = [Param(name, value) for name, value in {**LOGGED, **given}.items()]
    client.log_batch(run.info.run_id, params=params)
    assert killed_twin(Store(uri), CUTOUT, raw) == (run.info.run_id if is_twin else "")


def test_the_newest_twin_is_named(tmp_path: Path) -> None:
    uri = make_store(tmp_path / "mlflow.db")
    client = mlflow.MlflowClient(uri)
    own = {"dlperf.problem": "cutout", "dlperf.ended": "killed", "dlperf.process": this_process()}
    client.create_run("0", start_time=1, tags=own)  # killed before it had said what it is
    older, newer = (
        client.create_run("0", start_time=time, tags={**own, "dlperf.given": "{}"}).info.run_id for time in (2, 3)
    )
    for run_id in (older, newer):
        client.log_batch(run_id, params=[Param(name, value) for name, value in LOGGED.items()])
    assert killed_twin(Store(uri), CUTOUT, {}) == newer
    client.delete_run(newer)
    assert killed_twin(Store(uri), CUTOUT, {}) == older


def test_what_mlflow_run_saw_killed_is_killed(tmp_path: Path) -> None:
    """It says FAILED of a program that a signal ended, which itself could say nothing."""
    uri = make_store(tmp_path / "mlflow.db")
    client = mlflow.MlflowClient(uri)
    own = {"dlperf.problem": "cutout", "dlperf.process": this_process(), "dlperf.given": "{}"}
    run_id = client.create_run("0", tags=own).info.run_id
    client.log_batch(run_id, params=[Param(name, value) for name, value in LOGGED.items()])
    client.set_terminated(run_id, "FAILED")
    store = Store(uri)
    (listed,) = unfinished(store, tmp_path, {})
    assert (listed.state, listed.can_go_on) == ("killed", True)
    assert killed_twin(store, CUTOUT, {}) == run_id
    client.set_tag(run_id, "dlperf.ended", "failed")
    (listed,) = unfinished(store, tmp_path, {})
    assert (listed.state, killed_twin(store, CUTOUT, {})) == ("failed", "")


def test_a_twin_that_was_done_again_is_none(tmp_path: Path) -> None:
    uri = make_store(tmp_path / "mlflow.db")
    client = mlflow.MlflowClient(uri)
    own = {"dlperf.problem": "cutout", "dlperf.process": this_process(), "dlperf.given": "{}"}
    killed, again = (client.create_run("0", start_time=time, tags=own).info.run_id for time in (1, 2))
    for run_id in (killed, again):
        client.log_batch(run_id, params=[Param(name, value) for name, value in LOGGED.items()])
    client.set_tag(killed, "dlperf.ended", "killed")
    client.set_terminated(killed, "KILLED")
    client.set_terminated(again, "FINISHED")
    assert killed_twin(Store(uri), CUTOUT, {}) == ""
    client.delete_run(again)
    assert killed_twin(Store(uri), CUTOUT, {}) == killed
