"""The engine, the image and the tracking server of the container tests; skipped where no engine can run."""

from __future__ import annotations

import fcntl
import functools
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dlperf.parameters import parse
from dlperf.remote import docker_engine
from dlperf.remote.image import provide
from dlperf.remote.link import Link
from dlperf.remote.parameters import Address, RemoteParameters
from tests.support.desk import ROOT
from tests.support.second_host import SecondHost, why_not
from tests.support.served_desk import ServedDesk, served

BASE_IMAGE = os.environ.get("DLPERF_TEST_BASE_IMAGE", "python:3.11-slim")


@functools.cache
def why_no_engine() -> str:
    """Why no container engine answers, "" if one does."""
    try:
        done = subprocess.run(["docker", "version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"needs a Docker engine: {error}"
    return "" if done.returncode == 0 else f"needs a Docker engine: {done.stderr.strip() or done.stdout.strip()}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked `container`, with the reason, where there is no engine."""
    if item.get_closest_marker("container") and (reason := why_no_engine()):
        pytest.skip(reason)


def docker(*arguments: str, seconds: float = 600) -> subprocess.CompletedProcess[str]:
    """Run docker; builds by the engine's own builder, which the Dockerfile has to be content with."""
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    command = ["docker", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds)


@dataclass
class Image:
    """The image as it was built, and what the build said."""

    name: str
    commit: str
    output: str

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return docker("run", "--rm", *arguments)


@pytest.fixture(scope="session")
def image() -> Image:
    """The Dockerfile's image; its lower layers come from the engine's cache where an earlier start has left them."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    arguments = ["--build-arg", f"BASE_IMAGE={BASE_IMAGE}", "--build-arg", f"GIT_COMMIT={commit}"]
    # Tests run in two processes, each of which builds it: one after the other, and the second finds its layers.
    with Path(tempfile.gettempdir(), "dlperf-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = docker("build", "--network", "host", *arguments, "--tag", "dlperf", ".", seconds=1200)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        # The one it replaces.
        docker("image", "prune", "--force", "--filter", "label=org.opencontainers.image.title=dlperf")
    return Image("dlperf", commit, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedDesk]:
    """A tracking server on the loopback, with SQLite behind it."""
    folder = tmp_path_factory.mktemp("server")
    with served(folder, f"sqlite:///{folder}/mlflow.db") as desk:
        yield desk


@pytest.fixture(scope="session")
def host(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondHost]:
    """The second host, with the image; DLPERF_TEST_HOST_DIR keeps what its engine has for the next start."""
    if reason := why_not():
        pytest.skip(reason)
    kept = os.environ.get("DLPERF_TEST_HOST_DIR")
    host = SecondHost(Path(kept) if kept else tmp_path_factory.mktemp("host"))
    try:
        host.start()
        host.load(f"{image.name}:latest", BASE_IMAGE)  # not every tag of that name
        _build_there(host)
        yield host
    finally:
        host.stop()


def _build_there(host: SecondHost) -> None:
    """Build the image with the layers that are there, as `remote` does when the code has changed."""
    given = {"host": host.url, "entry_point": "cutout", "base_image": BASE_IMAGE}
    (parameters,) = parse(RemoteParameters, given).trials
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{host.path}{os.pathsep}{os.environ['PATH']}")
        with Link(Address.of(host.url)) as link, docker_engine.connected(link) as client:
            provide(client, link.name, parameters)
    host.ssh("docker image prune --force")  # the one it replaces
