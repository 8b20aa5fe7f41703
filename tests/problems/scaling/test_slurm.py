"""SLURM's variables against TensorFlow's own reading of them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlperf.cli import entry_point
from dlperf.problems.scaling import slurm
from dlperf.problems.scaling.parameters import ScalingParameters
from dlperf.problems.scaling.tf_config import Cluster

STEP = {slurm.TASKS: "3", slurm.TASK: "1", slurm.NODES: "n[09-10]", slurm.TASKS_PER_NODE: "2,1"}


def set_all(patch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    patch.delenv("TF_CONFIG", raising=False)
    for name, written in variables.items():
        patch.setenv(name, written)


@st.composite
def steps(draw: Any) -> dict[str, str]:
    """Steps whose nodes are named in the order of their text, in which TensorFlow takes them."""
    parts, counts = [], []
    for number in range(draw(st.integers(1, 3))):
        name, first = f"{'abc'[number]}-node", draw(st.integers(0, 90))
        several = draw(st.integers(1, 4))
        ranges = [f"{first:03d}-{first + several - 1:03d}" if several > 1 else f"{first:03d}"]
        if draw(st.booleans()):
            ranges.append(f"{first + several + 1:03d}")
        parts.append(f"{name}[{','.join(ranges)}]" if draw(st.booleans()) or several > 1 or len(ranges) > 1 else name)
        counts += draw(
            st.lists(st.integers(1, 3), min_size=several + len(ranges) - 1, max_size=several + len(ranges) - 1)
        )
    written = []
    place = 0
    while place < len(counts):
        alike = next((n for n in range(len(counts) - place, 0, -1) if len(set(counts[place : place + n])) == 1), 1)
        written.append(f"{counts[place]}(x{alike})" if alike > 1 else str(counts[place]))
        place += alike
    tasks = sum(counts)
    return {
        **{slurm.TASKS: str(tasks), slurm.TASK: str(draw(st.integers(0, tasks - 1)))},
        **{slurm.NODES: ",".join(parts), slurm.TASKS_PER_NODE: ",".join(written)},
    }


@given(steps())
def test_hosts_are_those_that_tensorflow_reads(step: dict[str, str]) -> None:
    import tensorflow as tf

    with pytest.MonkeyPatch.context() as patch:
        set_all(patch, step)
        ours = slurm.read()
        theirs = tf.distribute.cluster_resolver.SlurmClusterResolver(
            gpus_per_node=3, gpus_per_task=1, auto_set_gpu=False
        )
        addresses = theirs.cluster_spec().job_tasks("worker")
        if len(addresses) == 1:  # a step of one task is no cluster here
            assert ours == Cluster()
            return
        assert list(ours.addresses) == addresses
        assert ("worker", ours.index) == theirs.get_task_info()


def test_nodes_keep_slurm_s_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow's resolver would sort node10 before node9, and give task 0 the address of another node."""
    set_all(monkeypatch, {**STEP, slurm.NODES: "node[9-10]"})
    assert slurm.read().addresses == ("node9:8888", "node9:8889", "node10:8888")


def test_every_task_of_a_step_is_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, STEP)
    parameters = ScalingParameters.resolve({"workers": 3, "mode": "weak"})
    assert (slurm.read().addresses, parameters.host) == (("n09:8888", "n09:8889", "n10:8888"), 1)
    assert ScalingParameters.default_grid({"device": "cpu"})["workers"] == (3,)
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}')
    assert ScalingParameters.resolve({"workers": 2, "mode": "weak"}).host == 0


@pytest.mark.parametrize("variables", [{}, {slurm.TASKS: ""}, {slurm.TASKS: "1", slurm.NODES: "?"}])
def test_outside_of_a_step_this_host_is_alone(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    set_all(monkeypatch, variables)
    assert slurm.read() == Cluster()


@pytest.mark.parametrize(
    ("name", "written"),
    [
        *((slurm.TASKS, each) for each in ("x", "-1", "1.5", "4")),
        *((slurm.TASK, each) for each in ("", "x", "-1", "3")),
        *(
            (slurm.NODES, each)
            for each in ("", "n[09-10", "n[a-b]", "n[],m", "n[1-999999999]", "a b", "n09", "n[09,09]")
        ),
        *((slurm.TASKS_PER_NODE, each) for each in ("", "2,", "2(y2)", "3", "2,2", "1(x999999)")),
    ],
)
def test_what_srun_does_not_set_is_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, written: str
) -> None:
    set_all(monkeypatch, {**STEP, name: written})
    assert entry_point("scaling", ["--dry_run", "true"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("dlperf scaling: SLURM_")
    assert name in line
    assert line.count("\n") == 1
