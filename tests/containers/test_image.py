"""The image, on a real engine: what it holds, and that it runs as any user on a file system it cannot write to."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.containers.conftest import BASE_IMAGE, Image, docker
from tests.support.contract import assert_trial
from tests.support.desk import ROOT, SMALL
from tests.support.served_desk import ServedDesk

pytestmark = pytest.mark.container
CONFINED = ["--read-only", "--tmpfs", "/tmp", "--network", "none", "--cap-drop", "ALL"]


def test_it_says_where_it_is_from_and_belongs_to_no_root(image: Image) -> None:
    inspected = docker("inspect", "--format", "{{json .Config.Labels}} {{.Config.User}}", image.name).stdout
    assert f'"org.opencontainers.image.revision":"{image.commit}"' in inspected
    assert inspected.split()[-1] == "1000:1000"


def test_it_holds_the_code_and_nothing_else(image: Image) -> None:
    found = image.run("--network", "none", "--entrypoint", "sh", image.name, "-c", "ls -A; ls -A entrypoints").stdout
    own = {"conda.yaml", "dlperf", "entrypoints", "requirements.sh", "requirements.txt"}
    assert set(found.split()) == own | {script.name for script in (ROOT / "entrypoints").glob("*.py")}


def test_its_size_over_the_base(image: Image) -> None:
    sizes = [int(docker("inspect", "--format", "{{.Size}}", name).stdout) for name in (image.name, BASE_IMAGE)]
    assert sizes[0] - sizes[1] < 2.2e9


def test_any_user_runs_it_on_a_read_only_file_system_without_a_network(image: Image) -> None:
    done = image.run(*CONFINED, "--user", "4321:4321", image.name, "cutout", *SMALL, "--m", "2", "--epochs", "2")
    assert done.returncode == 0, done.stderr
    assert "MLFLOW_TRACKING_URI is not set: the runs go to /runs/mlflow.db" in done.stderr
    assert "epoch 2/2" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_quota_of_the_container_counts_and_not_the_host_s_cores(image: Image) -> None:
    program = "from dlperf.processor import *; print(cpu_quota(), cores(), memory_bytes())"
    limits = ["--cpus", "1.5", "--memory", "512m", "--network", "none"]
    done = image.run(*limits, "--entrypoint", "python", image.name, "-c", program)
    assert (done.stdout, done.returncode) == (f"1.5 1 {512 * 2**20}\n", 0), done.stderr


def test_a_store_that_cannot_be_written_is_status_3(image: Image) -> None:
    done = image.run("--read-only", "--network", "none", "-v", "dlperf-test:/runs:ro", image.name, "cutout", *SMALL)
    docker("volume", "rm", "dlperf-test")
    assert done.returncode == 3
    assert done.stderr.startswith("dlperf: no folder for the runs: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["cutout", "--m", "abc"], 2, "dlperf cutout: m=abc: must be an integer"),
        (["cutot"], 2, "dlperf: unknown entry point cutot; did you mean cutout?"),
        (["cutout", *SMALL], 3, "dlperf cutout: the tracking server http://127.0.0.1:9 cannot be used"),
        (["runs", "--send", ""], 2, "dlperf runs: send=: --send needs a value: text"),
    ],
)
def test_bad_input_is_one_line(image: Image, arguments: list[str], status: int, message: str) -> None:
    done = image.run(*CONFINED, "--env", "MLFLOW_TRACKING_URI=http://127.0.0.1:9", image.name, *arguments)
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_data_come_from_their_volume_and_are_downloaded_into_it(
    image: Image, tiny_cifar10: Callable[..., Path]
) -> None:
    """Without a network it is the attempt that shows, and the folder that the data were to be kept in."""
    done = image.run(*CONFINED, image.name, "cutout", "--m", "2")
    assert done.returncode == 3, done.stderr
    assert "CIFAR-10 is not on this machine and https://www.cs.toronto.edu" in done.stderr
    assert "into /data/cifar-10-batches-bin" in done.stderr

    folder = tiny_cifar10()  # its files are there, but are not of the right length
    done = image.run(*CONFINED, "-v", f"{folder}:/data:ro", image.name, "cutout", "--m", "2")
    assert done.returncode == 2, done.stderr
    assert "/data/cifar-10-batches-bin" in done.stderr


def test_help_needs_no_store(image: Image) -> None:
    done = image.run(*CONFINED, image.name)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Commands:" in done.stdout


def test_a_change_of_the_code_installs_nothing_again_and_neither_umask_nor_secrets_of_the_builder_get_in(
    image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Dockerfile", ".dockerignore", "conda.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("docker", "dlperf", "entrypoints"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "dlperf" / "plots.py").open("a") as code:
        code.write("\n# changed\n")
    secret = "planted-secret"
    for name in (".env", ".netrc", ".git/config", "mlflow.db", "docker/password", "dlperf/__pycache__/a.pyc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(secret)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", secret)
    subprocess.run(["chmod", "--recursive", "go-rwx", str(tmp_path / "dlperf"), str(tmp_path / "entrypoints")])
    done = docker("build", "--build-arg", f"BASE_IMAGE={BASE_IMAGE}", "--tag", "dlperf:changed", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    dry = ["--dry_run", "true", "--measure", "false"]
    listed = image.run(*CONFINED, "--user", "4321", "dlperf:changed", "cutout", *SMALL, *dry)
    search = (
        f"grep --recursive --files-with-matches {secret} /opt /etc /home /root /tmp /usr/local/bin; ls -A /opt/dlperf"
    )
    found = image.run(*CONFINED, "--user", "0", "--entrypoint", "sh", "dlperf:changed", "-c", search).stdout
    told = docker("history", "--no-trunc", "dlperf:changed").stdout + docker("inspect", "dlperf:changed").stdout
    docker("rmi", "dlperf:changed")
    assert "conda.yaml" in found.split()
    assert not [line for line in found.splitlines() if line.startswith("/")]
    assert "MLFLOW" not in told
    assert secret not in told + done.stdout
    assert listed.returncode == 0, listed.stderr
    steps = re.split(r"^Step \d+/\d+ : ", done.stdout, flags=re.MULTILINE)
    (installs,) = [step for step in steps if "pip install" in step]
    (copies,) = [step for step in steps if step.startswith("COPY dlperf")]
    assert "Using cache" in installs
    assert "Using cache" not in copies


@pytest.mark.parametrize(
    ("variant", "line"), [("cpu", "tensorflow-cpu=="), ("gpu", "tensorflow[and-cuda]=="), ("tpu", None)]
)
def test_the_variant_swaps_the_line_of_tensorflow_only(variant: str, line: str | None) -> None:
    """Only the CPU variant is built here."""
    pins = re.findall(r"^ *- *([\w.-]+==\S+)", (ROOT / "conda.yaml").read_text(), re.MULTILINE)
    script = ["sh", str(ROOT / "docker" / "requirements.sh"), variant]
    done = subprocess.run(script, input=(ROOT / "conda.yaml").read_text(), capture_output=True, text=True)
    if line is None:
        assert (done.returncode, done.stderr) == (2, "VARIANT=tpu: must be cpu or gpu\n")
    else:
        assert done.stdout.split() == [pin.replace("tensorflow==", line) for pin in pins]


def test_mlflow_run_in_the_image_keeps_the_tracking_contract(image: Image, server: ServedDesk) -> None:
    """Against a server on the loopback; this engine has no bridge, so the container takes the host's network."""
    parameters = [f"{name[2:]}={value}" for name, value in zip(SMALL[::2], SMALL[1::2], strict=True)]
    given = [word for each in ("m=2", "epochs=2", *parameters) for word in ("-P", each)]
    process = server.popen(["mlflow", "run", f"{ROOT}#docker", "-e", "cutout", "-A", "network=host", *given])
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    run = server.runs()["cutout m=2 random_seed=0"]
    assert_trial(server, run, epochs=2)
    assert run.data.tags["mlflow.project.env"] == "docker"
    recorded = Path(server.client.download_artifacts(run.info.run_id, "environment.json")).read_text()
    assert image.commit in recorded
    # The store is named, so none in the container is needed.
    listing = ["--network", "host", "--read-only", "-v", "dlperf-test:/runs:ro", image.name, "runs"]
    done = image.run(*listing, "--tracking_uri", server.uri)
    docker("volume", "rm", "dlperf-test")
    assert (done.stdout, done.returncode) == ("every run has finished, and nothing waits to be sent\n", 0), done.stderr
