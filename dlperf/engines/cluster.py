"""Trials on a Ray cluster, for those who outgrow one machine. Ray is imported here and nowhere else.

The trials' reports go through a mailbox, an actor on the cluster, which this process empties: it alone talks to the
tracking server.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dlperf
from dlperf import entry_points
from dlperf.engines.execution import Listener, Outcome, RemoteReport, Task, execute, portable
from dlperf.errors import BadInput, EnvironmentMissing, OutOfMemory, TrialFailed, one_line, reason
from dlperf.parameters import with_whole_paths
from dlperf.process_settings import onednn
from dlperf.trial import Report

_ADDRESS = re.compile(r"(ray://)?([\w.-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}|auto")
_KNOCK_SECONDS = 10
_CONNECT_SECONDS = 60
_POLL_SECONDS = 0.3
_RETRIES = 1
_INTERPRETER_SECONDS = 20
# Ray dies, and takes the process along, where a cluster does not answer: a process that may die asks first. It asks
# every node for its interpreter, in a worker without a runtime environment: those start whatever its path.
_PROBE = f"""
import json, sys
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
interpreter = ray.remote(num_cpus=0)(lambda: sys.executable)
nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
asked = [interpreter.options(scheduling_strategy=On(node, soft=True)).remote() for node in nodes]
answered = ray.wait(asked, num_returns=len(asked), timeout={_INTERPRETER_SECONDS})[0] if asked else []
print(json.dumps(ray.get(answered)))
"""


def run(tasks: Sequence[Task], listener: Listener, *, cpus: float, gpus: float) -> None:
    """Run the tasks, begun in their order, as many at a time as the cluster has room for.

    A task whose worker dies is tried once more. Its state is looked for where `state_dir` leads on the worker's node:
    it goes on there if nodes share that folder, else it is trained from the start.

    Raises:
        BadInput: If RAY_ADDRESS is no address.
        EnvironmentMissing: If there is no Ray, no cluster, or no node with the CPUs and GPUs of a trial.
    """
    ray = _connected()
    try:
        mailbox = ray.remote(num_cpus=0)(_Mailbox).remote()
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=_RETRIES)(_execute)
        setting = onednn.users_setting()
        waiting, reports = deque(tasks), dict[str, Report]()
        running: dict[Any, Task] = {}
        room = _room(ray, cpus, gpus)
        while waiting or running:
            while waiting and len(running) < room:
                task = waiting.popleft()
                report = listener.started(task)
                if report is not None:
                    reports[task.name] = report
                    sent = replace(task, parameters=with_whole_paths(task.parameters))
                    running[remote.remote(sent, mailbox, setting)] = task
            ended, _ = ray.wait(list(running), timeout=_POLL_SECONDS) if running else ([], [])
            for name, method, arguments in ray.get(mailbox.take.remote()):
                getattr(reports[name], method)(*arguments)
            for reference in ended:
                listener.ended(running.pop(reference), _outcome(ray, reference))
            room = _room(ray, cpus, gpus)
    except ray.exceptions.RaySystemError as error:
        raise EnvironmentMissing(f"the Ray cluster failed: {one_line(error)}") from error
    finally:
        ray.shutdown()


def check() -> str:
    """Verify that there is Ray, and the address of a cluster, which is not asked; return it.

    Raises:
        BadInput: If RAY_ADDRESS is no address.
        EnvironmentMissing: If there is none, or no Ray.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    if not address:
        raise EnvironmentMissing("engine=ray needs RAY_ADDRESS, the address of a Ray cluster, as 10.0.0.1:6379")
    if importlib.util.find_spec("ray") is None:
        raise EnvironmentMissing("engine=ray needs Ray: pip install 'dlperf[ray]'")
    if not _ADDRESS.fullmatch(address):
        raise BadInput("RAY_ADDRESS", address, "must be HOST:PORT, ray://HOST:PORT, or auto for this host's cluster")
    return address


def _connected() -> Any:
    address = check()
    unreachable = f"the Ray cluster RAY_ADDRESS={address} does not answer"
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        try:  # Ray would knock for a minute where nothing listens
            socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise EnvironmentMissing(f"{unreachable}: {one_line(error)}") from None
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE, address], capture_output=True, text=True, timeout=_CONNECT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentMissing(f"{unreachable} within {_CONNECT_SECONDS} seconds") from None
    if probe.returncode:
        raise EnvironmentMissing(f"{unreachable}: {reason(probe.stderr)}")
    _refuse_blanks(json.loads(probe.stdout.strip().splitlines()[-1]))
    import ray

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    package = Path(dlperf.__file__).resolve().parent
    ray.init(address=address, logging_level="ERROR", runtime_env={"py_modules": [str(package)]})
    for number, handler in handlers.items():  # Ray puts its own in their place
        signal.signal(number, handler)
    return ray


def _refuse_blanks(interpreters: Sequence[str]) -> None:
    """Refuse nodes whose interpreter Ray's shell would take for two words; Ray itself tries for ten minutes.

    Ray quotes neither the interpreter's path nor asks whether the worker has come up, as soon as a job has a runtime
    environment (`ray/_private/runtime_env/context.py` of Ray 2.60). Other paths may have blanks: this start's own, the
    package's, the temporary folder's.

    Raises:
        EnvironmentMissing: If a path has white space in it.
    """
    for path in interpreters:
        if len(path.split()) > 1:
            raise EnvironmentMissing(
                f"engine=ray: Ray starts no worker from an environment whose path has a blank: {path}; "
                "build the environment in a folder without one"
            )


def _room(ray: Any, cpus: float, gpus: float) -> int:
    """Trials that fit on the cluster's nodes at a time."""
    room = 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            slots = [has.get("CPU", 0.0) // cpus, *([has.get("GPU", 0.0) // gpus] if gpus else [])]
            room += int(min(slots))
    if not room:
        raise EnvironmentMissing(f"no node of the Ray cluster has {cpus:g} CPUs and {gpus:g} GPUs for a trial")
    return room


def _outcome(ray: Any, reference: Any) -> Outcome | Exception:
    try:
        outcome: Outcome | Exception = ray.get(reference)
    except ray.exceptions.OutOfMemoryError as error:
        return OutOfMemory(f"its worker ran out of memory: {one_line(error)}")
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
        return TrialFailed(f"its worker died {_RETRIES + 1} times: {one_line(error)}")
    except ray.exceptions.RayError as error:
        return TrialFailed(one_line(error))
    return outcome


class _Mailbox:
    """Holds what trials report until the start that waits for it takes it."""

    def __init__(self) -> None:
        self._letters: list[tuple[str, str, tuple[Any, ...]]] = []

    def put(self, name: str, method: str, arguments: tuple[Any, ...]) -> None:
        self._letters.append((name, method, arguments))

    def take(self) -> list[tuple[str, str, tuple[Any, ...]]]:
        letters, self._letters = self._letters, []
        return letters


def _execute(task: Task, mailbox: Any, onednn_setting: str | None) -> Outcome | Exception:
    """Run a task on the cluster; what fails is returned, because what is raised would be tried again."""
    import ray

    onednn.take_for_users(onednn_setting)

    def send(method: str, arguments: tuple[Any, ...]) -> None:
        ray.get(mailbox.put.remote(task.name, method, arguments))

    try:
        return execute(entry_points.load_problem(task.problem), task, RemoteReport(send))
    except Exception as error:
        return portable(error)
