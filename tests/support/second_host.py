"""A second host for the tests: sshd and a Docker engine of its own, in network, mount and process namespaces."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ADDRESS = "10.77.0.2"
CALLER = "10.77.0.1"
_NAMESPACE = "dlperf-host"
_CODE = 4  # layers of the image from the first COPY of code on
_INSIDE = Path(__file__).with_name("second_host.sh")


def why_not() -> str:
    """Why no second host can be made here, "" if it can."""
    if os.geteuid() != 0:
        return "a second host needs root, for its namespaces"
    needed = ("ip", "nsenter", "unshare", "docker", "dockerd", "sshd", "ssh", "ssh-keygen")
    if missing := [name for name in needed if not shutil.which(name)]:
        return f"a second host needs {', '.join(missing)}"
    allowed = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True)
    return "a second host needs the right to make namespaces" if allowed.returncode else ""


@dataclass
class SecondHost:
    """The host; `folder` holds keys, configuration, logs and what its engine keeps."""

    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"ssh://root@{ADDRESS}:22"

    @property
    def url_without_engine(self) -> str:
        """The same host for a user whose docker command finds no engine."""
        return f"ssh://root@{ADDRESS}:23"

    @property
    def path(self) -> Path:
        """A folder whose `ssh` is OpenSSH's with the keys of this test, to be put first on PATH."""
        return self.folder / "bin"

    def start(self) -> None:
        self._write_configuration()
        self.clean()
        for command in (
            f"ip netns add {_NAMESPACE}",
            f"ip link add dlperf0 type veth peer name eth0 netns {_NAMESPACE}",
            f"ip addr add {CALLER}/30 dev dlperf0",
            "ip link set dlperf0 up",
            f"ip -n {_NAMESPACE} addr add {ADDRESS}/30 dev eth0",
            f"ip -n {_NAMESPACE} link set eth0 up",
        ):
            subprocess.run(command.split(), check=True)
        # Not `ip netns exec`, which hides the control groups that the engine needs under a new /sys.
        own = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{_NAMESPACE}", *own, "bash", str(_INSIDE), str(self.folder)],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        (self.folder / "pid").write_text(str(self.process.pid))
        deadline = time.monotonic() + 60
        while not self.ssh("docker version --format '{{.Server.Version}}'").strip():
            assert time.monotonic() < deadline, (self.folder / "dockerd.log").read_text()[-2000:]
            time.sleep(0.3)

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.clean()

    def clean(self) -> None:
        """Remove processes and network, also those that an interrupted start has left."""
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            left = psutil.Process(int((self.folder / "pid").read_text()))
            if str(_INSIDE) in left.cmdline() and str(self.folder) in left.cmdline():
                left.kill()
                left.wait(10)
        subprocess.run(["ip", "link", "del", "dlperf0"], capture_output=True)
        subprocess.run(["ip", "netns", "del", _NAMESPACE], capture_output=True)

    def ssh(self, command: str) -> str:
        done = subprocess.run(
            [str(self.path / "ssh"), f"root@{ADDRESS}", command], capture_output=True, text=True, timeout=120
        )
        return done.stdout

    def containers(self) -> list[str]:
        """The names of all its containers."""
        return self.ssh("docker ps --all --format '{{.Names}}'").split()

    def load(self, *images: str) -> None:
        """Copy images from the first engine, unless all of their layers are there but the last ones, those of code."""
        wanted = _layers(subprocess.run(["docker", "inspect", *images], capture_output=True, text=True).stdout, -_CODE)
        if wanted <= _layers(self.ssh(f"docker inspect {' '.join(images)}")):
            return
        save = subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE)
        load = [str(self.path / "ssh"), f"root@{ADDRESS}", "docker load"]
        subprocess.run(load, stdin=save.stdout, check=True, capture_output=True)
        assert save.wait() == 0

    def _write_configuration(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        for name in ("host_key", "user_key"):
            if not (self.folder / name).exists():
                command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
                subprocess.run(command, check=True)
        key = (self.folder / "host_key.pub").read_text()
        (self.folder / "known_hosts").write_text(f"{ADDRESS} {key}[{ADDRESS}]:23 {key}")
        (self.folder / "ssh_config").write_text(
            f"IdentityFile {self.folder}/user_key\nIdentitiesOnly yes\nUserKnownHostsFile {self.folder}/known_hosts\n"
        )
        for name, port, more in (
            ("sshd_config", 22, ""),
            ("sshd_config_without_engine", 23, "SetEnv DOCKER_HOST=unix:///run/none.sock\n"),
        ):
            (self.folder / name).write_text(
                f"Port {port}\nListenAddress {ADDRESS}\nHostKey {self.folder}/host_key\nPidFile none\nUsePAM no\n{more}"
                f"AuthorizedKeysFile {self.folder}/user_key.pub\nStrictModes no\nPermitRootLogin prohibit-password\n"
            )
        ssh = self.path / "ssh"
        ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {self.folder}/ssh_config "$@"\n')
        ssh.chmod(0o755)


def _layers(inspected: str, end: int | None = None) -> set[str]:
    described: list[dict[str, Any]] = json.loads(inspected or "[]")
    return {layer for each in described for layer in each["RootFS"]["Layers"][:end]}
