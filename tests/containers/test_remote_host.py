"""`remote` on a second engine over real SSH: from the first start to a killed connection."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dlperf import entry_points
from dlperf.errors import EnvironmentMissing
from dlperf.parameters import parse
from dlperf.remote import docker_engine, image, link, logs, tracking_address
from dlperf.remote.link import Link
from dlperf.remote.parameters import Address, RemoteParameters
from tests.containers.conftest import BASE_IMAGE
from tests.support.contract import assert_trial
from tests.support.desk import ROOT, SMALL, Started, eventually, wait_for_line
from tests.support.second_host import ADDRESS, SecondHost
from tests.support.served_desk import ServedDesk, served

pytestmark = [pytest.mark.container, pytest.mark.slow]
LONG = ["--m", "2", "--epochs", "2000"]
# Where a container loses its tracking server: it ends soon after its training, which goes on for a moment.
LOST = ["--m", "2", "--epochs", "12", "--finish_seconds", "3"]


class Caller:
    """Whoever starts `remote`, with a tracking server of the own loopback."""

    def __init__(self, host: SecondHost, server: ServedDesk) -> None:
        self.host, self.server = host, server

    @property
    def environment(self) -> dict[str, str]:
        return {**self.server.environment, "PATH": f"{self.host.path}{os.pathsep}{self.server.environment['PATH']}"}

    def start(self, *arguments: str, url: str = "", **environment: str) -> Started:
        command = [sys.executable, "entrypoints/remote.py", "--host", url or self.host.url, *arguments]
        return self.server.popen(command, **self.environment, **environment)

    def finish(self, *arguments: str, url: str = "", **environment: str) -> tuple[int, str]:
        process = self.start(*arguments, url=url, **environment)
        output, _ = process.communicate(timeout=300)
        return process.returncode, output

    def cutout(self, *arguments: str) -> list[str]:
        return ["--base_image", BASE_IMAGE, "--entry_point", "cutout", *SMALL, *arguments]

    def run(self, run_id: str) -> Any:
        return self.server.client.get_run(run_id)


@pytest.fixture
def caller(host: SecondHost, server: ServedDesk) -> Iterator[Caller]:
    """A caller; whatever a test leaves on the host is removed after it."""
    yield Caller(host, server)
    host.ssh("docker rm --force --volumes $(docker ps --all --quiet)")


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def was_started(caller: Caller, process: Started) -> str:
    """The run of a start that trains by now."""
    lines = wait_for_line(process, "epoch 1/")
    (run_id,) = {found[1] for line in lines if (found := re.search(r"run (\w{32}) is in", line))}
    assert caller.host.containers() == [f"dlperf-cutout-{run_id}"]
    return run_id


def test_a_run_on_the_host_keeps_the_tracking_contract(caller: Caller) -> None:
    volumes = set(caller.host.ssh("docker volume ls --quiet").split())
    status, output = caller.finish(*caller.cutout("--m", "2", "--epochs", "3", "--memory", "4g"))
    assert status == 0, output
    assert caller.host.containers() == []
    more = set(caller.host.ssh("docker volume ls --quiet").split()) - volumes
    assert more <= {"dlperf-data", "dlperf-cache", "dlperf-state"}
    assert f"the image dlperf on {ADDRESS} is up to date" in output  # the fixture had it built
    (run_id,) = re.findall(rf"^run (\w+): {caller.server.uri}/#/", output, re.MULTILINE)
    assert_trial(caller.server, caller.run(run_id), epochs=3)

    runs = len(caller.server.client.search_runs(["0"]))
    status, output = caller.finish(
        *caller.cutout("--m", "0,2", "--dry_run", "true", "--measure", "false", "--network", "host")
    )
    assert status == 0, output
    assert "cutout m=2 random_seed=0" in output
    assert len(caller.server.client.search_runs(["0"])) == runs
    assert caller.host.containers() == []


def test_a_model_and_data_of_ones_own_are_sent_once_and_give_the_same_trial(caller: Caller, tmp_path: Path) -> None:
    """Tried by a dry run first, in which the container reads them and trains nothing."""
    import keras
    import numpy as np

    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(tmp_path / "my.keras")
    draw = np.random.default_rng()  # unlike those of an earlier start, which the host may have kept
    arrays = {f"x_{split}": draw.normal(size=(200, 2)) for split in ("train", "test")}
    np.savez(tmp_path / "my.npz", **arrays, **{f"y_{split}": np.arange(200) % 2 for split in ("train", "test")})
    given = {"model": f"keras:{tmp_path}/my.keras", "dataset": f"npz:{tmp_path}/my.npz", "protocol": "corrected"}
    given |= {"optimizer": "adam", "learning_rate": "0.01", "epochs": "2", "threads": "1"}
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    own = ["--base_image", BASE_IMAGE, "--entry_point", "optimizers", *words]
    status, output = caller.finish(*own, "--dry_run", "true", "--measure", "false")
    assert status == 0, output
    assert f"sending my.keras to {ADDRESS}" in output
    assert f"sending my.npz to {ADDRESS}" in output
    status, output = caller.finish(*own)
    assert status == 0, output
    assert f"my.keras is on {ADDRESS} already" in output
    assert f"my.npz is on {ADDRESS} already" in output
    assert "sending" not in output
    (run_id,) = re.findall(rf"^run (\w+): {caller.server.uri}/#/", output, re.MULTILINE)
    run = caller.run(run_id)
    problem = entry_points.load_problem("optimizers")
    assert run.data.tags["dlperf.trial_key"] == problem.trial_key(parse(problem.parameters, given).trials[0])
    assert (run.data.params["model"], run.data.params["dataset"]) == ("keras:my.keras", "npz:my.npz")
    assert caller.host.containers() == []


def test_a_container_outlives_ctrl_c_and_is_found_again_and_stopped(caller: Caller) -> None:
    process = caller.start(*caller.cutout(*LONG))
    run_id = was_started(caller, process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"--attach {run_id} (or --stop {run_id})" in output
    assert caller.host.containers() == [f"dlperf-cutout-{run_id}"]

    status, output = caller.finish(*caller.cutout("--image", "keep"), MLFLOW_RUN_ID=run_id)
    assert (status, output.count("\n")) == (2, 1), output
    assert f"MLFLOW_RUN_ID={run_id}: has its container on {ADDRESS}: --attach {run_id}" in output
    assert caller.run(run_id).info.status == "RUNNING"

    before = len(caller.server.client.get_metric_history(run_id, "train_loss"))
    attached = caller.start("--attach", run_id)
    wait_for_line(attached, "epoch 1/")  # from the beginning of what it wrote
    eventually(lambda: len(caller.server.client.get_metric_history(run_id, "train_loss")) > before + 2)

    links = set(Path(tempfile.gettempdir()).glob("dlperf-*/ssh"))
    killed = caller.start("--attach", run_id)
    wait_for_line(killed, "epoch 1/")
    (control,) = set(Path(tempfile.gettempdir()).glob("dlperf-*/ssh")) - links
    connections = [each for each in psutil.process_iter() if str(control) in " ".join(_command(each))]
    assert connections
    killed.kill()
    killed.communicate()
    psutil.wait_procs(connections, timeout=20)
    assert not [each for each in connections if each.is_running()]
    assert not control.parent.exists()

    status, output = caller.finish("--stop", run_id)
    assert status == 0, output
    output, _ = attached.communicate(timeout=60)
    # The container's own status, or, where --stop was quicker to remove it, that this has happened.
    assert attached.returncode == 128 + signal.SIGTERM or "ended and removed from elsewhere" in output
    assert "Traceback" not in output
    assert caller.host.containers() == []
    run = caller.run(run_id)
    assert (run.info.status, run.data.tags["dlperf.ended"]) == ("KILLED", "killed")
    steps = [m.step for m in caller.server.client.get_metric_history(run_id, "train_loss")]
    assert steps == list(range(1, len(steps) + 1))

    status, output = caller.finish("--attach", run_id)
    assert status == 2
    assert f"attach={run_id}: {ADDRESS} has no container of this run" in output


def test_a_lost_connection_leaves_the_container_which_ends_its_run_when_it_is_found_again(caller: Caller) -> None:
    process = caller.start(*caller.cutout(*LOST))
    run_id = was_started(caller, process)
    (connection,) = (each for each in psutil.Process(process.pid).children() if "-M" in _command(each))
    connection.kill()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 3, output
    assert f"the connection to {ADDRESS} is lost: the container dlperf-cutout-{run_id} keeps running" in output
    assert "Traceback" not in output

    running = "docker ps --quiet"
    eventually(lambda: not caller.host.ssh(running).strip(), seconds=90)  # it ends without its tracking server
    assert caller.run(run_id).info.status == "RUNNING"
    status, output = caller.finish("--attach", run_id)
    assert status == 0, output
    assert "had ended without its tracking server: it goes on from its state" in output
    assert_trial(caller.server, caller.run(run_id), epochs=12)
    assert caller.host.containers() == []


def test_a_pulled_cable_is_told_and_the_container_goes_on(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """With less patience than `remote` has: its 40 seconds would be waited out here."""
    process = caller.start(*caller.cutout(*LONG))
    run_id = was_started(caller, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    monkeypatch.setenv("PATH", caller.environment["PATH"])
    monkeypatch.setitem(link._OPTIONS, "ServerAliveInterval", "1")
    cable = ["ip", "link", "set", "dlperf0"]
    with Link(Address.of(caller.host.url)) as connection, docker_engine.connected(connection) as client:
        container = client.containers.get(f"dlperf-cutout-{run_id}")
        pull = threading.Timer(2, subprocess.run, [[*cable, "down"]])
        pull.start()
        try:
            with pytest.raises(EnvironmentMissing, match=f"the connection to {ADDRESS} is lost"):
                logs.follow(connection, container)
        finally:
            pull.join()
            subprocess.run([*cable, "up"], check=True)
    assert caller.finish("--stop", run_id)[0] == 0
    assert caller.run(run_id).info.status == "KILLED"


def test_a_caller_that_has_vanished_does_not_keep_the_port_of_its_tunnel(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection stands and is silent, as that of a machine that was put to sleep."""
    monkeypatch.setenv("PATH", caller.environment["PATH"])
    monkeypatch.setattr(link, "_BEAT_SECONDS", 0.5)
    monkeypatch.setattr(link, "_SILENT_SECONDS", 3)
    address, server = Address.of(caller.host.url), ("127.0.0.1", caller.server.port)
    with Link(address) as vanished, Link(address) as there:
        port = vanished.tunnel_back(*server)
        time.sleep(5)
        with pytest.raises(EnvironmentMissing, match=f"port {port} is still taken there"):
            there.tunnel_back(*server, at=port)

        def is_free() -> bool:
            try:
                return there.tunnel_back(*server, at=port) == port
            except EnvironmentMissing:
                return False

        os.kill(vanished._master.pid, signal.SIGSTOP)
        try:
            eventually(is_free, seconds=15)
        finally:
            os.kill(vanished._master.pid, signal.SIGCONT)


def test_a_container_that_was_removed_by_hand_leaves_no_run_running(caller: Caller) -> None:
    process = caller.start(*caller.cutout(*LONG))
    run_id = was_started(caller, process)
    caller.host.ssh(f"docker rm --force dlperf-cutout-{run_id}")
    output, _ = process.communicate(timeout=60)
    assert process.returncode in (1, 137), output
    assert caller.run(run_id).info.status == "FAILED"


def test_a_tracking_server_that_dies_under_a_start_costs_nothing(caller: Caller, tmp_path: Path) -> None:
    """The container trains on and stays; the run is resumed once the server is back at its address."""
    store = f"sqlite:///{tmp_path}/mlflow.db"
    with served(tmp_path, store) as desk:
        caller.server = desk
        process = caller.start(*caller.cutout(*LOST))
        run_id = was_started(caller, process)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 3, output
    assert f"dlperf remote: the tracking server {desk.uri} failed: " in output
    kept = f"the container dlperf-cutout-{run_id} is kept on {ADDRESS}; to find it again: "
    assert f"{kept}python entrypoints/remote.py --host {caller.host.url} --attach {run_id}" in output
    assert "Traceback" not in output
    assert caller.host.containers() == [f"dlperf-cutout-{run_id}"]
    status, output = caller.finish("--stop", run_id)
    assert (status, output.count("\n")) == (3, 1), output
    assert output.startswith(f"dlperf remote: the tracking server {desk.uri} cannot be used: ")

    with served(tmp_path, store, desk.port) as caller.server:
        status, output = caller.finish("--attach", run_id)
        assert status == 0, output
        assert_trial(caller.server, caller.run(run_id), epochs=12)
    assert caller.host.containers() == []


def test_a_run_whose_container_is_gone_is_stopped_too(caller: Caller) -> None:
    run_id = caller.server.client.create_run("0").info.run_id
    status, output = caller.finish("--stop", run_id)
    assert (status, output.count("\n")) == (0, 1), output
    assert caller.run(run_id).info.status == "KILLED"


def test_the_memory_limit_ends_the_run_failed(caller: Caller) -> None:
    status, output = caller.finish(*caller.cutout("--memory", "200m", "--image", "keep"))
    assert status == 137, output
    assert "ended with status 137, at its memory limit" in output
    (run_id,) = set(re.findall(r"run (\w{32}) is in", output))
    run = caller.run(run_id)
    assert (run.info.status, run.data.tags["dlperf.failure"]) == ("FAILED", "memory")
    assert caller.host.containers() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpus", "all"], f"{ADDRESS}: gpus=all was asked for and its engine has no GPU runtime: "),
        (["--image", "keep", "--tag", "nosuch"], f"{ADDRESS} has no image nosuch: "),
        (["--image", "transfer", "--tag", "nosuch"], "this machine has no image nosuch: "),
        (["--data", "/no/such/folder"], f"{ADDRESS}: there is no folder /no/such/folder for --data: "),
        (["--memory", "1m", "--image", "keep"], "the engine cannot start the container: "),
        (["--network", "bridge", "--image", "keep"], f"a container on {ADDRESS} cannot reach the tracking server http"),
    ],
    ids=["no GPU runtime", "no image there", "no image here", "no data", "no memory", "no bridge"],
)
def test_what_is_missing_on_the_host_is_one_line_and_leaves_nothing(
    caller: Caller, arguments: list[str], message: str
) -> None:
    images = caller.host.ssh("docker images --quiet")
    status, output = caller.finish(*caller.cutout(*arguments))
    assert status == 3, output
    assert output.startswith(f"dlperf remote: {message}")
    assert output.count("\n") == 1
    assert caller.host.containers() == []
    assert caller.host.ssh("docker images --quiet") == images
    assert not [run for run in caller.server.client.search_runs(["0"]) if run.info.status == "RUNNING"]


def test_a_host_without_an_engine_or_with_an_unknown_key(caller: Caller) -> None:
    status, output = caller.finish(*caller.cutout(), url=caller.host.url_without_engine)
    assert (status, output.count("\n")) == (3, 1), output
    assert f"{ADDRESS}: there is no Docker engine at /run/none.sock" in output

    known = caller.host.folder / "known_hosts"
    keys = known.read_text()
    known.write_text("")
    try:
        status, output = caller.finish(*caller.cutout())
    finally:
        known.write_text(keys)
    assert (status, output.count("\n")) == (3, 1), output
    assert f"{ADDRESS} cannot be reached over SSH: its host key is not known here" in output


def test_a_transfer_sends_the_image_once_and_no_other_of_its_name(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["dlperf-test-transfer:latest", "dlperf-test-transfer:other"]
    for name in names:
        subprocess.run(["docker", "import", "-", name], input=bytes(10240), check=True, capture_output=True)
    monkeypatch.setenv("PATH", caller.environment["PATH"])
    given = {"host": caller.host.url, "entry_point": "cutout", "image": "transfer", "tag": "dlperf-test-transfer"}
    (parameters,) = parse(RemoteParameters, given).trials
    try:
        with Link(Address.of(caller.host.url)) as there, docker_engine.connected(there) as client:
            ids = {image.provide(client, there.name, parameters) for _ in range(2)}
        assert len(ids) == 1
        assert caller.host.ssh("docker images --format '{{.Tag}}' dlperf-test-transfer").split() == ["latest"]
        first, second = capsys.readouterr().err.splitlines()
        assert first.startswith(f"dlperf remote: transferring the image dlperf-test-transfer to {ADDRESS}")
        assert second.endswith("is the one of this machine")
    finally:
        subprocess.run(["docker", "rmi", *names], check=True, capture_output=True)
        caller.host.ssh("docker rmi dlperf-test-transfer")


def test_links_that_break_beyond_the_host(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room, and a tracking server that only a container there can tell is out of reach."""
    monkeypatch.setenv("PATH", caller.environment["PATH"])
    with Link(Address.of(caller.host.url)) as there, docker_engine.connected(there) as client:
        with pytest.raises(EnvironmentMissing, match=r"GB are free in /.* and 1000000 are needed"):
            docker_engine.check_disk(there, client, 10**6)
        nowhere = tracking_address.TrackingAddress.of("http://127.0.0.1:9")
        with pytest.raises(EnvironmentMissing, match=r"cannot reach the tracking server http://127.0.0.1:9: .*refused"):
            tracking_address.check_reachable(there, client, "dlperf", "host", nowhere)
        assert caller.host.containers() == []


def test_it_is_a_sub_command_too_and_a_run_that_is_none_is_refused(caller: Caller) -> None:
    command = [sys.executable, "-m", "dlperf", "remote", "--host", caller.host.url, "--stop", "0" * 32]
    done = subprocess.run(command, cwd=ROOT, env=caller.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"stop={'0' * 32}: {caller.server.uri} has no such run" in done.stderr
