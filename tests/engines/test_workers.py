"""Trials in worker processes: killed ones, and those whose parent ends."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys

import psutil
import pytest

from tests.support.approximators import finish, rmse_curve, start
from tests.support.control_groups import real_group
from tests.support.desk import SMALL, Desk, Started, eventually, wait_for_line


@pytest.mark.slow
def test_a_problem_without_estimated_work_runs_in_workers_too(desk: Desk) -> None:
    command = [sys.executable, "entrypoints/architectures.py", "--subject", "stacked_filters,inception"]
    process = desk.popen([*command, "--processes", "2"])
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert {run.info.status for run in desk.runs().values()} == {"FINISHED"}


def workers(process: Started) -> list[psutil.Process]:
    """Worker processes, oldest first."""
    found = []
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # a program that was asked for something
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return sorted(found, key=lambda p: p.create_time())


@pytest.mark.slow
def test_a_killed_worker_loses_no_network(desk: Desk) -> None:
    """Killed once its network is tried again; killed twice it is reported, and the others finish."""
    process = start(desk, "--units", "256,128;64;32;16", "--epochs", "12", "--processes", "2")
    wait_for_line(process, "units=64 random_seed=0: finished")
    first = workers(process)
    first[0].kill()  # that of the longest network, which was begun first
    wait_for_line(process, "units=256,128 random_seed=0: its worker process was killed by SIGKILL: tried again")
    eventually(lambda: bool(set(workers(process)) - set(first)))
    workers(process)[-1].terminate()  # the new one
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 1, output
    assert "was killed by SIGTERM, 2 times" in output
    runs = desk.runs()
    failed = runs["approximators units=256,128 random_seed=0"]
    assert (failed.info.status, failed.data.tags["dlperf.ended"]) == ("FAILED", "failed")
    for units in (64, 32, 16):
        assert runs[f"approximators units={units} random_seed=0"].info.status == "FINISHED"
    parent = runs["approximators units=256,128;64;32;16"]
    assert (parent.info.status, parent.data.metrics["trials_failed"]) == ("FAILED", 1)

    status, output = finish(desk, MLFLOW_RUN_ID=parent.info.run_id)
    assert status == 0, output
    assert output.count("finished before, skipped") == 3
    again = desk.runs()["approximators units=256,128 random_seed=0"]
    assert (again.info.run_id, again.info.status, len(rmse_curve(desk, again))) == (failed.info.run_id, "FINISHED", 12)


@pytest.mark.slow
@pytest.mark.parametrize("version", [1, 2])
def test_a_worker_that_is_killed_for_want_of_memory_fails_as_that(desk: Desk, version: int) -> None:
    with real_group("memory", version) as (group, limit):
        command = [sys.executable, "entrypoints/cutout.py", *SMALL, "--m", "0,1", "--processes", "2"]
        joined = f"echo $$ > {group}/cgroup.procs && exec {shlex.join(command)}"
        process = desk.cold(["sh", "-c", joined], MLFLOW_RUN_ID="")
        eventually(lambda: len(workers(process)) == 2, 60)
        used = group / ("memory.current" if version == 2 else "memory.usage_in_bytes")
        (group / limit).write_text(str(int(used.read_text()) + 200_000_000))  # TensorFlow takes more
        output, _ = process.communicate(timeout=200)
    assert process.returncode == 1, output
    for m in (0, 1):
        run = desk.runs()[f"cutout m={m} random_seed=0"]
        assert (run.info.status, run.data.tags["dlperf.failure"]) == ("FAILED", "memory")
        line = next(line for line in output.splitlines() if f"m={m} random_seed=0: failed: " in line)
        assert "its worker process was killed by the kernel: out of memory (it may use 0." in line
        smaller = (
            f"dlperf cutout --processes 2 --dataset digits --train_examples 128 --m {m} --depth 8 --micro_batch 32"
        )
        assert f"; with half the micro_batch, which is another trial: {smaller}, or fewer at a time" in line


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(desk: Desk, number: signal.Signals) -> None:
    process = start(desk, "--units", "512;256,256;16", "--epochs", "2000", "--processes", "2")
    eventually(lambda: len(list(desk.folder.glob("state/*/state.npz"))) == 2, seconds=60)
    own = workers(process)
    assert len(own) == 2
    os.kill(process.pid, number)
    process.communicate()
    _, alive = psutil.wait_procs(own, timeout=10)
    assert not alive
    if number == signal.SIGTERM:
        assert process.returncode == 143
        assert {run.info.status for run in desk.client.search_runs(["0"])} == {"KILLED"}
