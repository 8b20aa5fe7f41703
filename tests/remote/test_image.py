"""The image on the host: GPUs, room, what it is made of, and its command."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dlperf.errors import EnvironmentMissing
from dlperf.remote import docker_engine, image
from dlperf.remote.parameters import read_arguments
from tests.support.fake_container import FakeContainer


@pytest.mark.parametrize(
    ("gpus", "asked"), [("all", {"Count": -1}), ("2", {"Count": 2}), ("device=0,3", {"DeviceIDs": ["0", "3"]})]
)
def test_gpus_are_asked_for_as_docker_run_does(gpus: str, asked: dict[str, Any]) -> None:
    assert docker_engine.device_request(gpus) == {"Driver": "", "Capabilities": [["gpu"]], "Options": {}, **asked}


def host_that_answers(answer: str) -> Any:
    return SimpleNamespace(name="gpuhost", run=lambda command: answer)


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ('runc create failed: exec: "/dlperf-none": stat /dlperf-none: no such file or directory: unknown', ""),
        ('exec: "/dlperf-none": executable file not found in $PATH', ""),
        ("crun: executable file `/dlperf-none` not found: No such file or directory", ""),
        ("exec /dlperf-none: exec format error", ""),
        ('could not select device driver "" with capabilities: [[gpu]]', "install NVIDIA's container toolkit there"),
        ("failed to discover GPU vendor from CDI: no known GPU vendor found", "install NVIDIA's container toolkit"),
        ("nvidia-container-cli: libnvidia-ml.so.1: no such file or directory", "cannot give gpus=all to a container"),
        ("nvidia-container-cli: device error:\n9: unknown device", "to a container: nvidia.*error: 9: unknown device"),
    ],
)
def test_only_the_missing_program_shows_that_there_are_gpus(said: str, refused: str) -> None:
    import docker

    def fail() -> None:
        raise docker.errors.APIError("500 Server Error", explanation=said)

    container, removed = FakeContainer(), list[str]()
    client = SimpleNamespace(
        api=SimpleNamespace(import_image_from_data=lambda *_, **__: None),
        containers=SimpleNamespace(create=lambda *_, **__: SimpleNamespace(start=fail, remove=container.remove)),
        images=SimpleNamespace(remove=lambda name, force: removed.append(name)),
    )
    with pytest.raises(EnvironmentMissing, match=refused) if refused else contextlib.nullcontext():
        docker_engine.check_gpus(host_that_answers(""), client, "all")
    assert container.done == ["removed"]
    assert [name.partition(":")[0] for name in removed] == ["dlperf-gpu-probe"]


def test_too_little_room_is_said_with_the_numbers() -> None:
    client = SimpleNamespace(info=lambda: {"DockerRootDir": "/var/lib/docker"})
    row = "/dev/sda1 100000000 95000000 5000000 95% /\n"  # 5.12 GB are free
    docker_engine.check_disk(host_that_answers(row), client, 5)
    with pytest.raises(EnvironmentMissing, match=r"gpuhost: 5\.1 GB are free in /var/lib/docker and 6 are needed"):
        docker_engine.check_disk(host_that_answers(row), client, 6)


def test_room_is_needed_for_what_is_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of the same name does not make a build small: it may have other packages."""
    import docker

    commits = ["1" * 40]
    monkeypatch.setattr(image, "git_commit", lambda: commits[-1])

    def needed(there: SimpleNamespace | None, **given: str) -> int:
        def get(tag: str) -> SimpleNamespace:
            if there is None:
                raise docker.errors.ImageNotFound(tag)
            return there

        client = SimpleNamespace(images=SimpleNamespace(get=get))
        parameters, _ = read_arguments({"host": "ssh://gpuhost", "entry_point": "cutout", **given})
        return image.room_needed(client, parameters)

    parameters, _ = read_arguments({"host": "ssh://gpuhost", "entry_point": "cutout"})
    before = SimpleNamespace(labels=image._Recipe.of(parameters).labels)
    commits.append("2" * 40)
    assert image._Recipe.of(parameters).labels[image._CONTEXT_LABEL] != before.labels[image._CONTEXT_LABEL]
    assert needed(before) == 1
    assert needed(before, base_image="python:3.12-slim") == 6
    assert needed(before, gpus="all") == 20
    assert needed(SimpleNamespace(labels={})) == 6
    assert needed(None) == 6
    assert needed(None, image="keep") == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("unix:///var/run/docker.sock\nmissing\ndenied\n", "there is no Docker engine at /var/run/docker.sock"),
        ("unix:///var/run/docker.sock\ndenied\n", "this user may not use /var/run/docker.sock: add it to the group"),
        ("tcp://10.0.0.1:2375\n", "its engine is at tcp://10.0.0.1:2375, and only a unix socket"),
    ],
)
def test_an_engine_that_cannot_be_used(answer: str, message: str) -> None:
    with pytest.raises(EnvironmentMissing, match=message), docker_engine.connected(host_that_answers(answer)):
        pass


def test_the_image_is_made_of_the_code_and_told_apart_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "_SOURCES", tmp_path)
    (tmp_path / "dlperf").mkdir()
    (tmp_path / ".dockerignore").write_text("# only these\n*\n!dlperf\n**/__pycache__\n")
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    code = tmp_path / "dlperf" / "cli.py"
    code.write_text("1\n")
    (tmp_path / "secret").write_text("password")

    assert image._files().keys() == {"Dockerfile", ".dockerignore", "dlperf/cli.py"}
    code.chmod(0o600)
    (tmp_path / "Dockerfile").chmod(0o700)
    with tarfile.open(fileobj=image._context(image._files())) as archive:
        modes = {entry.name: entry.mode for entry in archive}
    assert modes == {"Dockerfile": 0o755, ".dockerignore": 0o644, "dlperf/cli.py": 0o644}
    before = image._digest(image._files(), {"VARIANT": "cpu"})
    assert image._digest(image._files(), {"VARIANT": "gpu"}) != before
    code.write_text("2\n")
    assert image._digest(image._files(), {"VARIANT": "cpu"}) != before


def in_image(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the image's command here, without a tracking server, in a folder for its store."""
    root = Path(image.__file__).resolve().parents[2]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "PYTHONPATH": str(root), "TMPDIR": str(folder), "HOME": str(folder)}
    command = ["sh", str(root / "docker" / "entrypoint.sh"), *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)


def test_the_images_command_says_what_cannot_be_used_and_nothing_before(tmp_path: Path) -> None:
    done = in_image(tmp_path, "cutout", "--m", "abc")
    assert done.returncode == 2
    assert done.stderr.startswith("dlperf cutout: m=abc: must be an integer")
    assert done.stderr.count("\n") == 1
    assert in_image(tmp_path).stdout.startswith("Usage: ")


def test_where_the_image_stores_is_said_once_when_the_store_is_opened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import mlflow

    from dlperf.tracking.store import Store

    monkeypatch.setattr(mlflow.MlflowClient, "search_experiments", lambda *_, **__: [])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("DLPERF_STORE_NOTE", "the runs go to /runs")
    for uri in ("http://127.0.0.1:8", "http://127.0.0.1:9", "http://127.0.0.1:9"):
        Store(uri)
    assert capsys.readouterr().err == "dlperf: the runs go to /runs\n"
