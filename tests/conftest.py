"""Keeps the tests off the user's own folders, and says which of them need the real CIFAR-10.

Nothing heavy is imported here: some tests measure what a start imports.
"""

from __future__ import annotations

import gc
import os
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from dlperf.data.cifar_layout import CIFAR10

pytest.register_assert_rewrite("tests.support")  # before it is imported: a failure there shows its values

from tests.faults.report import KILLS, OUTAGES, REPORT, Report  # noqa: E402
from tests.support.desk import Desk, processes_of  # noqa: E402
from tests.support.golden import OPTION  # noqa: E402

# Before any test module imports TensorFlow, which reads it once.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# One choice for the trials that run in the tests' own process, where TensorFlow has been loaded before them.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # every start of a program would compile dlperf anew
os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # four processes beside each server, which nothing here uses

REAL_FILE_BYTES = 10_000 * 3_073

# An example may take as long as it does: these machines are shared, and nothing is timed in a test.
settings.register_profile("dlperf", deadline=None)
settings.load_profile("dlperf")

session_folder: pytest.StashKey[tempfile.TemporaryDirectory[str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let golden files be written anew, and the fault suite be run at length."""
    parser.addoption(OPTION, action="store_true", help="write the golden files of tests/golden anew")
    parser.addoption(KILLS, type=int, default=1, help="kills of each problem in tests/faults")
    parser.addoption(OUTAGES, type=int, default=1, help="outages of each kind in tests/faults")
    parser.addoption(REPORT, default="", help="folder for the report of tests/faults")


def pytest_configure(config: pytest.Config) -> None:
    """Point state and cache at a folder of this session; child processes inherit that."""
    folder = config.stash[session_folder] = tempfile.TemporaryDirectory(prefix="dlperf-tests-")
    os.environ["DLPERF_STATE_DIR"] = os.path.join(folder.name, "state")
    if not hasattr(config, "workerinput"):  # processes of pytest-xdist share what XLA compiles, and Matplotlib's fonts
        os.environ["XDG_CACHE_HOME"] = os.path.join(folder.name, "cache")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's folder."""
    config.stash[session_folder].cleanup()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let files with many slow tests begin first: of two processes none waits at the end for the other's long file."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def pytest_collection_finish() -> None:
    """Spare garbage collections, which some libraries ask for again and again, what the imports have left."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked `cifar10`, with the reason, where DLPERF_DATA_DIR does not lead to the full data."""
    if item.get_closest_marker("cifar10") and (reason := why_no_real_cifar10()):
        pytest.skip(reason)


def why_no_real_cifar10() -> str:
    """Why the full CIFAR-10 is not at hand, "" if it is."""
    place = os.environ.get("DLPERF_DATA_DIR")
    if not place:
        return "needs the full CIFAR-10: set DLPERF_DATA_DIR to its folder"
    for folder in (Path(place, CIFAR10.binary_folder), Path(place)):
        sizes = [path.stat().st_size for file in CIFAR10.binary_files if (path := folder / file).is_file()]
        if sizes == [REAL_FILE_BYTES] * len(CIFAR10.binary_files):
            return ""
    return f"needs the full CIFAR-10: DLPERF_DATA_DIR={place} does not hold its six files of {REAL_FILE_BYTES:,} bytes"


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Iterator[Report]:
    """The rows of the fault suite, written at the end where the command line names a folder."""
    found = Report()
    yield found
    if folder := pytestconfig.getoption(REPORT):
        found.write(
            Path(folder), shlex.join(["python", "-m", "pytest", *map(str, pytestconfig.invocation_params.args)])
        )


@pytest.fixture(autouse=True)
def own_tracking_server() -> Iterator[None]:
    """Let no test find the tracking server that another one named: MLflow keeps it in a variable and in the process."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    mlflow = sys.modules.get("mlflow")
    if mlflow is not None:
        mlflow.set_tracking_uri(None)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if before is not None:
        os.environ["MLFLOW_TRACKING_URI"] = before


@pytest.fixture
def bare_desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk without a store; nothing that a failed test has started there outlives it."""
    desk = Desk(tmp_path)
    yield desk
    for process in processes_of(desk):
        process.kill()


@pytest.fixture
def desk(bare_desk: Desk) -> Desk:
    """A desk whose store is there, and empty."""
    return bare_desk.with_store()


@pytest.fixture
def tiny_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A factory of valid data folders with few records in each file, which this process takes for full ones.

    Call it with `records` (per file, at least 1) and `random_seed`; it returns the folder that holds
    `cifar-10-batches-bin/`, for use as `data_dir`.
    """

    def make(records: int = 20, random_seed: int = 0) -> Path:
        import numpy as np

        draw = np.random.default_rng(random_seed)
        monkeypatch.setattr(CIFAR10, "train_examples", 5 * records)
        monkeypatch.setattr(CIFAR10, "test_examples", records)
        folder = tmp_path / f"tiny-{records}-{random_seed}" / CIFAR10.binary_folder
        folder.mkdir(parents=True)
        for file in CIFAR10.binary_files:
            content = draw.integers(0, 256, (records, CIFAR10.record_bytes), dtype=np.uint8)
            content[:, 0] = draw.integers(0, 10, records)
            content.tofile(folder / file)
        return folder.parent

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root alone")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
