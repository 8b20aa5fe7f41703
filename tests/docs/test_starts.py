"""The commands of the documentation start, and end as it says where what they need is missing."""

from __future__ import annotations

import shlex
import sys

import pytest

from tests.docs.ends import End, documented_ends
from tests.support.desk import MLFLOW_RUN, Desk

pytestmark = pytest.mark.slow

DIGITS = ["-P", "dataset=digits"]
DRY = {"optimizers": DIGITS, "scaling": [], "architectures": [], "cutout": DIGITS, "approximators": []}


def output_of(desk: Desk, command: list[str], **environment: str) -> tuple[int, str]:
    process = desk.popen(command, **environment)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def nothing_there(desk: Desk) -> dict[str, str]:
    """No data, no network but the loopback, no GPU: an address where nothing listens stands for all proxies."""
    proxy = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:1")
    place = {"XDG_CACHE_HOME": str(desk.folder / "cache"), "DLPERF_DATA_DIR": "", "DLPERF_DOWNLOAD_DIR": ""}
    return {**proxy, **place, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1", "CUDA_VISIBLE_DEVICES": "-1"}


@pytest.mark.parametrize("name", DRY)
def test_every_problem_starts_under_mlflow_run(desk: Desk, name: str) -> None:
    command = [*MLFLOW_RUN, "-e", name, "-P", "dry_run=true", *DRY[name]]
    status, output = output_of(desk, command, **nothing_there(desk))
    assert status == 0, output
    assert f"{name}: nothing is run" in output


def test_the_demo_starts_under_mlflow_run(desk: Desk) -> None:
    """It has no dry run: that its own program refuses a value shows that it was reached."""
    status, output = output_of(desk, [*MLFLOW_RUN, "-e", "main", "-P", "random_seed=-1"])
    assert status == 1, output
    assert "dlperf main: random_seed=-1: must be an integer, at least 0" in output
    assert {run.info.status for run in desk.runs().values()} == {"FAILED"}


def test_a_comparison_of_nothing_under_mlflow_run(desk: Desk) -> None:
    (end,) = (end for end in documented_ends() if end.command == "dlperf compare")
    status, output = output_of(desk, [*MLFLOW_RUN, "-e", "compare"])
    assert status == 1, output
    assert end.line in output
    assert {run.info.status for run in desk.runs().values()} == {"FAILED"}


def test_a_missing_gpu_under_mlflow_run(desk: Desk) -> None:
    (end,) = (end for end in documented_ends() if "gpu" in end.command)
    command = [*MLFLOW_RUN, "-e", "scaling", "-P", "device=gpu"]
    status, output = output_of(desk, command, **nothing_there(desk))
    assert status == 1, output
    assert end.line in output
    assert {run.info.status for run in desk.runs().values()} == {"FAILED"}


@pytest.mark.parametrize("end", documented_ends(), ids=lambda end: end.command)
def test_what_cannot_run_ends_as_documented(desk: Desk, end: End) -> None:
    if "compare" in end.command:
        desk.client.search_experiments()  # the store is there, and empty
    program, *arguments = shlex.split(end.command)
    assert program == "dlperf"
    status, output = output_of(desk, [sys.executable, "-m", "dlperf", *arguments], **nothing_there(desk))
    assert status == end.status, output
    assert end.line in output
    assert "Traceback" not in output
    assert [line for line in output.splitlines() if line.startswith("dlperf ")][-1:] == output.splitlines()[-1:]
    if "compare" not in end.command:
        assert not (desk.folder / "mlflow.db").exists()  # no run is left behind
