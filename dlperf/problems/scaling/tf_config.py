"""TF_CONFIG, in which Kubernetes or a launcher names the hosts of a training: read and checked without TensorFlow."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any

from dlperf.errors import BadInput

VARIABLE = "TF_CONFIG"
_ALLOWED = 'must be JSON like {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'
_TYPES = ("chief", "worker")


@dataclass(frozen=True)
class Cluster:
    """The hosts that train together.

    Attributes:
        addresses: Of every host, the chief first, then the workers by index; empty for one host alone.
        index: Which of them this one is, from 0.
        named_by: The variable that the addresses are from.
    """

    addresses: tuple[str, ...] = ()
    index: int = 0
    named_by: str = VARIABLE


def read() -> Cluster:
    """Return the cluster that TF_CONFIG describes; without it, this host alone.

    Raises:
        BadInput: If it is no JSON, or describes no cluster of workers with at most one chief.
    """
    written = os.environ.get(VARIABLE, "")
    try:
        config = json.loads(written or "{}")
    except ValueError:
        raise BadInput(VARIABLE, written, _ALLOWED) from None
    try:
        return _cluster(config)
    except _Refused as refused:
        raise BadInput(VARIABLE, written, f"{refused}; {_ALLOWED}") from None


class _Refused(ValueError):
    """What is wrong, as the middle of a sentence."""


def _cluster(config: Any) -> Cluster:
    if not isinstance(config, dict):
        raise _Refused("is no object")
    jobs = config.get("cluster", {})
    if not isinstance(jobs, dict):
        raise _Refused("its cluster is no object")
    if unknown := sorted(set(jobs) - set(_TYPES)):
        raise _Refused(f"its cluster has {unknown[0]}, but hosts can only be {' or '.join(_TYPES)}")
    hosts = [(kind, index, address) for kind in _TYPES for index, address in sorted(_tasks(kind, jobs.get(kind, {})))]
    if sum(kind == "chief" for kind, _, _ in hosts) > 1:
        raise _Refused("its cluster has several chiefs")
    if not hosts:
        if "task" in config:
            _task(config["task"])  # or why there can be none
        return Cluster()
    task = _task(config.get("task"))
    places = [(kind, index) for kind, index, _ in hosts]
    if task not in places:
        there = ", ".join(f"{kind} {index}" for kind, index in places)
        raise _Refused(f"its task is {task[0]} {task[1]}, but its cluster has {there}")
    return Cluster(tuple(address for _, _, address in hosts), places.index(task))


def _tasks(kind: str, tasks: Any) -> list[tuple[int, str]]:
    """Index and address of the hosts of a type, from a list or, where some are left out, a map by index."""
    if isinstance(tasks, list):
        pairs: list[tuple[Any, Any]] = list(enumerate(tasks))
    elif isinstance(tasks, dict):
        pairs = list(tasks.items())
    else:
        raise _Refused(f"its cluster's {kind} is neither a list nor a map of addresses")
    for index, address in pairs:
        if not isinstance(address, str):
            raise _Refused(f"the address of {kind} {index} is no text")
    return [(_index(index, f"{kind} {index}"), address) for index, address in pairs]


def _task(task: Any) -> tuple[str, int]:
    if not isinstance(task, dict):
        raise _Refused("its task is no object")
    kind = task.get("type")
    if kind not in _TYPES:
        raise _Refused(f"its task's type is {json.dumps(kind)}, but must be {' or '.join(_TYPES)}")
    return kind, _index(task.get("index"), "its task's index")


def _index(index: Any, whose: str) -> int:
    """Read an index, which may be written as text."""
    if isinstance(index, bool) or not re.fullmatch(r"[0-9]{1,6}", str(index)):
        raise _Refused(f"{whose}: {json.dumps(index)} is no index from 0")
    return int(index)
