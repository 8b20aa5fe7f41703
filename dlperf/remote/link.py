"""One SSH connection to the host, which carries everything: commands, the engine's socket, the tunnel back.

It is OpenSSH's program, not a library: keys, agents, jump hosts and known hosts are then what the user's ssh has,
and the same connection (ssh's control socket) takes further commands and forwardings.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from dlperf.errors import EnvironmentMissing, in_one_line
from dlperf.remote.parameters import Address

_CONNECT_SECONDS = 15
_OPTIONS = {
    "BatchMode": "yes",  # a question nobody sees would hang
    "ConnectTimeout": str(_CONNECT_SECONDS),
    "ServerAliveInterval": "10",  # a connection that is lost ends ssh within 40 seconds
    "ServerAliveCountMax": "3",
    "ExitOnForwardFailure": "no",  # a forwarding that fails is said by the command that asks for it
    "ControlPersist": "no",  # the user's setting could let the connection outlive its process
    "LogLevel": "ERROR",
}
# This program may be killed at once (SIGKILL), and the connection is not to outlive it: whoever reads its pipe to the
# end closes the connection, or ends an ssh that has not come so far.
_WATCH = 'cat > /dev/null; "$@" 2> /dev/null || kill "$SSH"; rm -rf "$FOLDER"'
_BEGIN = "dlperf-begin"
# A host does not notice that a machine has gone to sleep, and would hold the tunnel's port for hours: without a beat it
# ends its side of the connection, the first sshd above this shell. (`read -t` is not in every sh.)
_BEAT_SECONDS, _SILENT_SECONDS = 15, 60
_GUARD = (
    "command -v timeout > /dev/null || exit 0; p=$$;"
    " while [ $p -gt 1 ]; do case $(cat /proc/$p/comm) in sshd*) break;; esac;"
    " p=$(sed 's/.*) . //; s/ .*//' /proc/$p/stat); done; [ $p -gt 1 ] || exit 0;"
    ' while [ -n "$(timeout {seconds} head -c 1)" ]; do :; done; kill $p'
)
# What ssh says, and what a user can do about it.
_REASONS = {
    "HOST IDENTIFICATION HAS CHANGED": "its host key has changed: find out why, then `ssh-keygen -R` the old one",
    "Host key verification failed": "its host key is not known here: `ssh` there once and compare the fingerprint",
    "Permission denied": "the login is refused: it has to work unasked (a key; ssh-agent for its phrase)",
    "Could not resolve hostname": "there is no host of this name",
    "Connection refused": "nothing listens there: is sshd running, is the port right?",
    "timed out": "it does not answer: is it up, is a firewall between?",
    "No route to host": "there is no way to it: is it up, is a VPN missing?",
}


class Link:
    """An open connection to the host; closing it closes every forwarding."""

    def __init__(self, address: Address) -> None:
        """Connect.

        Raises:
            EnvironmentMissing: If there is no ssh here, or the host cannot be reached or refuses.
        """
        if shutil.which("ssh") is None:
            raise EnvironmentMissing("there is no ssh on this machine: install OpenSSH's client")
        self.address = address
        self._folder = Path(tempfile.mkdtemp(prefix="dlperf-"))  # short: a socket's path has at most 104 characters
        self._control = self._folder / "ssh"
        self._errors = (self._folder / "errors").open("w+")
        self._master = subprocess.Popen(
            self._ssh("-M", "-N"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is for this program, which still has to talk to the host
        )
        self._watch = subprocess.Popen(
            ["sh", "-c", _WATCH, "sh", *self._ssh("-O", "exit")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "SSH": str(self._master.pid), "FOLDER": str(self._folder)},
        )
        try:
            self._wait_until_open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    @property
    def name(self) -> str:
        """The host's name, for messages."""
        return self.address.host

    @property
    def alive(self) -> bool:
        """Whether the connection stands."""
        return self._master.poll() is None

    def is_lost(self) -> bool:
        """Whether the connection has ended, also where it is ending just now."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._master.wait(1)
        return not self.alive

    @property
    def complaint(self) -> str:
        """What ssh has complained of, in one line; "" if it has not."""
        return in_one_line((self._folder / "errors").read_text(errors="replace"))

    def run(self, command: str, seconds: float = 30) -> str:
        """Run a shell command on the host.

        Args:
            command: For `sh`.
            seconds: How long it may take.

        Returns:
            Its standard output, whatever its exit status.

        Raises:
            EnvironmentMissing: If the connection is lost.
        """
        # What the login shell's start-up files write (a greeting in .bashrc) comes before.
        command = f"echo {_BEGIN}; {command}"
        done = self._ask(command=f"sh -c {shlex.quote(command)}", seconds=seconds)
        if done.returncode == 255:
            said = in_one_line(done.stderr) or self.complaint
            raise EnvironmentMissing(f"the connection to {self.name} is lost: {said}")
        return done.stdout.partition(f"{_BEGIN}\n")[2]

    def forward_socket(self, path: str) -> Path:
        """Let a socket of the host appear here.

        Args:
            path: The socket's path on the host.

        Returns:
            Its path here.

        Raises:
            EnvironmentMissing: If ssh cannot forward it.
        """
        here = self._folder / "socket"
        done = self._ask("-O", "forward", "-L", f"{here}:{path}")
        if done.returncode:
            raise EnvironmentMissing(
                f"{self.name}: its {path} cannot be forwarded over SSH: {in_one_line(done.stderr)}"
            )
        return here

    def tunnel_back(self, host: str, port: int, at: int = 0) -> int:
        """Let a port on the host's loopback lead to a server that this machine reaches.

        Args:
            host: The server's host, as seen from here.
            port: The server's port.
            at: The port on the host; 0 takes any that is free.

        Returns:
            The port on the host.

        Raises:
            EnvironmentMissing: If the host refuses, or the port is taken.
        """
        there = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        done = self._ask("-O", "forward", "-R", f"127.0.0.1:{at}:{there}")
        if done.returncode:
            taken = (
                f"port {at} is still taken there (by a lost connection? then try again in a minute), or " if at else ""
            )
            said = in_one_line(done.stderr) or "ssh gives no reason"
            raise EnvironmentMissing(
                f"{self.name}: no tunnel back to {there}: {taken}its sshd forbids it (AllowTcpForwarding); or "
                f"use a tracking server that the host reaches by itself ({said})"
            )
        self._guard()
        return at or int(done.stdout)

    def _guard(self) -> None:
        """Let the host end its side of the connection when it hears nothing of this one."""
        guard = subprocess.Popen(
            self._ssh(command=f"sh -c {shlex.quote(_GUARD.replace('{seconds}', str(_SILENT_SECONDS)))}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

        def beat(pipe: IO[bytes]) -> None:
            # Ends with the connection, when the pipe breaks.
            with contextlib.suppress(OSError):
                while guard.poll() is None:
                    pipe.write(b".")
                    pipe.flush()
                    time.sleep(_BEAT_SECONDS)

        assert guard.stdin is not None
        threading.Thread(target=beat, args=(guard.stdin,), daemon=True).start()

    def close(self) -> None:
        """End the connection and remove what it left here."""
        if not self.alive:
            self._watch.kill()
        assert self._watch.stdin is not None
        self._watch.stdin.close()
        for process in (self._watch, self._master):
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._errors.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait_until_open(self) -> None:
        """Wait for the control socket, which ssh makes when the login is done."""
        deadline = time.monotonic() + 2 * _CONNECT_SECONDS
        while self._master.poll() is None and time.monotonic() < deadline:
            if self._control.exists():
                return
            time.sleep(0.05)
        said = (self._folder / "errors").read_text(errors="replace")
        reason = next((words for sign, words in _REASONS.items() if sign in said), self.complaint or "no answer")
        raise EnvironmentMissing(f"{self.name} cannot be reached over SSH: {reason}")

    def _ask(self, *options: str, command: str = "", seconds: float = 30) -> subprocess.CompletedProcess[str]:
        """Ask the open connection for something."""
        try:
            return subprocess.run(
                self._ssh(*options, command=command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            raise EnvironmentMissing(f"{self.name} does not answer over SSH for {seconds:.0f} seconds") from None

    def _ssh(self, *options: str, command: str = "") -> list[str]:
        """The command line of ssh."""
        settings = [word for name, value in _OPTIONS.items() for word in ("-o", f"{name}={value}")]
        login = ["-l", self.address.user] if self.address.user else []
        port = ["-p", str(self.address.port)] if self.address.port else []
        there = ["--", self.address.host, *([command] if command else [])]
        return ["ssh", "-S", str(self._control), "-T", *settings, *login, *port, *options, *there]
