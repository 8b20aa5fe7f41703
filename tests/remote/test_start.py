"""`remote` without a host: what is refused before anything is sent, and how addresses, links and images are read."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import pytest

from dlperf import cli
from dlperf.errors import BadInput, EnvironmentMissing, TrialFailed
from dlperf.remote import logs, runs, start
from dlperf.remote.parameters import Address, is_dry_run, read_arguments
from dlperf.remote.tracking_address import TrackingAddress
from dlperf.tracking import owner
from tests.support.fake_container import FakeContainer

HOST = ["--host", "ssh://someone@gpuhost:22"]
OWN = ["--entry_point", "optimizers", "--protocol", "corrected"]
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
        (
            [*HOST, *OWN, "--model", "keras:/no/my.keras"],
            "model=keras:/no/my.keras: there is no such file: looked for /no/my.keras",
        ),
        ([*HOST, *OWN, "--dataset", "npz:no.npz"], f"dataset=npz:no.npz: is not there: looked for {Path.cwd()}/no.npz"),
        ([*HOST, *OWN, "--dataset", "images:/no"], "dataset=images:/no: is not there: looked for /no"),
        (
            [*HOST, "--entry_point", "architectures", "--subject", "alexnet,keras:/x/my.keras"],
            "subject=keras:/x/my.keras: is a file of this machine, where it is counted alike",
        ),
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


def test_an_ended_container_has_the_status_it_ended_with_and_a_removed_one_has_none() -> None:
    """Docker's `wait` says 0 of one that is being removed."""
    ended: Any = FakeContainer()
    ended.attrs = {"State": {"ExitCode": 143}}
    ended.logs, ended.wait = lambda **_: iter(()), lambda: {"StatusCode": 0}
    link: Any = SimpleNamespace(name="gpuhost")
    assert logs.follow(link, ended) == 143

    def removed() -> None:
        raise docker.errors.NotFound("no such container")

    ended.reload = removed
    with pytest.raises(TrialFailed, match="was ended and removed from elsewhere"):
        logs.follow(link, ended)
