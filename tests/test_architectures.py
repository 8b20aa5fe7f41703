from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dlperf.errors import BadInput
from dlperf.parameters import parse
from dlperf.problems.architectures import PROBLEM, SUBJECTS, ArchitecturesParameters, _three_ways, _together
from tests.desk import Desk


def only(**raw: str) -> ArchitecturesParameters:
    (trial,) = parse(ArchitecturesParameters, {"subject": "inception", **raw}).trials
    return trial


def verdicts(**metrics: float) -> dict[str, str]:
    table = _three_ways("s", {f"a/{name}": value for name, value in metrics.items()})
    return dict(zip(table["quantity"], table["verdict"], strict=True))


def test_the_modules_numbers_follow_from_the_preset_unless_given() -> None:
    assert (only().module.size, only().module.conv_3x3) == (32, 192)
    module = only(preset="4a", conv_3x3="100").module
    assert (module.size, module.channels, module.conv_3x3, module.pool_projection) == (14, 480, 100, 64)


def test_the_default_counts_all_of_the_problem() -> None:
    subjects = [trial.subject for trial in parse(ArchitecturesParameters, {}).trials]
    assert subjects[: len(SUBJECTS)] == list(SUBJECTS)
    assert all(subject.startswith("keras:") for subject in subjects[len(SUBJECTS) :])


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"subject": "nosuch"}, "subject=nosuch: must be one of alexnet, vgg19"),
        ({"subject": "keras:"}, "must be one of"),
        ({"stack_size": "12"}, "stack_size=12: must be at least 13"),
        ({"input_shape": "224,224"}, "sides joined by x"),
        ({"preset": "6a"}, "preset=6a"),
        ({"conv_1x1": "0"}, "conv_1x1=0"),
    ],
)
def test_bad_input_is_named(raw: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        only(**raw)


def test_verdicts_are_computed() -> None:
    both = {"num_params": 5.0, "num_params_keras": 5.0, "num_params_measured": 5.0}
    assert verdicts(**both) == {"num_params": "agrees"}
    assert verdicts(**{**both, "num_params_measured": 6.0}) == {"num_params": "differs"}
    assert verdicts(num_params=5.0, num_params_keras=5.0) == {"num_params": "not measured"}
    assert verdicts(multiplications=5.0, multiplications_measured=9.0, layers_not_counted=1.0) == {
        "multiplications": "incomplete"
    }
    assert verdicts(activations=5.0) == {"activations": "-"}
    assert verdicts(multiplications_saved=1 / 3, multiplications_saved_keras=1 / 3 + 1e-16) == {
        "multiplications_saved": "agrees"
    }
    assert _together(["agrees", "-", "incomplete", "differs"]) == "differs"
    assert _together(["agrees", "-"]) == "agrees"


def start(desk: Desk, *arguments: str, **environment: str) -> tuple[int, str]:
    process = desk.popen([sys.executable, "entrypoints/architectures.py", *arguments], **environment)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def artifacts(desk: Desk, run: Any) -> set[str]:
    return {f.path for path in ("plots", "tables", None) for f in desk.client.list_artifacts(run.info.run_id, path)}


@pytest.mark.slow
def test_a_sweep_is_a_run_per_subject_below_a_parent(desk: Desk) -> None:
    status, output = start(desk, "--subject", "stacked_filters,inception")
    assert status == 0, output
    assert "1,115,684,864" in output
    assert "further quantities" in output
    runs = desk.runs()
    parent = runs.pop("architectures subject=stacked_filters,inception")
    assert parent.data.tags["dlperf.role"] == "sweep"
    assert {"tables/architectures.csv", "tables/three_ways.md", "plots/architectures.png"} <= artifacts(desk, parent)
    assert runs.keys() == {"architectures subject=stacked_filters", "architectures subject=inception"}
    for run in runs.values():
        metrics, tags = run.data.metrics, run.data.tags
        assert (run.info.status, tags["dlperf.verdict"]) == ("FINISHED", "agrees")
        assert tags["mlflow.parentRunId"] == parent.info.run_id
        accounts = {name: value for name, value in metrics.items() if name.endswith("_seconds")}
        wall = accounts.pop("wall_seconds")
        assert 0.9 * wall <= sum(accounts.values()) <= wall
        assert "train_seconds" not in metrics
    inception = runs["architectures subject=inception"]
    metrics = inception.data.metrics
    assert (metrics["num_params"], metrics["multiplications"]) == (388_096, 397_410_304)
    for ending in ("", "_keras", "_measured"):
        assert metrics[f"naive/multiplications{ending}"] == 1_115_684_864
        assert metrics[f"naive/num_params{ending}"] == 1_089_536
    assert metrics["naive/activations"] == metrics["naive/activations_keras"] == 1_638_400
    files = {f"tables/layers_naive.{ending}" for ending in ("csv", "md", "tex")}
    assert files | {"plots/layers_reduced.png", "environment.json"} <= artifacts(desk, inception)
    stack = runs["architectures subject=stacked_filters"].data.metrics
    assert (stack["stack/receptive_field"], stack["stack/receptive_field_measured"]) == (13, 13)
    assert stack["single/output_size_keras"] == 20


@pytest.mark.slow
def test_a_saved_model_is_counted_and_what_it_leaves_open_is_asked_for(desk: Desk) -> None:
    path = desk.folder / "tiny.keras"
    code = f"""
import keras
inputs = keras.Input((None, None, 3))
keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(4, 3)(inputs))).save({str(path)!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    status, output = start(desk, "--subject", f"keras:{path}")
    assert status == 2
    assert "takes inputs of ?x?x3: give input_shape" in output.splitlines()[-1]
    assert "Traceback" not in output
    status, output = start(desk, "--subject", f"keras:{path}", "--input_shape", "8x9x3")
    assert status == 0, output
    runs = desk.client.search_runs(["0"])
    (run,) = (run for run in runs if run.info.status == "FINISHED")
    assert run.data.metrics["model/multiplications_measured"] == 6 * 7 * 27 * 4
    assert run.data.tags["dlperf.verdict"] == "agrees"
    assert {run.info.status for run in runs} == {"FINISHED", "FAILED"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("keras:NoSuch", "keras.applications has no such model"),
        ("keras:none.keras", "there is no such file"),
        ("keras:junk.keras", "is not a .keras file"),
        ("keras:other.keras", "cannot be read as a Keras model"),
    ],
)
def test_what_is_no_keras_model_ends_with_status_2(desk: Desk, subject: str, words: str) -> None:
    import zipfile

    (desk.folder / "junk.keras").write_text("junk")
    with zipfile.ZipFile(desk.folder / "other.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    name = subject.removeprefix("keras:")
    given = f"keras:{Path(desk.folder) / name}" if name.endswith(".keras") else subject
    run = desk.client.create_run("0") if subject == "keras:NoSuch" else None
    environment = {"MLFLOW_RUN_ID": run.info.run_id} if run else {}
    status, output = start(desk, "--subject", given, **environment)
    lines = [line for line in output.splitlines() if line.startswith("dlperf")]
    assert status == 2, output
    assert len(lines) == 1
    assert words in lines[0]
    assert "Traceback" not in output
    assert {each.info.status for each in desk.client.search_runs(["0"])} == ({"FAILED"} if run else set())


def test_the_problem_is_counted_by_its_subject() -> None:
    assert PROBLEM.trial_name(only()) == "architectures subject=inception"
    assert PROBLEM.trial_key(only()) != PROBLEM.trial_key(only(conv_1x1="100"))
