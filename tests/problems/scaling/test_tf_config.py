"""TF_CONFIG against TensorFlow's own reading of it, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlperf.cli import entry_point
from dlperf.errors import BadInput
from dlperf.problems.scaling import tf_config
from dlperf.problems.scaling.parameters import ScalingParameters

ADDRESSES = st.lists(st.integers(1, 65535).map(lambda port: f"host:{port}"), min_size=1, max_size=5, unique=True)


@st.composite
def configs(draw: Any) -> dict[str, Any]:
    """Clusters with and without a chief, workers as lists and as sparse maps, an index as number and as text."""
    addresses = draw(ADDRESSES)
    chief = draw(st.booleans())
    workers = addresses[1:] if chief else addresses
    indices = draw(st.lists(st.integers(0, 9), min_size=len(workers), max_size=len(workers), unique=True))
    sparse = draw(st.booleans())
    cluster: dict[str, Any] = {"chief": addresses[:1]} if chief else {}
    if workers:
        cluster["worker"] = {str(i): a for i, a in zip(indices, workers, strict=True)} if sparse else workers
    tasks = [("chief", 0)] if chief else []
    tasks += [("worker", index) for index in (indices if sparse else range(len(workers)))]
    kind, index = draw(st.sampled_from(tasks))
    return {"cluster": cluster, "task": {"type": kind, "index": draw(st.sampled_from([index, str(index)]))}}


@given(configs())
def test_hosts_are_those_that_tensorflow_reads(config: dict[str, Any]) -> None:
    """The chief is host 0, workers follow by index; TensorFlow's sparse indices are closed up."""
    import tensorflow as tf

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_CONFIG", json.dumps(config))
        ours, theirs = tf_config.read(), tf.distribute.cluster_resolver.TFConfigClusterResolver()
        spec = theirs.cluster_spec()
        hosts = [
            (kind, index, spec.task_address(kind, index))
            for kind in ("chief", "worker")
            if kind in spec.jobs
            for index in sorted(spec.task_indices(kind))
        ]
        assert list(ours.addresses) == [address for _, _, address in hosts]
        assert hosts[ours.index][:2] == (theirs.task_type, theirs.task_id)


def test_a_chief_is_host_0_and_the_workers_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": "1"}}))
    parameters = ScalingParameters.resolve({"workers": 3, "mode": "weak"})
    assert (tf_config.read().addresses, parameters.host) == (("a:1", "b:1", "c:1"), 2)
    assert ScalingParameters.default_grid({"device": "cpu"})["workers"] == (3,)


@pytest.mark.parametrize("written", ["", "{}", '{"task": {"type": "worker", "index": 0}}', '{"cluster": {}}'])
def test_no_cluster_is_this_host_alone(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("TF_CONFIG", written)
    assert tf_config.read() == tf_config.Cluster()


WORKERS = {"worker": ["a:1", "b:1"]}
REFUSED: dict[str, Any] = {
    "no JSON": "{worker",
    "no object": [1, 2],
    "null": None,
    "text": "worker",
    "cluster no object": {"cluster": ["a:1"], "task": {"type": "worker", "index": 0}},
    "ps": {"cluster": {**WORKERS, "ps": ["c:1"]}, "task": {"type": "worker", "index": 0}},
    "evaluator": {"cluster": WORKERS, "task": {"type": "evaluator", "index": 0}},
    "evaluator in the cluster": {"cluster": {**WORKERS, "evaluator": ["c:1"]}, "task": {"type": "worker", "index": 0}},
    "task ps of no cluster": {"task": {"type": "ps", "index": 0}},
    "task null of no cluster": {"cluster": {}, "task": None},
    "unknown task of no hosts": {"cluster": {"worker": []}, "task": {"type": "foo", "index": 0}},
    "task ps": {"cluster": WORKERS, "task": {"type": "ps", "index": 0}},
    "task null": {"cluster": WORKERS, "task": None},
    "no task": {"cluster": WORKERS},
    "no index": {"cluster": WORKERS, "task": {"type": "worker"}},
    "index out of range": {"cluster": WORKERS, "task": {"type": "worker", "index": 2}},
    "index negative": {"cluster": WORKERS, "task": {"type": "worker", "index": -1}},
    "index true": {"cluster": WORKERS, "task": {"type": "worker", "index": True}},
    "index 0.5": {"cluster": WORKERS, "task": {"type": "worker", "index": 0.5}},
    "two chiefs": {"cluster": {"chief": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}},
    "chief that is not there": {"cluster": WORKERS, "task": {"type": "chief", "index": 0}},
    "addresses no list": {"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}},
    "address no text": {"cluster": {"worker": [1]}, "task": {"type": "worker", "index": 0}},
    "sparse index no number": {"cluster": {"worker": {"a": "a:1"}}, "task": {"type": "worker", "index": 0}},
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_names_no_cluster_is_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    written = REFUSED[what] if what == "no JSON" else json.dumps(REFUSED[what])
    monkeypatch.setenv("TF_CONFIG", written)
    with pytest.raises(BadInput) as refused:
        tf_config.read()
    assert (refused.value.parameter, refused.value.value) == ("TF_CONFIG", written)
    assert entry_point("scaling", ["--dry_run", "true"]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"dlperf scaling: TF_CONFIG={written}: ")
    assert 'must be JSON like {"cluster": {"worker": ["a:1", "b:1"]}' in line
    assert line.count("\n") == 1
