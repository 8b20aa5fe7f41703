"""Problem 2: its parameters, who sees which example, real workers against one process, faults, and tables."""

from __future__ import annotations

import contextlib
import json
import sys
import time

import psutil
import pytest

from dlperf.errors import BadInput
from dlperf.parameters import parse
from dlperf.problems.scaling.parameters import ScalingParameters
from dlperf.processor import cores
from tests.support.desk import Desk, eventually, port, processes_of

QUICK = ["--model", "convnet", "--steps", "3", "--repeats", "2", "--batch_size", "64", "--train_examples", "600"]


def test_the_grid_of_this_machine() -> None:
    trials = parse(ScalingParameters, {"workers": "1,2,4"}).trials
    assert [(t.mode, t.workers, t.strategy, t.global_batch) for t in trials] == [
        ("strong", 1, "none", 256),
        ("strong", 1, "multi_worker", 256),
        ("strong", 2, "multi_worker", 256),
        ("strong", 4, "multi_worker", 256),
        ("weak", 1, "none", 64),
        ("weak", 1, "multi_worker", 64),
        ("weak", 2, "multi_worker", 128),
        ("weak", 4, "multi_worker", 256),
    ]
    here = {t.workers for t in parse(ScalingParameters, {}).trials}
    assert here == {2**n for n in range(cores().bit_length())}
    gpus = parse(ScalingParameters, {"device": "gpu", "workers": "1,8", "mode": "weak"}).trials
    assert [(t.workers, t.strategy) for t in gpus] == [(1, "none"), (1, "mirrored"), (8, "mirrored")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workers": "3"}, "workers=3: must divide batch_size=256 in strong scaling"),
        ({"workers": "2", "strategy": "none"}, "strategy=none: is the plain loop of one worker, not of workers=2"),
        ({"workers": "0"}, "workers=0: must be an integer, at least 1"),
        ({"mode": "linear"}, "mode=linear: must be one of strong, weak"),
        ({"collective": "mpi"}, "collective=mpi: must be one of auto, ring, nccl"),
        ({"steps": "0"}, "steps=0: must be"),
        ({"all_reduce": "nccl", "workers": "2"}, "all_reduce=nccl: needs device=gpu"),
    ],
)
def test_bad_input(given: dict[str, str], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(ScalingParameters, given)
    assert str(caught.value).startswith(message)


@pytest.mark.slow
def test_two_hosts_of_which_the_first_one_logs(desk: Desk) -> None:
    """Two starts on this machine, as on two hosts; a difference between them is refused.

    A cluster manager's TF_CONFIG names them first, with a chief, which is host 0: two workers, not one each.
    """
    cluster = {"chief": [f"127.0.0.1:{port()}"], "worker": [f"127.0.0.1:{port()}"]}
    command = [sys.executable, "entrypoints/scaling.py", *QUICK, "--mode", "strong"]
    chief, worker = (
        desk.popen(command, TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": kind, "index": 0}}))
        for kind in ("chief", "worker")
    )
    outputs = [process.communicate(timeout=300)[0] for process in (chief, worker)]
    assert (chief.returncode, worker.returncode) == (0, 0), outputs
    (run,) = desk.runs().values()
    assert run.info.run_name == "scaling mode=strong workers=2 strategy=multi_worker random_seed=0"
    assert run.data.metrics["images_per_second"] > 0
    assert not processes_of(desk)

    both = [*QUICK, "--mode", "strong", "--hosts", f"127.0.0.1:{port()},127.0.0.1:{port()}"]
    second = desk.popen(
        [sys.executable, "entrypoints/scaling.py", *both, "--host_index", "1", "--learning_rate", "0.1"]
    )
    status, output = finish(desk, *both, MLFLOW_EXPERIMENT_NAME="differing")
    assert status == 1, output
    assert "code or parameters of worker 1 differ from worker 0's" in output
    second.communicate(timeout=240)
    assert second.returncode == 1
    assert not processes_of(desk)


@pytest.mark.slow
def test_two_hosts_are_killed_and_go_on(desk: Desk) -> None:
    """The second host has no state, and of a sweep it skips what the first has finished."""
    hosts = f"127.0.0.1:{port()},127.0.0.1:{port()}"
    both = ["--model", "convnet", "--mode", "strong", "--hosts", hosts, "--random_seed", "0,1"]
    both += ["--steps", "100", "--repeats", "4", "--batch_size", "64", "--train_examples", "600"]
    command = [sys.executable, "entrypoints/scaling.py", *both]
    first, second = (desk.popen([*command, "--host_index", index]) for index in ("0", "1"))

    def in_the_second_trial() -> bool:
        by_seed = {run.data.params.get("random_seed"): run for run in desk.client.search_runs(["0"])}
        return "1" in by_seed and "train_loss" in by_seed["1"].data.metrics

    eventually(in_the_second_trial, 120)
    first.kill()
    first.communicate(timeout=240)
    second.communicate(timeout=240)
    assert second.returncode == 1
    eventually(lambda: not processes_of(desk), 60)
    (parent,) = (run for run in desk.client.search_runs(["0"]) if run.data.tags.get("dlperf.role") == "sweep")
    second = desk.popen([*command, "--host_index", "1"], MLFLOW_RUN_ID=parent.info.run_id)
    status, output = finish(desk, *both, "--host_index", "0", MLFLOW_RUN_ID=parent.info.run_id)
    assert status == 0, output
    assert "finished before, skipped" in output
    second.communicate(timeout=240)
    assert second.returncode == 0
    runs = desk.client.search_runs(["0"], "tags.`dlperf.role` = 'trial'")
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    for run in runs:
        assert [m.step for m in desk.client.get_metric_history(run.info.run_id, "train_loss")] == [1, 2, 3, 4]


def test_hosts_of_tf_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}')
    trials = parse(ScalingParameters, {}).trials
    assert {(t.workers, t.strategy, t.host) for t in trials} == {(2, "multi_worker", 1)}


def finish(desk: Desk, *arguments: str, **environment: str) -> tuple[int, str]:
    process = desk.popen([sys.executable, "entrypoints/scaling.py", *arguments], **environment)
    output, _ = process.communicate(timeout=400)
    return process.returncode, output


@pytest.mark.slow
def test_a_killed_worker_fails_the_trial_and_the_run_goes_on_from_its_state(desk: Desk) -> None:
    arguments = ["--model", "convnet", "--mode", "strong", "--workers", "2", "--strategy", "multi_worker"]
    arguments += ["--steps", "200", "--repeats", "5", "--train_examples", "600", "--batch_size", "64"]
    process = desk.popen([sys.executable, "entrypoints/scaling.py", *arguments])
    deadline = time.monotonic() + 120
    while not list(desk.folder.glob("state/*/state.npz")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    workers = [p for p in psutil.Process(process.pid).children() if "dlperf.problems.scaling.worker" in p.cmdline()]
    workers[0].kill()
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 1, output
    assert "was killed by SIGKILL" in output.strip().splitlines()[-1]
    assert not processes_of(desk)
    (run,) = desk.runs().values()
    assert run.info.status == "FAILED"
    status, output = finish(desk, MLFLOW_RUN_ID=run.info.run_id)
    assert status == 0, output
    curve = [m.step for m in desk.client.get_metric_history(run.info.run_id, "train_loss")]
    assert curve == [1, 2, 3, 4, 5]


def _has_workers(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):  # a child that ends while it is looked at
        return any("dlperf.problems.scaling.worker" in child.cmdline() for child in psutil.Process(pid).children())
    return False


@pytest.mark.slow
def test_a_signal_ends_all_workers(desk: Desk) -> None:
    process = desk.popen([sys.executable, "entrypoints/scaling.py", *QUICK[:2], "--steps", "100000", "--workers", "2"])
    deadline = time.monotonic() + 60
    while not _has_workers(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    time.sleep(3)
    process.terminate()
    process.communicate(timeout=240)
    assert process.returncode == 143
    assert not processes_of(desk)
    assert {run.info.status for run in desk.client.search_runs(["0"])} == {"KILLED"}
