"""The commands of the documentation start, and end as it says where what they need is missing."""

from __future__ import annotations

import shlex
import sys

import pytest

from tests.docs.ends import End, documented_ends
from tests.support.desk import Desk
from tests.support.project_run import project_run

pytestmark = pytest.mark.slow

DIGITS = {"dataset": "digits"}
DRY = {"optimizers": DIGITS, "scaling": {}, "architectures": {}, "cutout": DIGITS, "approximators": {}}


def nothing_there(desk: Desk) -> dict[str, str]:
    """No data, no network but the loopback, no GPU: an address where nothing listens stands for all proxies."""
    proxy = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:1")
    place = {"XDG_CACHE_HOME": str(desk.folder / "cache"), "DLPERF_DATA_DIR": "", "DLPERF_DOWNLOAD_DIR": ""}
    return {**proxy, **place, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1", "CUDA_VISIBLE_DEVICES": "-1"}


@pytest.mark.parametrize("name", DRY)
def test_every_problem_starts_under_mlflow_run(desk: Desk, name: str) -> None:
    quick = {} if name == "architectures" else {"measure": "false"}
    status, output = project_run(desk, name, {"dry_run": "true", **quick, **DRY[name]}, **nothing_there(desk))
    assert status == 0, output
    assert f"{name}: nothing is run" in output


def test_the_demo_starts_under_mlflow_run(desk: Desk) -> None:
    """It has no dry run: that its own program refuses a value shows that it was reached."""
    status, output = project_run(desk, "main", {"random_seed": "-1"})
    assert status == 1, output
    assert "dlperf main: random_seed=-1: must be an integer, at least 0" in output
    assert {run.info.status for run in desk.runs().values()} == {"FAILED"}


def test_a_comparison_of_nothing_under_mlflow_run(desk: Desk) -> None:
    (end,) = (end for end in documented_ends() if end.command == "dlperf compare")
    status, output = project_run(desk, "compare", {})
    assert status == 1, output
    assert end.line in output
    assert {run.info.status for run in desk.runs().values()} == {"FAILED"}


def test_a_missing_gpu_under_mlflow_run(desk: Desk) -> None:
    (end,) = (end for end in documented_ends() if "gpu" in end.command)
    status, output = project_run(desk, "scaling", {"device": "gpu"}, **nothing_there(desk))
    assert status == 1, output
    assert end.line in output
    assert {run.info.status for run in desk.runs().values()} == {"FAILED"}


@pytest.mark.parametrize("end", documented_ends(), ids=lambda end: end.command)
def test_what_cannot_run_ends_as_documented(bare_desk: Desk, end: End) -> None:
    if "compare" in end.command:
        bare_desk.with_store()
    program, *arguments = shlex.split(end.command)
    assert program == "dlperf"
    process = bare_desk.popen([sys.executable, "-m", "dlperf", *arguments], **nothing_there(bare_desk))
    output, _ = process.communicate(timeout=300)
    assert process.returncode == end.status, output
    assert end.line in output
    assert "Traceback" not in output
    assert [line for line in output.splitlines() if line.startswith("dlperf ")][-1:] == output.splitlines()[-1:]
    if "compare" not in end.command:
        assert not (bare_desk.folder / "mlflow.db").exists()  # no run is left behind
