"""A distributed training as one job: worker processes that take commands together and end together."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import dlperf
from dlperf.data.dataset import shuffled_order
from dlperf.errors import EnvironmentMissing, OutOfMemory, TrialFailed, reason
from dlperf.problems.scaling.worker_config import PARENT, WorkerConfig
from dlperf.processor import MemoryKills, end_first

# With any strategy a step spent half its time in page faults until glibc's allocator was told to keep its memory; it
# reads this before Python starts.
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(8 * 2**30),
    "MALLOC_TOP_PAD_": str(256 * 2**20),
}
_PACKAGE = Path(dlperf.__file__).resolve().parent
# Files that must be equal on all hosts.
_TRAINED_BY = (
    "training/distributed_step.py",
    "models/own_model.py",
    *(f"problems/scaling/{name}.py" for name in ("worker", "worker_config", "job", "recipe", "images")),
)
_START_SECONDS = 180.0
# Types of the errors that a collective raises when a peer has died.
_PEER_GONE = ("UnavailableError", "InternalError", "AbortedError", "CancelledError")
_NO_MEMORY = re.compile("(MemoryError|ResourceExhaustedError): ")
_HOST_SECONDS = 60.0
_END_SECONDS = 5.0


def rows_of(
    number: int, *, examples: int, batch_size: int, replicas: int, first: int, local: int, random_seed: int
) -> tuple[list[np.ndarray], int]:
    """Return the rows that a worker's replicas train on in a step, and the size of the whole batch.

    An epoch visits every example once, whatever the number of replicas: step k of an epoch takes the k-th
    `batch_size` of its shuffled order, and replica r of n the r-th part of them. The last batch is smaller where the
    batch size does not divide; its parts differ by one where the replicas do not.

    Args:
        number: Step, from 0, over all epochs.
        examples: Training examples.
        batch_size: Examples per step over all replicas.
        replicas: Replicas over all workers.
        first: Number of the worker's first replica.
        local: Replicas of the worker.
        random_seed: The order follows from it and the epoch.

    Returns:
        int32 rows per local replica; examples in the step.
    """
    per_epoch = -(-examples // batch_size)
    epoch, step = divmod(number, per_epoch)
    order = shuffled_order(examples, random_seed, epoch + 1)
    batch = order[step * batch_size : (step + 1) * batch_size]
    parts = np.array_split(batch, replicas)
    return parts[first : first + local], len(batch)


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


class Job:
    """Workers of this machine; as a context manager it ends all of them however the block ends."""

    def __init__(self, name: str, configs: Sequence[WorkerConfig], *, cluster: bool, hosts: Sequence[str] = ()) -> None:
        """Start a process per configuration.

        Args:
            name: The job's name in errors.
            configs: One per worker.
            cluster: Whether the workers find one another through TF_CONFIG; otherwise every worker is alone.
            hosts: Addresses of all workers of a cluster that spans several hosts; empty for a cluster on this machine's
                loopback interface.

        Raises:
            EnvironmentMissing: If this host's port is in use.
        """
        self._name = name
        self._kills = MemoryKills()
        self._logs = [tempfile.TemporaryFile() for _ in configs]  # noqa: SIM115 - closed in `end`
        self._hosts, self._local_indices = hosts, [config.index for config in configs]
        addresses = list(hosts) or [f"127.0.0.1:{port}" for port in free_ports(len(configs) if cluster else 0)]
        for index in self._local_indices if hosts else ():
            _refuse_used_port(hosts[index])
        fingerprint = _fingerprint(configs[0])
        self._workers = []
        for number, (config, log) in enumerate(zip(configs, self._logs, strict=True)):
            environment = {**os.environ, **ALLOCATOR, PARENT: str(os.getpid())}
            environment.pop("TF_CONFIG", None)
            if cluster:
                task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": config.index}}
                environment["TF_CONFIG"] = json.dumps(task)
            process = subprocess.Popen(
                [sys.executable, "-m", "dlperf.problems.scaling.worker"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is handled in this process alone
                cwd=_PACKAGE.parent,
            )
            self._workers.append(process)
            end_first(process.pid)
            self._send(number, replace(config, fingerprint=fingerprint).to_json())

    def __enter__(self) -> Job:
        """Wait until every worker is ready.

        Raises:
            TrialFailed: If one does not come up.
            EnvironmentMissing: If another host does not answer.
        """
        try:
            for index in set(range(len(self._hosts))) - set(self._local_indices):
                _await_host(self._hosts[index], index)
            self.ready = self._collect(range(len(self._workers)), _START_SECONDS)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End every worker."""
        self.end()

    def command(self, do: str, *, only: Sequence[int] | None = None, **arguments: Any) -> list[dict[str, Any]]:
        """Command all workers, or `only` those, and return their answers.

        Raises:
            TrialFailed: If a worker has died or failed; the message names it.
        """
        chosen = list(range(len(self._workers))) if only is None else list(only)
        for index in chosen:
            self._send(index, json.dumps({"do": do, **arguments}))
        return self._collect(chosen, None)

    def leave(self) -> None:
        """Wait until the workers of the other hosts, too, have ended their last collective.

        A worker that ends before its last message has arrived is a dead one to those who wait for it.
        """
        if self._hosts:
            with contextlib.suppress(TrialFailed):  # one that is gone by now has had everything that it measures
                self.command("leave")

    def end(self) -> None:
        """End the workers: ask first, kill after a grace period."""
        for worker in self._workers:
            with contextlib.suppress(OSError):
                assert worker.stdin is not None
                worker.stdin.close()
        deadline = time.monotonic() + _END_SECONDS
        for worker in self._workers:
            try:
                worker.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            assert worker.stdout is not None
            worker.stdout.close()
        for log in self._logs:
            log.close()

    def _send(self, index: int, line: str) -> None:
        stdin = self._workers[index].stdin
        assert stdin is not None
        # A dead worker is noticed where its answer is awaited.
        with contextlib.suppress(BrokenPipeError):
            stdin.write(line.encode() + b"\n")
            stdin.flush()

    def _collect(self, indices: Sequence[int] | range, timeout: float | None) -> list[dict[str, Any]]:
        """Wait for a line from every worker of `indices`, watching all workers meanwhile."""
        answers: dict[int, dict[str, Any]] = {}
        deadline = None if timeout is None else time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            for index, worker in enumerate(self._workers):
                assert worker.stdout is not None
                selector.register(worker.stdout, selectors.EVENT_READ, index)
            while len(answers) < len(indices):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    late = sorted(set(indices) - answers.keys())
                    raise TrialFailed(f"{self._name}: {self._called(late[0])} did not come up in {timeout:.0f} seconds")
                for key, _ in selector.select(left):
                    line = key.fileobj.readline()  # type: ignore[union-attr]
                    if not line:
                        raise self._failure(f"{self._called(key.data)} {self._fate(key.data)}")
                    answer = json.loads(line)
                    if "error" in answer:
                        raise self._failure(self._blamed(key.data, answer["error"]))
                    answers[key.data] = answer
        return [answers[index] for index in indices]

    def _failure(self, what: str) -> TrialFailed:
        """Return what to raise; a worker may have been killed because memory had run out."""
        killed = any(worker.poll() == -signal.SIGKILL for worker in self._workers)
        if killed and self._kills.one_more():
            return OutOfMemory(f"{self._name}: {what}, by the kernel: {self._kills.why()}")
        failed = OutOfMemory if _NO_MEMORY.search(what) else TrialFailed
        return failed(f"{self._name}: {what}")

    def _blamed(self, index: int, error: str) -> str:
        """Say which worker failed: one whose peer has died reports only an aborted collective."""
        time.sleep(0.5)
        for other, worker in enumerate(self._workers):
            if other != index and worker.poll() is not None and worker.returncode < 0:
                return f"{self._called(other)} {self._fate(other)}"
        if self._hosts and error.startswith(_PEER_GONE):
            others = ", ".join(host for n, host in enumerate(self._hosts) if n not in self._local_indices)
            return f"{self._called(index)} has lost a worker of another host ({others}), which died or is out of reach"
        return f"{self._called(index)} failed: {error}"

    def _called(self, index: int) -> str:
        return f"worker {self._local_indices[index]} of {len(self._hosts) or len(self._workers)}"

    def _fate(self, index: int) -> str:
        worker = self._workers[index]
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(2)
        if worker.returncode is not None and worker.returncode < 0:
            return f"was killed by {signal.Signals(-worker.returncode).name}"
        self._logs[index].seek(0)
        said = self._logs[index].read().decode(errors="replace")
        return f"ended with exit status {worker.returncode}: {reason(said)}"


def _refuse_used_port(address: str) -> None:
    port = int(address.rpartition(":")[2])
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise EnvironmentMissing(
                f"hosts: port {port} of {address} cannot be used here: {error.strerror}"
            ) from error


def _await_host(address: str, index: int) -> None:
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + _HOST_SECONDS
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=2).close()
        except OSError as error:
            if time.monotonic() > deadline:
                reason = error.strerror or str(error)
                raise EnvironmentMissing(
                    f"hosts: worker {index} at {address} has not answered for {_HOST_SECONDS:.0f} seconds: {reason}"
                ) from error
            time.sleep(0.5)
        else:
            return


def _fingerprint(config: WorkerConfig) -> int:
    """Return a number that differs where code or parameters differ."""
    state = hashlib.sha256(json.dumps(config.shared(), sort_keys=True).encode())
    for name in _TRAINED_BY:
        state.update((_PACKAGE / name).read_bytes())
    return int.from_bytes(state.digest()[:4], "big") >> 1
