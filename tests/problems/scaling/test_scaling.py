"""Problem 2: its parameters, who sees which example, real workers against one process, faults, and tables."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlperf.environment import cores
from dlperf.errors import BadInput, TrialFailed
from dlperf.parameters import parse
from dlperf.problems.scaling.job import Job, rows_of
from dlperf.problems.scaling.parameters import ScalingParameters
from dlperf.problems.scaling.problem import summarize
from dlperf.problems.scaling.worker_config import WorkerConfig
from dlperf.trial import StoredTrial
from tests.support.desk import Desk, eventually, processes_of
from tests.support.rounding import tolerance

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


@settings(max_examples=60)
@given(st.integers(1, 400), st.integers(1, 130), st.integers(1, 8), st.integers(0, 5))
def test_each_example_is_seen_once_per_epoch_across_workers(
    examples: int, batch: int, replicas: int, random_seed: int
) -> None:
    per_epoch = -(-examples // batch)
    for epoch in (0, 1):
        seen: list[int] = []
        for step in range(epoch * per_epoch, (epoch + 1) * per_epoch):
            own = {"examples": examples, "batch_size": batch, "replicas": replicas, "random_seed": random_seed}
            parts = [rows_of(step, **own, first=replica, local=1) for replica in range(replicas)]
            together, size = rows_of(step, **own, first=0, local=replicas)
            assert [list(part[0]) for part, _ in parts] == [list(part) for part in together]
            assert {found for _, found in parts} == {size} == {sum(map(len, together))}
            seen += [int(row) for part in together for row in part]
        assert sorted(seen) == list(range(examples))


def test_the_batches_do_not_depend_on_the_number_of_workers() -> None:
    def batch(replicas: int) -> list[int]:
        parts, _ = rows_of(3, examples=1000, batch_size=64, replicas=replicas, first=0, local=replicas, random_seed=1)
        return [int(row) for part in parts for row in part]

    assert batch(1) == batch(2) == batch(4)


def config(index: int, strategy: str, **other: Any) -> WorkerConfig:
    given = {
        **{"index": index, "cores": (index % cores(),), "threads": 1, "device": "cpu", "devices": ("/cpu:0",)},
        **{"strategy": strategy, "collective": "ring", "all_reduce": "", "model": "convnet", "dataset": "synthetic"},
        **{"data_dir": "", "train_examples": 500, "batch_size": 64, "learning_rate": 0.05, "random_seed": 0},
        **other,
    }
    return WorkerConfig(**given)


def test_a_configuration_survives_the_pipe() -> None:
    one = config(1, "mirrored", devices=("/cpu:0", "/cpu:1"))
    assert WorkerConfig.from_json(one.to_json()) == one
    assert one.shared() == config(0, "mirrored", devices=("/cpu:0", "/cpu:1")).shared()


def losses(strategy: str, workers: int, **other: Any) -> list[float]:
    """Losses of ten steps, the smaller last one of the epoch included."""
    processes = 1 if strategy == "mirrored" else workers
    configs = [config(index, strategy, **other) for index in range(processes)]
    with Job("job", configs, cluster=strategy == "multi_worker") as job:
        job.command("warm_up")
        answers = job.command("train", first=0, steps=10)
    return [sum(own) for own in zip(*(answer["losses"] for answer in answers), strict=True)]


@pytest.mark.slow
def test_two_real_workers_train_as_one_does() -> None:
    """Without batch normalisation but for rounding; and devices of one process, with both ways to reduce on a CPU.

    At a rate of 0.05 training is so restless that one ReLU that rounding has switched shows in the fifth digit.
    """
    plain = losses("none", 1, learning_rate=0.01)
    assert plain[-1] < plain[0]
    # Sums of the last layers make a loss; those of gradients, over 16 x 16 places of 64 images, what steps change.
    allowed = max(plain) * tolerance(3 * 3 * 32) + np.ptp(plain) * tolerance(64 * 16 * 16, steps=10)
    assert allowed < 3e-4  # a step that divides 52 losses by 53 is off by 0.045
    two = losses("multi_worker", 2, learning_rate=0.01)
    np.testing.assert_allclose(two, plain, rtol=0, atol=allowed)
    for all_reduce in ("hierarchical_copy", "reduction_to_one_device"):
        mirrored = losses("mirrored", 2, devices=["/cpu:0", "/cpu:1"], all_reduce=all_reduce, learning_rate=0.01)
        np.testing.assert_allclose(mirrored, plain, rtol=0, atol=allowed)


@pytest.mark.slow
def test_batch_normalisation_sees_a_share_of_the_batch() -> None:
    """With it the losses of two workers are near one's and not equal: README and results say by how much."""
    plain = losses("none", 1, model="resnet20")
    two = losses("multi_worker", 2, model="resnet20")
    apart = np.abs(np.array(two) / plain - 1)
    assert tolerance(64 * 32 * 32, steps=10) < apart.max() < 0.3
    assert apart[0] < 0.1


@pytest.mark.slow
def test_the_first_workers_state_reaches_all(tmp_path: Path) -> None:
    """A worker that cannot read the state, as on another host, goes on from the first one's all the same."""
    state = str(tmp_path / "state.npz")
    configs = [config(index, "multi_worker") for index in range(2)]
    with Job("job", configs, cluster=True) as job:
        job.command("train", first=0, steps=3)
        job.command("save", only=[0], path=state, record={})
        whole = [a["losses"] for a in job.command("train", first=3, steps=3)]
    with Job("job", configs, cluster=True) as job:
        for index, (path, rounds) in enumerate(((state, 1), ("", 0))):
            job._send(index, json.dumps({"do": "restore", "path": path, "rounds": rounds}))
        assert job._collect(range(2), 60) == [{"rounds": 1}, {"rounds": 1}]
        resumed = [a["losses"] for a in job.command("train", first=3, steps=3)]
    assert resumed == whole


@pytest.mark.slow
def test_workers_with_other_parameters_are_refused() -> None:
    with pytest.raises(TrialFailed, match="code or parameters of worker 1 differ from worker 0's"):
        _with_fingerprints(1, 2)


def _with_fingerprints(*fingerprints: int) -> None:
    from unittest import mock

    from dlperf.problems.scaling import job as scaling_job

    sent = scaling_job.Job._send

    def send(self: Job, index: int, line: str) -> None:
        if "fingerprint" in line:
            line = replace(WorkerConfig.from_json(line), fingerprint=fingerprints[index]).to_json()
        sent(self, index, line)

    with mock.patch.object(scaling_job.Job, "_send", send):
        Job("job", [config(index, "multi_worker") for index in range(2)], cluster=True).__enter__()


@pytest.mark.slow
def test_a_killed_worker_ends_the_job_and_is_named() -> None:
    with Job("job", [config(index, "multi_worker") for index in range(2)], cluster=True) as job:
        job.command("warm_up")
        pids = [worker.pid for worker in job._workers]
        os.kill(pids[1], signal.SIGKILL)
        begun = time.monotonic()
        with pytest.raises(TrialFailed, match=r"job: worker 1 of 2 was killed by SIGKILL"):
            job.command("train", first=0, steps=1000)
        assert time.monotonic() - begun < 30
    assert not any(psutil.pid_exists(pid) for pid in pids)


def port() -> int:
    from dlperf.problems.scaling.job import free_ports

    return free_ports(1)[0]


@pytest.mark.slow
def test_two_hosts_of_which_the_first_one_logs(desk: Desk) -> None:
    """Two starts on this machine, as on two hosts; a difference between them is refused."""
    hosts = f"127.0.0.1:{port()},127.0.0.1:{port()}"
    both = [*QUICK, "--mode", "strong", "--hosts", hosts]
    second = desk.popen([sys.executable, "entrypoints/scaling.py", *both, "--host_index", "1"])
    status, output = finish(desk, *both)
    assert status == 0, output
    second.communicate(timeout=60)
    assert second.returncode == 0
    (run,) = desk.runs().values()
    assert run.info.run_name == "scaling mode=strong workers=2 strategy=multi_worker random_seed=0"
    assert run.data.metrics["images_per_second"] > 0
    assert not processes_of(desk)

    second = desk.popen(
        [sys.executable, "entrypoints/scaling.py", *both, "--host_index", "1", "--learning_rate", "0.1"]
    )
    status, output = finish(desk, *both, MLFLOW_EXPERIMENT_NAME="differing")
    assert status == 1, output
    assert "code or parameters of worker 1 differ from worker 0's" in output
    second.communicate(timeout=60)
    assert second.returncode == 1
    assert not processes_of(desk)


@pytest.mark.slow
def test_two_hosts_are_killed_and_go_on(desk: Desk) -> None:
    """The second host has no state, and of a sweep it skips what the first has finished."""
    hosts = f"127.0.0.1:{port()},127.0.0.1:{port()}"
    both = ["--model", "convnet", "--mode", "strong", "--hosts", hosts, "--random_seed", "0,1"]
    both += ["--steps", "200", "--repeats", "6", "--batch_size", "64", "--train_examples", "600"]
    command = [sys.executable, "entrypoints/scaling.py", *both]
    desk.runs()  # makes the store, which two programs must not do at once
    first, second = (desk.popen([*command, "--host_index", index]) for index in ("0", "1"))

    def in_the_second_trial() -> bool:
        by_seed = {run.data.params.get("random_seed"): run for run in desk.client.search_runs(["0"])}
        return "1" in by_seed and "train_loss" in by_seed["1"].data.metrics

    eventually(in_the_second_trial, 120)
    first.kill()
    first.communicate(timeout=60)
    second.communicate(timeout=60)
    assert second.returncode == 1
    eventually(lambda: not processes_of(desk), 60)
    (parent,) = (run for run in desk.client.search_runs(["0"]) if run.data.tags.get("dlperf.role") == "sweep")
    second = desk.popen([*command, "--host_index", "1"], MLFLOW_RUN_ID=parent.info.run_id)
    status, output = finish(desk, *both, "--host_index", "0", MLFLOW_RUN_ID=parent.info.run_id)
    assert status == 0, output
    assert "finished before, skipped" in output
    second.communicate(timeout=60)
    assert second.returncode == 0
    runs = desk.client.search_runs(["0"], "tags.`dlperf.role` = 'trial'")
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    for run in runs:
        assert [m.step for m in desk.client.get_metric_history(run.info.run_id, "train_loss")] == [1, 2, 3, 4, 5, 6]


def test_hosts_that_cannot_be_used(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from dlperf.errors import EnvironmentMissing
    from dlperf.problems.scaling import job as scaling_job

    monkeypatch.setattr(scaling_job, "_HOST_SECONDS", 1.0)
    nobody = f"127.0.0.1:{port()}"
    own = [config(0, "multi_worker")]
    job = Job("job", own, cluster=True, hosts=[f"127.0.0.1:{port()}", nobody])
    with pytest.raises(EnvironmentMissing, match=f"worker 1 at {nobody} has not answered for 1 seconds"):
        job.__enter__()
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(EnvironmentMissing, match=f"port {number} of 127.0.0.1:{number} cannot be used here"):
            Job("job", own, cluster=True, hosts=[f"127.0.0.1:{number}", nobody])
    for given_hosts, message in (("node1", "HOST:PORT"), ("a:1,a:1", "names an address twice")):
        with pytest.raises(BadInput, match=message):
            parse(ScalingParameters, {"hosts": given_hosts})
    with pytest.raises(BadInput, match="host_index=2: must be 0 to 1"):
        parse(ScalingParameters, {"hosts": "a:1,b:1", "host_index": "2"})


def test_hosts_of_tf_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}')
    trials = parse(ScalingParameters, {}).trials
    assert {(t.workers, t.strategy, t.host) for t in trials} == {(2, "multi_worker", 1)}


def finish(desk: Desk, *arguments: str, **environment: str) -> tuple[int, str]:
    process = desk.popen([sys.executable, "entrypoints/scaling.py", *arguments], **environment)
    output, _ = process.communicate(timeout=400)
    return process.returncode, output


@pytest.mark.slow
def test_a_sweep_over_two_workers(desk: Desk) -> None:
    status, output = finish(desk, *QUICK, "--workers", "1,2", "--mode", "weak", "--batch_size_per_worker", "32")
    assert status == 0, output
    runs = desk.runs()
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    one = runs["scaling mode=weak workers=1 strategy=multi_worker random_seed=0"].data
    two = runs["scaling mode=weak workers=2 strategy=multi_worker random_seed=0"].data
    names = {"step_seconds", "images_per_second", "train_seconds", "cost", "all_reduce_seconds", "ceiling"}
    assert two.metrics.keys() >= names | {"minor_faults_per_step", "speedup", "weak_efficiency", "peak_memory_mb"}
    assert two.metrics["weak_efficiency"] == pytest.approx(one.metrics["step_seconds"] / two.metrics["step_seconds"])
    assert two.metrics["images_per_second"] == pytest.approx(64 / two.metrics["step_seconds"])
    assert two.metrics["cost"] == pytest.approx(0.45 * 2 * two.metrics["epochs_seconds"] / 3600)
    accounts = {
        k: v for k, v in two.metrics.items() if k.endswith("_seconds") and k.removesuffix("_seconds") in ACCOUNTS
    }
    assert 0.95 * two.metrics["wall_seconds"] <= sum(accounts.values()) <= two.metrics["wall_seconds"]
    (parent,) = (run for run in runs.values() if run.data.tags["dlperf.role"] == "sweep")
    files = {f.path for path in ("plots", "tables") for f in desk.client.list_artifacts(parent.info.run_id, path)}
    assert files >= {"tables/scaling.csv", "tables/step.csv", "plots/throughput.png", "plots/efficiency.png"}
    assert not processes_of(desk)


ACCOUNTS = ("setup", "compile", "train", "evaluation", "tracking", "checkpoint", "reporting", "waiting")


@pytest.mark.slow
def test_a_killed_worker_fails_the_trial_and_the_run_goes_on_from_its_state(desk: Desk) -> None:
    arguments = ["--model", "convnet", "--mode", "strong", "--workers", "2", "--strategy", "multi_worker"]
    arguments += ["--steps", "400", "--repeats", "6", "--train_examples", "600", "--batch_size", "64"]
    process = desk.popen([sys.executable, "entrypoints/scaling.py", *arguments])
    deadline = time.monotonic() + 120
    while not list(desk.folder.glob("state/*/state.npz")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    workers = [p for p in psutil.Process(process.pid).children() if "dlperf.problems.scaling.worker" in p.cmdline()]
    workers[0].kill()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "was killed by SIGKILL" in output.strip().splitlines()[-1]
    assert not processes_of(desk)
    (run,) = desk.runs().values()
    assert run.info.status == "FAILED"
    status, output = finish(desk, MLFLOW_RUN_ID=run.info.run_id)
    assert status == 0, output
    curve = [m.step for m in desk.client.get_metric_history(run.info.run_id, "train_loss")]
    assert curve == [1, 2, 3, 4, 5, 6]


def _has_workers(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):  # a child that ends while it is looked at
        return any("dlperf.problems.scaling.worker" in child.cmdline() for child in psutil.Process(pid).children())
    return False


def test_a_signal_ends_all_workers(desk: Desk) -> None:
    process = desk.popen([sys.executable, "entrypoints/scaling.py", *QUICK[:2], "--steps", "100000", "--workers", "2"])
    deadline = time.monotonic() + 60
    while not _has_workers(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    time.sleep(3)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert not processes_of(desk)
    assert {run.info.status for run in desk.client.search_runs(["0"])} == {"KILLED"}


def stored(mode: str, workers: int, strategy: str, seconds: list[float]) -> StoredTrial[ScalingParameters]:
    parameters = ScalingParameters.resolve({"mode": mode, "workers": workers, "strategy": strategy})
    step = float(np.median(seconds))
    metrics = {
        **{"step_seconds": step, "step_seconds_p25": step, "step_seconds_p75": step, "epochs_seconds": 10 * step},
        **{"images_per_second": parameters.global_batch / step, "cost": 1.0, "peak_memory_mb": 1.0},
        **{"cpu_ms_per_step": 1.0, "minor_faults_per_step": 0.0, "ceiling": 0.95 if workers > 1 else 1.0},
        **{"compute_seconds": step, "input_seconds": 0.0, "all_reduce_seconds": 0.0, "wait_seconds": 0.0},
    }
    history = {"round_step_seconds": seconds, "train_loss": [1.0] * len(seconds)}
    name = f"{mode} {workers} {strategy}"
    return StoredTrial(name, parameters, {"gradient_bytes": "1000000"}, metrics, history, {})


def test_tables_of_stored_trials() -> None:
    """Speed-up over one worker of the same strategy, and over the plain loop, which is a little faster."""
    trials = [
        stored("strong", 1, "none", [0.95, 0.95]),
        stored("strong", 1, "multi_worker", [1.0, 1.0]),
        stored("strong", 2, "multi_worker", [0.625, 0.625]),
        stored("weak", 1, "multi_worker", [0.2, 0.2]),
        stored("weak", 2, "multi_worker", [0.25, 0.25]),
    ]
    summary = summarize(trials)
    assert summary.trial_metrics["strong 2 multi_worker"] == pytest.approx(
        {
            **{"speedup": 1.6, "strong_efficiency": 0.8, "speedup_over_plain": 1.52},
            "strong_efficiency_of_ceiling": 0.8 / 0.95,
        }
    )
    assert summary.trial_metrics["weak 2 multi_worker"]["weak_efficiency"] == pytest.approx(0.8)
    laws = summary.curve_tables["laws"]
    assert set(laws["law"]) == {"none: 2 workers alone fit any law"}
    assert laws.set_index("mode").loc["strong", "value"] == pytest.approx(0.25)
    assert summary.figures.keys() == {"throughput", "epochs_seconds", "cost", "efficiency"}
    assert "note" not in summary.tables["scaling"]


def test_laws_are_fitted_where_there_are_enough_workers() -> None:
    trials = [stored("strong", n, "multi_worker", [0.1 + 0.9 / n] * 3) for n in (1, 2, 4, 8)]
    if cores() < 8:
        assert summarize(trials).curve_tables["laws"]["law"].str.startswith("none").all()  # emulated ones count not
    trials = [replace(t, parameters=t.parameters.model_copy(update={"device": "gpu"})) for t in trials]
    laws = summarize(trials).curve_tables["laws"].set_index(["law", "parameter"])
    assert laws.loc[("Amdahl", "serial"), "value"] == pytest.approx(0.1, abs=1e-3)
    assert laws.loc[("Amdahl", "serial"), "prediction for 16 workers"].startswith("6.4")
    assert ("Universal Scalability Law", "coherence") in laws.index
    assert laws.loc[laws["least_error"] == "yes", "error"].iloc[0] == laws["error"].min()


def test_ways_to_reduce_are_drawn_beside_each_other() -> None:
    trials = [
        replace(
            trial,
            run_id=way,
            parameters=ScalingParameters.resolve({"workers": 2, "strategy": "mirrored", "all_reduce": way}),
        )
        for way in ("hierarchical_copy", "reduction_to_one_device")
        for trial in [stored("strong", 2, "mirrored", [1.0, 1.0])]
    ]
    summary = summarize(trials)
    assert list(summary.tables["scaling"]["strategy"]) == [
        "mirrored hierarchical_copy",
        "mirrored reduction_to_one_device",
    ]
    assert "variants" in summary.figures


def test_what_is_emulated_says_so() -> None:
    trials = [stored("strong", n, "mirrored", [1.0, 1.0]) for n in (1, 2)]
    table = summarize(trials).tables["scaling"].set_index("workers")
    assert table.loc[2, "note"] == "logical CPUs share one pool of threads"
    assert "variants" not in summarize(trials).figures
    ring = ScalingParameters.resolve({"workers": 2, "collective": "nccl"})
    assert ring.emulated.startswith("NCCL needs GPUs")
    many = ScalingParameters.resolve({"workers": 2 * cores(), "mode": "weak", "strategy": "multi_worker"})
    assert many.emulated == f"{2 * cores()} workers on {cores()} cores"
