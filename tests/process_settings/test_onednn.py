"""oneDNN's operations: one choice per process, before TensorFlow is loaded; a user's own setting is the default."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from dlperf.errors import BadInput, TrialFailed
from dlperf.problems.cutout.parameters import CutoutParameters
from dlperf.process_settings import onednn
from tests.support.desk import ROOT, SMALL, Desk

there = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="TensorFlow has oneDNN on x86-64 Linux"
)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A process in which nothing is chosen, and TensorFlow is not loaded."""
    monkeypatch.delenv(onednn.VARIABLE, raising=False)
    monkeypatch.setattr(onednn, "_chosen", None)
    monkeypatch.setattr(onednn, "_setting_before", None)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    return monkeypatch


@pytest.mark.parametrize(("written", "choice"), [("1", "on"), ("true", "on"), ("0", "off"), ("False", "off")])
def test_the_user_s_setting_is_the_default(fresh: pytest.MonkeyPatch, written: str, choice: str) -> None:
    fresh.setenv(onednn.VARIABLE, written)
    assert CutoutParameters.resolve({}).onednn == choice
    assert CutoutParameters.resolve({"onednn": "auto"}).onednn == "auto"


def test_a_setting_that_tensorflow_does_not_read_is_refused(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv(onednn.VARIABLE, "yes")
    with pytest.raises(BadInput, match=r"^TF_ENABLE_ONEDNN_OPTS=yes: must be 1, true, 0 or false$"):
        CutoutParameters.resolve({})


@there
def test_it_is_on_where_nobody_says_otherwise(fresh: pytest.MonkeyPatch) -> None:
    assert onednn.default() == "on"


def test_elsewhere_nothing_is_set(fresh: pytest.MonkeyPatch) -> None:
    fresh.setattr(onednn, "_is_there", lambda: False)
    assert onednn.default() == "auto"
    onednn.choose(onednn.default())
    assert onednn.VARIABLE not in os.environ


@there
def test_a_choice_holds_for_the_process(fresh: pytest.MonkeyPatch) -> None:
    onednn.choose("off")
    assert os.environ[onednn.VARIABLE] == "0"
    assert onednn.default() == "on"  # what was set here is not the user's setting
    onednn.choose("off")
    onednn.choose(None)
    assert not onednn.can_choose("on")
    with pytest.raises(TrialFailed, match=r"^onednn=on: this process has loaded TensorFlow with another choice$"):
        onednn.choose("on")


@there
@pytest.mark.parametrize("has_vnni", [True, False])
def test_tensorflow_s_own_choice_goes_by_the_processor(fresh: pytest.MonkeyPatch, has_vnni: bool) -> None:
    fresh.setattr(onednn, "has_vector_network_instructions", lambda: has_vnni)
    onednn.choose("auto")
    assert onednn.VARIABLE not in os.environ
    assert (onednn.can_choose("on"), onednn.can_choose("off")) == (has_vnni, not has_vnni)


@there
@pytest.mark.parametrize(("written", "same", "other"), [("0", "off", "on"), ("true", "on", "off")])
def test_what_is_left_to_the_environment_goes_by_the_user_s_setting(
    fresh: pytest.MonkeyPatch, written: str, same: str, other: str
) -> None:
    """As runs of version 0.1.0 did, and not by what this process has chosen for an earlier trial."""
    fresh.setenv(onednn.VARIABLE, written)
    onednn.choose("auto")
    assert os.environ[onednn.VARIABLE] == written
    assert (onednn.can_choose(same), onednn.can_choose(other)) == (True, False)  # type: ignore[arg-type]

    fresh.setattr(onednn, "_chosen", None)
    onednn.choose(other)  # type: ignore[arg-type]
    assert os.environ[onednn.VARIABLE] == {"on": "1", "off": "0"}[other]
    assert (onednn.users_setting(), onednn.default()) == (written, same)
    assert not onednn.can_choose("auto")
    onednn.take_for_users("1" if other == "on" else "0")  # of a resumed run that was begun under it
    assert onednn.can_choose("auto")


# Of TensorFlow's package the library that answers alone, which takes a tenth of the time.
SHOW = """
import importlib.util, json, pathlib, sys, types
from dlperf import processor
from dlperf.process_settings import onednn
onednn.choose(sys.argv[1])
place = pathlib.Path(importlib.util.find_spec("tensorflow").origin).parent
for name in ("tensorflow", "tensorflow.python", "tensorflow.python.util"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(place.joinpath(*name.split(".")[1:]))]
from tensorflow.python.util import _pywrap_util_port as port
print(json.dumps([port.IsMklEnabled(), processor.has_vector_network_instructions()]))
"""


@there
@pytest.mark.slow
def test_tensorflow_does_as_it_is_told() -> None:
    """By its own account; "auto" is on where we say that it has the instructions for it."""
    environment = {name: value for name, value in os.environ.items() if name != onednn.VARIABLE}

    def shown(choice: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", SHOW, choice], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    assert shown("on")[0]
    assert not shown("off")[0]
    enabled, expected = shown("auto")
    assert enabled == expected


@there
@pytest.mark.slow
def test_a_resumed_run_keeps_it_and_another_is_another_trial(desk: Desk) -> None:
    """The user's setting of the first start, recorded; the second start has another, which does not count."""
    status, output = desk.finish("--m", "0", "--epochs", "1", TF_ENABLE_ONEDNN_OPTS="0")
    assert status == 0, output
    (off,) = desk.runs().values()
    assert off.data.params["onednn"] == "off"
    status, output = desk.finish("--m", "0", "--epochs", "1", "--onednn", "on", TF_ENABLE_ONEDNN_OPTS="0")
    assert status == 0, output
    on = next(run for run in desk.client.search_runs(["0"]) if run.info.run_id != off.info.run_id)
    assert on.data.params["onednn"] == "on"
    assert on.data.tags["dlperf.trial_key"] != off.data.tags["dlperf.trial_key"]
    assert on.data.metrics["train_loss"] != off.data.metrics["train_loss"]
    assert on.data.metrics["train_loss"] == pytest.approx(off.data.metrics["train_loss"], rel=1e-2)

    process = desk.popen(
        [sys.executable, "entrypoints/cutout.py", *SMALL, "--onednn", "on"], MLFLOW_RUN_ID=off.info.run_id
    )
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"run {off.info.run_id} has onednn=off, and a resumed run keeps its parameters" in output
