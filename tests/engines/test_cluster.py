"""Trials on a Ray cluster: the bits of local workers, and clusters that cannot be used."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dlperf.engines import cluster
from dlperf.errors import BadInput, EnvironmentMissing
from tests.support.approximators import finish, rmse_curve, start
from tests.support.desk import Desk, wait_for_line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "message", "statuses"),
    [
        ({}, "engine=ray needs RAY_ADDRESS", []),
        ({"RAY_ADDRESS": "127.0.0.1:9"}, "RAY_ADDRESS=127.0.0.1:9 does not answer", ["FAILED"]),
    ],
)
def test_no_ray_cluster_is_status_3(desk: Desk, environment: dict[str, str], message: str, statuses: list[str]) -> None:
    if environment:
        pytest.importorskip("ray", reason="needs Ray: pip install 'dlperf[ray]'")
    status, output = finish(desk, "--units", "16", "--epochs", "1", "--engine", "ray", **environment)
    assert status == 3, output
    assert message in output
    assert "Traceback" not in output
    assert [run.info.status for run in desk.runs().values()] == statuses


@pytest.fixture
def ray_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Starts nodes on this machine, each with a CPU: as many raylets, as on as many machines.

    They start workers from a link to this environment, which has no blank in its path, and where another choice of
    oneDNN is set than here: it makes no difference to networks that XLA compiles.
    """
    pytest.importorskip("ray", reason="needs Ray: pip install 'dlperf[ray]'")
    from ray.cluster_utils import Cluster

    started = []

    def start(nodes: int, environment: str = "environment") -> Any:
        link = tmp_path / environment
        link.symlink_to(sys.prefix)
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(link / Path(sys.executable).relative_to(sys.prefix)))
            patched.setenv("TF_ENABLE_ONEDNN_OPTS", "0" if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1" else "1")
            started.append(Cluster(initialize_head=True, head_node_args={"num_cpus": 1}))
            for _ in range(1, nodes):
                started[0].add_node(num_cpus=1)
        return started[0]

    yield start
    for each in started:
        each.shutdown()


@pytest.mark.parametrize("address", ["host", "host:", "a b:1", "tcp://host:1", "host:123456"])
def test_an_address_that_is_none_is_status_2(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'dlperf[ray]'")
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(BadInput, match=f"^RAY_ADDRESS={address}: must be HOST:PORT, ray://HOST:PORT, or auto"):
        cluster.check()


def test_an_interpreter_of_which_a_shell_makes_two_words() -> None:
    cluster._refuse_blanks(["/usr/bin/python3", "/home/me/.venv/bin/python"])
    with pytest.raises(EnvironmentMissing, match="path has a blank: /home/me/My Projects/bin/python; build") as caught:
        cluster._refuse_blanks(["/usr/bin/python3", "/home/me/My Projects/bin/python"])
    assert caught.value.exit_status == 3


@pytest.mark.slow
def test_a_ray_cluster_whose_environment_has_a_blank_in_its_path_is_status_3(
    desk: Desk, ray_cluster: Callable[..., Any]
) -> None:
    """Ray starts no worker there, and tries for ten minutes: it is said before the first trial."""
    address = ray_cluster(1, "an environment").address
    begun = time.monotonic()
    status, output = finish(desk, "--units", "16", "--epochs", "1", "--engine", "ray", RAY_ADDRESS=address)
    assert time.monotonic() - begun < 120
    assert status == 3, output
    assert "engine=ray: Ray starts no worker from an environment whose path has a blank: " in output
    assert "Traceback" not in output
    assert [run.info.status for run in desk.runs().values()] == ["FAILED"]


@pytest.mark.slow
def test_trials_on_a_ray_cluster_of_two_nodes(desk: Desk, ray_cluster: Callable[..., Any]) -> None:
    """The same bits as here; a killed worker's trial is tried again."""
    arguments = ("--units", "256,128;16;32", "--epochs", "12")
    address = ray_cluster(2).address
    process = start(desk, *arguments, "--engine", "ray", RAY_ADDRESS=address)
    wait_for_line(process, "finished, 1 of 3")
    busy = [p for p in psutil.process_iter(["cmdline"]) if (p.info["cmdline"] or [""])[0].startswith("ray::_execute")]
    for worker in busy:
        worker.kill()
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert busy
    runs = desk.runs()
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    status, output = finish(desk, *arguments, "--processes", "1", MLFLOW_EXPERIMENT_NAME="local")
    assert status == 0, output
    experiment = desk.client.get_experiment_by_name("local").experiment_id
    for run in desk.client.search_runs([experiment]):
        other = runs[run.info.run_name]
        if "dlperf.trial_key" in run.data.tags:
            assert rmse_curve(desk, run) == rmse_curve(desk, other)
    too_large = finish(desk, "--units", "16", "--engine", "ray", "--gpus_per_trial", "1", RAY_ADDRESS=address)
    assert too_large[0] == 3
    assert "no node of the Ray cluster has 1 CPUs and 1 GPUs" in too_large[1]
