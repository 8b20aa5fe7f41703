"""`remote` without a host: what is refused before anything is sent, and how addresses, links and images are read."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dlperf import cli
from dlperf.errors import BadInput, EnvironmentMissing, without_logins
from dlperf.remote import docker_engine, image, logs, runs, start
from dlperf.remote.parameters import Address, is_dry_run, read_arguments
from dlperf.remote.tracking_address import TrackingAddress, why_unreachable
from dlperf.tracking import owner

HOST = ["--host", "ssh://someone@gpuhost:22"]
RUN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--entry_point", "cutout"], "host=: must be an SSH address, as ssh://user@gpuhost:22 or ssh://gpuhost"),
        (["--host", "gpuhost", "--entry_point", "cutout"], "host=gpuhost: must be an SSH address"),
        (["--host", "ssh://-oProxyCommand=x", "--entry_point", "cutout"], "host=ssh://-oProxyCommand=x: must be"),
        (["--host", "ssh://gpuhost:port", "--entry_point", "cutout"], "host=ssh://gpuhost:port: must be"),
        (HOST, "entry_point=: give one of main, "),
        ([*HOST, "--entry_point", "cutot"], "entry_point=cutot: must be one of main, "),
        (
            [*HOST, "--entry_point", "cutout", "--attach", RUN],
            f"attach={RUN}: cannot be given together with entry",
        ),
        ([*HOST, "--stop", "7"], "stop=7: must be a run id"),
        ([*HOST, "--attach", RUN, "--m", "4"], "m=4: a container that is there keeps what it was started with"),
        ([*HOST, "--entry_point", "cutout", "--memory", "16"], "memory=16: must be a whole number with its unit"),
        ([*HOST, "--entry_point", "cutout", "--data", "my/data"], "data=my/data: must be an absolute path of the host"),
        ([*HOST, "--entry_point", "cutout", "--tag", "dlperf:"], "tag=dlperf:: must be the name of an image"),
        ([*HOST, "--entry_point", "cutout", "--gpus", "0"], "gpus=0: must be all, a number above 0, or device=0,1"),
        ([*HOST, "--entry_point", "cutout", "--image", "pull"], "image=pull: must be one of build, transfer, keep"),
        ([*HOST, "--entry_point", "cutout", "--m", "abc"], "m=abc: must be an integer"),
        ([*HOST, "--entry_point", "cutout", "--mm", "4"], "mm=4: unknown parameter; did you mean m?"),
        ([*HOST, "--entry_point", "cutout", "--memry", "4g"], "memry=4g: unknown parameter; did you mean memory?"),
        (["--hots", "ssh://x", "--entry_point", "cutout"], "hots=ssh://x: unknown parameter; did you mean host?"),
        ([*HOST, "--entrypoint", "cutout"], "entrypoint=cutout: unknown parameter; did you mean entry_point?"),
        ([*HOST, "--entry_point", "cutout", "--engine", "ray"], "engine=ray: would be a Ray cluster as the container"),
        ([*HOST, "--entry_point", "compare", "--output", "x"], "output=x: would be a folder inside the container"),
        ([*HOST, "--entry_point", "compare", "--tracking_uri", "x"], "tracking_uri=x: the container is told this"),
        ([*HOST, "--entry_point", "scaling", "--hosts", "a:1,b:1"], "hosts=a:1,b:1: a container elsewhere is one host"),
        ([*HOST, "--entry_point", "cutout", "--data_dir", "/x"], "data_dir=/x: would be a path inside the container"),
        ([*HOST, "--entry_point", "cutout"], "MLFLOW_TRACKING_URI=sqlite:////x/mlflow.db: is a file of this machine"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////x/mlflow.db")
    assert cli.remote(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"dlperf remote: {message}")
    assert said.count("\n") == 1


def test_a_host_where_nothing_listens_is_status_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert cli.remote(["--host", f"ssh://127.0.0.1:{port}", "--entry_point", "cutout"]) == 3
    said = capsys.readouterr().err
    assert said == (
        "dlperf remote: 127.0.0.1 cannot be reached over SSH: nothing listens there: is sshd running, is the port "
        "right?\n"
    )


def test_the_help_has_the_entry_points_parameters_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.remote(["--help"]) == 0
    own = capsys.readouterr().out
    assert "--gpus" in own
    assert "--depth" not in own
    assert cli.main(["remote", "--entry_point", "cutout", "--help"]) == 0
    assert "--depth" in capsys.readouterr().out


def test_own_parameters_stay_and_the_others_are_passed_on() -> None:
    parameters, rest = read_arguments({"host": "ssh://gpuhost", "entry_point": "cutout", "gpus": "all", "m": "0,4"})
    assert (parameters.tag, parameters.variant, rest) == ("dlperf:gpu", "gpu", {"m": "0,4"})
    parameters, rest = read_arguments({"host": "ssh://gpuhost", "entry_point": "cutout", "tag": "registry/dlperf:1"})
    assert (parameters.tag, parameters.variant, rest) == ("registry/dlperf:1", "cpu", {})


def test_only_what_lists_its_trials_needs_no_run() -> None:
    assert is_dry_run("cutout", {"dry_run": "True"})
    assert not is_dry_run("cutout", {"dry_run": "false"})
    assert not is_dry_run("main", {})


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("ssh://gpuhost", Address("gpuhost", "", 0)),
        ("ssh://ada%40corp@gpuhost", Address("gpuhost", "ada@corp", 0)),
        ("ssh://me@gpuhost:2222", Address("gpuhost", "me", 2222)),
        ("ssh://me@GPUhost", Address("GPUhost", "me", 0)),
        ("ssh://[::1]:22", Address("::1", "", 22)),
    ],
)
def test_addresses(written: str, read_as: Address) -> None:
    assert Address.of(written) == read_as
    assert Address.of(str(read_as)) == read_as


@pytest.mark.parametrize(
    ("uri", "local", "through"),
    [
        ("http://tracker:5000", None, None),
        ("http://127.0.0.1:5000", ("127.0.0.1", 5000), "http://127.0.0.1:4711"),
        ("http://user:word@localhost:5000/mlflow", ("localhost", 5000), "http://user:word@localhost:4711/mlflow"),
        ("https://[::1]", ("::1", 443), "https://127.0.0.1:4711"),
    ],
)
def test_a_loopback_address_needs_a_tunnel(uri: str, local: tuple[str, int] | None, through: str | None) -> None:
    address = TrackingAddress.of(uri)
    assert (address.uri, address.local) == (uri, local)
    assert through is None or address.through(4711).uri == through
    environment = address.through(4711).environment
    assert environment.get("DLPERF_SHOWN_TRACKING_URI") == (without_logins(uri) if local else None)


@pytest.mark.parametrize("uri", ["", "sqlite:///mlflow.db", "./mlruns", "file:///x", "databricks", "postgresql://x/y"])
def test_what_is_no_tracking_server_is_refused_with_what_to_do(uri: str) -> None:
    with pytest.raises(BadInput, match="start `mlflow server"):
        TrackingAddress.of(uri)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://127.0.0.1:99999", "http://127.0.0.1:99999"),
        ("http://[::1", "http://[::1"),
        ("postgresql://me:secret@db/x", "postgresql://db/x"),
        ("http://me:sec/ret@db:x", "http://db:x"),
    ],
)
def test_an_address_that_cannot_be_read_is_bad_input_without_its_login(
    uri: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert cli.remote([*HOST, "--entry_point", "cutout"]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"dlperf remote: MLFLOW_TRACKING_URI={said}: must be the http(s) address")
    assert line.count("\n") == 1


def test_logins_are_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.remote(["--host", "ssh://me:secret@gpuhost", "--entry_point", "cutout"]) == 2
    assert capsys.readouterr().err.startswith("dlperf remote: host=ssh://gpuhost: must be an SSH address")
    kept = "python entrypoints/remote.py --host ssh://me@gpuhost:22 --attach x, at http://127.0.0.1:5000"
    assert without_logins(kept) == kept
    assert without_logins("sqlite:////home/me@x/mlflow.db") == "sqlite:////home/me@x/mlflow.db"


class Tracker(http.server.BaseHTTPRequestHandler):
    """Refuses as MLflow does: a name it does not serve, and whoever has no login."""

    def do_GET(self) -> None:
        """Answer."""
        foreign = not self.headers["Host"].startswith("127.0.0.1")
        self.send_response(403 if foreign and self.path.startswith("/api/") else 401)
        self.end_headers()
        self.wfile.write(b"Invalid Host header - possible DNS rebinding attack detected" if foreign else b"log in")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Engine:
    """An engine whose containers are processes here."""

    def __init__(self) -> None:
        self.containers, self.done = self, list[str]()

    def create(self, image: str, command: list[str], *, environment: dict[str, str], **_: Any) -> Any:
        """Make one."""
        ran = subprocess.run([sys.executable, *command], env={**os.environ, **environment}, capture_output=True)
        return SimpleNamespace(
            start=lambda: None,
            wait=lambda: {"StatusCode": ran.returncode},
            logs=lambda **_: ran.stderr,
            remove=lambda **how: self.done.append(f"removed {sorted(how)}"),
        )


def test_whether_a_container_gets_an_answer() -> None:
    client = Engine()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tracker) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port
        answers = {
            name: why_unreachable(client, "dlperf", "host", TrackingAddress.of(f"http://{name}:{port}/"))
            for name in ("127.0.0.1", "me:word@127.0.0.1", "localhost")
        }
        server.shutdown()
    refusal = "it refuses this name: start it with --allowed-hosts"
    assert answers == {"127.0.0.1": "", "me:word@127.0.0.1": "", "localhost": refusal}
    gone = why_unreachable(client, "dlperf", "host", TrackingAddress.of(f"http://127.0.0.1:{port}"))
    assert "refused" in gone
    assert client.done == ["removed ['force', 'v']"] * 4


def test_how_to_log_in_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_RUN_ID", RUN)
    environment = TrackingAddress.of("http://tracker:5000").environment
    assert environment == {"MLFLOW_TRACKING_URI": "http://tracker:5000", "MLFLOW_TRACKING_USERNAME": "me"} | {
        name: value for name, value in os.environ.items() if name.startswith("MLFLOW_HTTP_REQUEST_")
    }


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


@pytest.fixture
def namespace(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts this process into a PID namespace."""
    return lambda name: monkeypatch.setattr(os, "readlink", lambda path: f"pid:[{name}]")


def test_a_container_with_its_hosts_name_counts_its_own_processes(namespace: Callable[[str], None]) -> None:
    namespace("4026531836")
    outside = owner.this_process()
    assert outside.split()[0] == socket.gethostname()
    gone = outside.replace(" ", " 9999999", 1)
    assert owner.is_gone(gone)
    namespace("4026532999")
    assert not owner.is_gone(gone)  # of another place nothing is known
    assert not owner.is_another(outside)
    assert owner.is_gone(owner.this_process().replace(" ", " 9999999", 1))


class FakeContainer:
    """A container that has ended; remembers what is done to it."""

    def __init__(self, port: int = 0) -> None:
        self.name, self.labels, self.done = "dlperf-cutout", {"dlperf.tunnel_port": str(port)}, list[str]()
        self.attrs = {"State": {"OOMKilled": False}}

    def reload(self) -> None:
        """Nothing is new."""

    def stop(self, timeout: int) -> None:
        """End it."""
        self.done.append("stopped")

    def remove(self, **_: bool) -> None:
        """Remove it."""
        self.done.append("removed")


def host_with(*found: FakeContainer) -> start.Host:
    client = SimpleNamespace(containers=SimpleNamespace(list=lambda **_: list(found)))
    link: Any = SimpleNamespace(name="gpuhost", address=Address("gpuhost", "", 0))
    return start.Host(link, client)


STORE: Any = SimpleNamespace(uri="http://tracker:5000", experiment_id="0")


@pytest.mark.parametrize(
    ("status", "port", "was_open", "done"),
    [
        (1, 0, True, ["settled", "removed"]),
        (3, 0, True, ["settled", "removed"]),
        (3, 4711, True, ["settled"]),
        (3, 4711, False, ["settled", "removed"]),  # it could tell its tracking server: something else was missing
        (0, 1, False, ["settled", "removed"]),
    ],
)
def test_the_run_is_settled_before_the_container_is_removed(
    status: int,
    port: int,
    was_open: bool,
    done: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    container = FakeContainer(port)
    monkeypatch.setattr(logs, "follow", lambda link, container: status)
    monkeypatch.setattr(runs, "settle", lambda *_: container.done.append("settled") or was_open)
    assert start._follow(host_with(container), STORE, container, RUN) == status
    assert container.done == done
    assert (f"--host ssh://gpuhost --attach {RUN}" in capsys.readouterr().err) == ("removed" not in done)


def test_a_container_whose_run_cannot_be_settled_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowException

    def settle(*_: Any) -> None:
        raise MlflowException("connection refused")

    container = FakeContainer()
    monkeypatch.setattr(logs, "follow", lambda link, container: 1)
    monkeypatch.setattr(runs, "settle", settle)
    monkeypatch.setattr(runs, "find", lambda store, parameter, run_id: SimpleNamespace(id=run_id, tags={}))
    monkeypatch.setattr(runs, "is_open", lambda store, run_id: True)
    with pytest.raises(EnvironmentMissing, match=f"connection refused: .* is kept on gpuhost; .* --attach {RUN}"):
        start._follow(host_with(container), STORE, container, RUN)
    with pytest.raises(EnvironmentMissing, match="is kept on gpuhost"):
        start._stop(host_with(container), STORE, TrackingAddress.of("http://tracker:5000"), RUN)
    assert container.done == ["stopped"]


def test_an_open_run_without_a_container_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[str] = []
    monkeypatch.setattr(runs, "find", lambda store, parameter, run_id: SimpleNamespace(id=run_id, tags={}))
    monkeypatch.setattr(runs, "settle", lambda store, run_id, status, reason: settled.append(status))
    monkeypatch.setattr(runs, "is_open", lambda store, run_id: not settled)
    address = TrackingAddress.of("http://tracker:5000")
    elsewhere = SimpleNamespace(id=RUN, tags={"dlperf.process": "laptop 4711 9"})
    with monkeypatch.context() as patch:
        patch.setattr(runs, "find", lambda store, parameter, run_id: elsewhere)
        with pytest.raises(BadInput, match="no container on gpuhost: it is run by the process laptop 4711"):
            start._stop(host_with(), STORE, address, RUN)
    assert settled == []
    assert start._stop(host_with(), STORE, address, RUN) == 0
    assert settled == ["KILLED"]
    with pytest.raises(BadInput, match="gpuhost has no container of this run"):
        start._stop(host_with(), STORE, address, RUN)


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
