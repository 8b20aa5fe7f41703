"""Workers of a distributed training: who sees which example, that several train as one does, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlperf.data.user_data import Reading
from dlperf.errors import BadInput, OutOfMemory, TrialFailed
from dlperf.parameters import parse
from dlperf.problems.scaling.job import Job, rows_of
from dlperf.problems.scaling.parameters import ScalingParameters
from dlperf.problems.scaling.worker_config import WorkerConfig
from dlperf.process_settings import onednn
from dlperf.processor import MemoryKills, cores
from tests.support.desk import Desk, eventually, port
from tests.support.rounding import tolerance


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
        **{"weights": "fresh", "custom": "", "model_digest": ""},
        "onednn": onednn.default(),
        "reading": Reading(),
        **other,
    }
    return WorkerConfig(**given)


def test_a_configuration_survives_the_pipe() -> None:
    one = config(1, "mirrored", devices=("/cpu:0", "/cpu:1"))
    assert WorkerConfig.from_json(one.to_json()) == one
    assert one.shared() == config(0, "mirrored", devices=("/cpu:0", "/cpu:1")).shared()


def trained(job: Job, steps: int) -> list[float]:
    """Losses of the first steps, the smaller last one of the epoch included in ten of them."""
    answers = job.command("train", first=0, steps=steps)
    return [sum(own) for own in zip(*(answer["losses"] for answer in answers), strict=True)]


def losses(strategy: str, workers: int, steps: int = 10, **other: Any) -> list[float]:
    processes = 1 if strategy == "mirrored" else workers
    configs = [config(index, strategy, **other) for index in range(processes)]
    with Job("job", configs, cluster=strategy == "multi_worker") as job:
        job.command("warm_up")
        return trained(job, steps)


@pytest.fixture(scope="module")
def two() -> Iterator[Job]:
    """Two workers that have not trained when the first test gets them."""
    with Job("job", [config(index, "multi_worker", learning_rate=0.01) for index in range(2)], cluster=True) as job:
        job.command("warm_up")
        yield job


@pytest.mark.slow
def test_two_real_workers_train_as_one_does(two: Job) -> None:
    """Without batch normalisation but for rounding; and devices of one process, with both ways to reduce on a CPU.

    At a rate of 0.05 training is so restless that one ReLU that rounding has switched shows in the fifth digit.
    """
    plain = losses("none", 1, learning_rate=0.01)
    assert plain[-1] < plain[0]
    # Sums of the last layers make a loss; those of gradients, over 16 x 16 places of 64 images, what steps change.
    allowed = max(plain) * tolerance(3 * 3 * 32) + np.ptp(plain) * tolerance(64 * 16 * 16, steps=10)
    assert allowed < 3e-4  # a step that divides 52 losses by 53 is off by 0.045
    np.testing.assert_allclose(trained(two, 10), plain, rtol=0, atol=allowed)
    for all_reduce in ("hierarchical_copy", "reduction_to_one_device"):
        mirrored = losses("mirrored", 2, devices=["/cpu:0", "/cpu:1"], all_reduce=all_reduce, learning_rate=0.01)
        np.testing.assert_allclose(mirrored, plain, rtol=0, atol=allowed)


@pytest.mark.slow
def test_batch_normalisation_sees_a_share_of_the_batch() -> None:
    """With it the losses of two workers are near one's and not equal: README and results say by how much."""
    plain = losses("none", 1, steps=4, model="resnet20")
    two = losses("multi_worker", 2, steps=4, model="resnet20")
    apart = np.abs(np.array(two) / plain - 1)
    assert tolerance(64 * 32 * 32, steps=4) < apart.max() < 0.3
    assert apart[0] < 0.1


@pytest.mark.slow
def test_the_first_workers_state_reaches_all(two: Job, tmp_path: Path) -> None:
    """A worker that cannot read the state, as on another host, goes on from the first one's all the same."""
    state = str(tmp_path / "state.npz")
    two.command("train", first=0, steps=3)
    two.command("save", only=[0], path=state, record={})
    whole = [answer["losses"] for answer in two.command("train", first=3, steps=3)]
    for index, (path, rounds) in enumerate(((state, 1), ("", 0))):
        two._send(index, json.dumps({"do": "restore", "path": path, "rounds": rounds}))
    assert two._collect(range(2), 60) == [{"rounds": 1}, {"rounds": 1}]
    assert [answer["losses"] for answer in two.command("train", first=3, steps=3)] == whole


@pytest.mark.slow
def test_a_worker_that_is_killed_amid_an_all_reduce_ends_the_job_and_is_named() -> None:
    with Job("job", [config(index, "multi_worker") for index in range(2)], cluster=True) as job:
        job.command("warm_up")
        pids = [worker.pid for worker in job._workers]
        threading.Timer(1, os.kill, (pids[1], signal.SIGKILL)).start()
        begun = time.monotonic()
        with pytest.raises(TrialFailed, match=r"job: worker 1 of 2 was killed by SIGKILL"):
            job.command("reduce", repeats=10**6)
        assert time.monotonic() - begun < 30
    assert not any(psutil.pid_exists(pid) for pid in pids)


COMMANDS = """
import json, sys, time
from dlperf.problems.scaling.job import Job
from dlperf.problems.scaling.worker_config import WorkerConfig
job = Job("job", [WorkerConfig.from_json(sys.argv[1])], cluster=True, hosts=sys.argv[2:])
print(job._workers[0].pid, flush=True)
time.sleep(600)
"""


def test_a_worker_that_the_kernel_killed_for_want_of_memory_is_told_from_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kills = 0
    monkeypatch.setattr(MemoryKills, "_count", staticmethod(lambda: kills))
    job: Any = Job.__new__(Job)
    job._name, job._kills = "a job", MemoryKills()
    job._workers = [SimpleNamespace(poll=lambda: None), SimpleNamespace(poll=lambda: -signal.SIGKILL)]
    assert type(job._failure("worker 1 of 2 was killed by SIGKILL")) is TrialFailed
    kills = 1
    failure = job._failure("worker 1 of 2 was killed by SIGKILL")
    assert isinstance(failure, OutOfMemory)
    assert str(failure).startswith(
        "a job: worker 1 of 2 was killed by SIGKILL, by the kernel: out of memory (it may use "
    )
    assert isinstance(job._failure("worker 0 of 2 failed: ResourceExhaustedError: OOM"), OutOfMemory)


@pytest.mark.slow
def test_a_worker_that_waits_for_a_peer_ends_with_its_parent() -> None:
    """TensorFlow waits for minutes, and no thread of the worker's runs meanwhile."""
    hosts = [f"127.0.0.1:{port()}", f"127.0.0.1:{port()}"]
    command = [sys.executable, "-c", COMMANDS, config(0, "multi_worker").to_json(), *hosts]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        eventually(lambda: any(c.status == psutil.CONN_LISTEN for c in worker.net_connections()), 60)
        time.sleep(2)  # into its waiting
        parent.kill()
    eventually(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, 5)


@pytest.mark.slow
def test_hosts_leave_together_and_a_host_that_is_gone_holds_nobody() -> None:
    """Else one whose last collective ends first goes, and the other, still in it, takes that for a death."""
    hosts = [f"127.0.0.1:{port()}", f"127.0.0.1:{port()}"]
    configs = [config(index, "multi_worker") for index in range(2)]
    jobs = [Job("job", [own], cluster=True, hosts=hosts) for own in configs]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(Job.__enter__, jobs))
        list(threads.map(lambda job: job.command("reduce", repeats=1), jobs))
        first = threads.submit(jobs[0].leave)
        time.sleep(1)
        assert not first.done()
        jobs[1].leave()
        first.result(30)
        gone = threads.submit(jobs[0].leave)
        jobs[1].end()
        gone.result(60)
    jobs[0].end()


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
