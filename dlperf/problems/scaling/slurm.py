"""SLURM's variables of a job step, by which `srun` tells each of its tasks the hosts of a training.

Read in plain Python as TensorFlow's SlurmClusterResolver does, but for the order of nodes, which is SLURM's own here:
the resolver sorts names as text, so that node10 comes before node9 and tasks stand under the address of others.
"""

from __future__ import annotations

import os
import re

from dlperf.errors import BadInput
from dlperf.problems.scaling.tf_config import Cluster

TASKS, TASK = "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"
NODES, TASKS_PER_NODE = "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE"
_FIRST_PORT = 8888  # of a node; its further tasks take the ports that follow
_MOST = 100_000  # hosts or tasks; more are a mistyped range
_RANGE = r"[0-9]{1,9}(?:-[0-9]{1,9})?"
_NODE = rf"[\w.-]*\[{_RANGE}(?:,{_RANGE})*\]|[\w.-]+"
_AS_SRUN = "as `srun` sets it"


def read() -> Cluster:
    """Return the tasks of this job step as hosts; outside of one, or in a step of a single task, this host alone.

    Raises:
        BadInput: If a variable is missing, is not as SLURM writes it, or contradicts another.
    """
    if _number(TASKS, "1") < 2:
        return Cluster()
    tasks, task = _number(TASKS), _number(TASK)
    nodes, counts = _nodes(), _tasks_per_node()
    if len(nodes) != len(counts) or sum(counts) != tasks:
        said = f"must have a number for each of {len(nodes)} nodes ({NODES}), and {tasks} together ({TASKS})"
        raise BadInput(TASKS_PER_NODE, os.environ[TASKS_PER_NODE], said)
    if task >= tasks:
        raise BadInput(TASK, task, f"must be 0 to {tasks - 1}, since {TASKS}={tasks}")
    places = [(node, place) for node, count in zip(nodes, counts, strict=True) for place in range(count)]
    return Cluster(tuple(f"{node}:{_FIRST_PORT + place}" for node, place in places), task, NODES)


def _number(name: str, default: str = "") -> int:
    written = os.environ.get(name) or default
    if not re.fullmatch("[0-9]{1,6}", written):
        raise BadInput(name, written, f"must be a whole number, {_AS_SRUN}")
    return int(written)


def _nodes() -> list[str]:
    """The names of a list like `a[08-10,12],b`, in its order."""
    written = os.environ.get(NODES, "")
    if not re.fullmatch(rf"(?:{_NODE})(?:,(?:{_NODE}))*", written):
        raise BadInput(NODES, written, f"must be names of nodes like a[08-10,12],b, {_AS_SRUN}")
    nodes: list[str] = []
    for node in re.findall(_NODE, written):
        name, bracket, ranges = node.partition("[")
        for part in re.findall(_RANGE, ranges) if bracket else [""]:
            first, _, last = part.partition("-")
            if part and int(last or first) - int(first) > _MOST:
                raise BadInput(NODES, written, f"names more than {_MOST} nodes")
            numbers = range(int(first), int(last or first) + 1) if part else [None]
            nodes += [name if number is None else f"{name}{number:0{len(first)}d}" for number in numbers]
    return nodes


def _tasks_per_node() -> list[int]:
    """The numbers of a list like `3(x2),1`, in its order."""
    written = os.environ.get(TASKS_PER_NODE, "")
    if not re.fullmatch(r"[0-9]{1,6}(\(x[0-9]{1,6}\))?(,[0-9]{1,6}(\(x[0-9]{1,6}\))?)*", written):
        raise BadInput(TASKS_PER_NODE, written, f"must be numbers like 3(x2),1, {_AS_SRUN}")
    pairs = re.findall(r"([0-9]+)(?:\(x([0-9]+)\))?", written)
    if sum(int(times or 1) for _, times in pairs) > _MOST:
        raise BadInput(TASKS_PER_NODE, written, f"names more than {_MOST} nodes")
    return [int(count) for count, times in pairs for _ in range(int(times or 1))]
