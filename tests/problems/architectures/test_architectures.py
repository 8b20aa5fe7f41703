from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dlperf.accounting.inception import PRESETS
from dlperf.accounting.layers import LayerRow, LayerTable
from dlperf.errors import BadInput
from dlperf.parameters import from_texts, parse, texts
from dlperf.problems.architectures.figures import work_figure
from dlperf.problems.architectures.parameters import SUBJECTS, ArchitecturesParameters
from dlperf.problems.architectures.problem import PROBLEM
from dlperf.problems.architectures.sentences import of_layers, of_networks
from dlperf.problems.architectures.tables import three_ways, together
from dlperf.tables import layer_frame
from tests.support.desk import Desk


def only(**raw: str) -> ArchitecturesParameters:
    (trial,) = parse(ArchitecturesParameters, {"subject": "inception", **raw}).trials
    return trial


def verdicts(**metrics: float) -> dict[str, str]:
    table = three_ways("s", {f"a/{name}": value for name, value in metrics.items()})
    return dict(zip(table["quantity"], table["verdict"], strict=True))


def test_the_modules_numbers_follow_from_the_preset_unless_given() -> None:
    assert (only().module.size, only().module.conv_3x3) == (32, 192)
    module = only(preset="4a", conv_3x3="100").module
    assert (module.size, module.channels, module.conv_3x3, module.pool_projection) == (14, 480, 100, 64)
    for preset, expected in PRESETS.items():
        assert only(preset=preset).module == expected
    module = only(preset="5b", module_size="9", module_channels="10").module
    assert (module.size, module.channels, module.conv_1x1) == (9, 10, 384)


def test_the_default_counts_all_of_the_problem() -> None:
    subjects = [trial.subject for trial in parse(ArchitecturesParameters, {}).trials]
    assert subjects[: len(SUBJECTS)] == list(SUBJECTS)
    assert all(subject.startswith("keras:") for subject in subjects[len(SUBJECTS) :])


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"subject": "nosuch"}, "subject=nosuch: must be one of alexnet, vgg19"),
        ({"subject": "keras:"}, "must be one of"),
        ({"subject": "ResNet50"}, "subject=ResNet50: must be one of"),
        ({"stack_size": "12"}, "stack_size=12: must be at least 13"),
        ({"stack_layers": "4", "stack_size": "16"}, "must be at least 17, which 4 filters of 5 pixels see"),
        ({"stack_layers": "0"}, "stack_layers=0"),
        ({"subject": "keras:ResNet50", "input_shape": "0x224x3"}, "input_shape=0x224x3: must be sides joined by x"),
        ({"subject": "keras:ResNet50", "input_shape": "224x"}, "input_shape=224x"),
        ({"subject": "keras:ResNet50", "input_shape": "224,224"}, "sides joined by x"),
        ({"subject": "keras:ResNet50", "input_shape": "a:20;b"}, "or those of each input, as encoder:20;decoder:10"),
        ({"subject": "keras:ResNet50", "input_shape": "20;10"}, "or those of each input"),
        ({"subject": "keras:ResNet50", "input_shape": "a:20;a:10"}, "or those of each input"),
        ({"input_shape": "224x224x3"}, "goes with keras: subjects, not with inception"),
        ({"custom": "mymodule"}, "custom=mymodule: goes with keras: subjects"),
        ({"preset": "6a"}, "preset=6a"),
        ({"conv_1x1": "0"}, "conv_1x1=0"),
    ],
)
def test_bad_input_is_named(raw: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        only(**raw)


def test_a_stack_may_leave_one_pixel_of_its_input() -> None:
    trial = only(subject="stacked_filters", stack_size="13")
    assert (trial.stack_size, trial.stack_layers, trial.stack_filter) == (13, 3, 5)


def test_a_keras_model_is_known_by_its_name_or_its_file() -> None:
    for written, name, file in (
        ("keras:ResNet50", "ResNet50", None),
        ("keras:~/a.keras", "~/a.keras", Path("~/a.keras").expanduser()),
        ("keras:MODEL.H5", "MODEL.H5", Path("MODEL.H5")),
        ("keras:folder/model", "folder/model", Path("folder/model")),
    ):
        model = only(subject=written).keras_model
        assert model
        assert (model.name, model.file) == (name, file)
    assert (only().keras_model, only().input_shapes) == (None, {})
    assert only(subject="keras:ResNet50", input_shape="64x32x3").input_shapes == {"": (64, 32, 3)}
    assert only(subject="keras:a.keras", input_shape="encoder:20; decoder:10x3").input_shapes == {
        **{"encoder": (20,), "decoder": (10, 3)},
    }


def test_an_existing_files_name_is_one_value_whatever_stands_in_it(tmp_path: Path) -> None:
    file = tmp_path / "größe, zwei.keras"
    file.write_text("")
    subject = f"keras:{file}"
    (trial,) = parse(ArchitecturesParameters, {"subject": subject}).trials
    assert trial.subject == subject
    assert trial.keras_model
    assert trial.keras_model.file == file
    logged = texts(trial)
    assert from_texts(ArchitecturesParameters, logged) == trial
    file.unlink()  # a stored run is read without it
    assert from_texts(ArchitecturesParameters, logged) == trial
    explicit = parse(ArchitecturesParameters, {"subject": f"vgg19,{logged['subject']}"}).explicit
    assert [each.subject for each in parse(ArchitecturesParameters, explicit).trials] == ["vgg19", subject]


def test_the_file_that_is_counted_is_part_of_a_trials_identity(tmp_path: Path) -> None:
    file = tmp_path / "model.keras"
    digests = [PROBLEM.data_digest(only(subject=f"keras:{file}"))]
    for content in ("one", "two"):
        file.write_text(content)
        digests.append(PROBLEM.data_digest(only(subject=f"keras:{file}")))
    assert digests[0] == PROBLEM.data_digest(only()) == ""
    assert len(set(digests)) == 3


def test_verdicts_are_computed() -> None:
    both = {"num_params": 5.0, "num_params_keras": 5.0, "num_params_measured": 5.0}
    assert verdicts(**both) == {"num_params": "agrees"}
    assert verdicts(**{**both, "num_params_measured": 6.0}) == {"num_params": "differs"}
    assert verdicts(num_params=5.0, num_params_keras=5.0) == {"num_params": "not measured"}
    bound = {"multiplications": 5.0, "layers_not_counted": 1.0}
    assert verdicts(**bound, multiplications_measured=9.0) == {"multiplications": "at least"}
    assert verdicts(**bound, multiplications_measured=4.0) == {"multiplications": "differs"}
    assert verdicts(activations=5.0, outputs_not_counted=1.0) == {"activations": "at least"}
    assert verdicts(**both, num_params_plain=3.0) == {"num_params": "agrees, +2 by adapters or quantisation"}
    assert verdicts(**{**both, "num_params_keras": 4.0}, num_params_plain=3.0) == {"num_params": "differs"}
    assert verdicts(activations=5.0) == {"activations": "-"}
    assert verdicts(multiplications_saved=1 / 3, multiplications_saved_keras=1 / 3 + 1e-16) == {
        "multiplications_saved": "agrees"
    }
    assert verdicts(multiplications_saved=1 / 3, multiplications_saved_keras=1 / 3 + 1e-9) == {
        "multiplications_saved": "differs"
    }
    assert verdicts(**{**both, "num_params_keras": 5.0 + 1e-9}) == {"num_params": "differs"}  # counts: exactly
    assert verdicts(receptive_field=13.0, receptive_field_measured=11.0) == {"receptive_field": "differs"}
    # What the closed form leaves out says nothing of the parameters.
    assert verdicts(**both, multiplications=5.0, multiplications_measured=5.0, layers_not_counted=2.0) == {
        **{"num_params": "agrees", "multiplications": "at least"},
    }
    assert together(["agrees", "not measured", "at least"]) == "at least"
    assert together(["agrees", "agrees, +2 by adapters or quantisation"]) == "agrees, +2 by adapters or quantisation"
    assert together(["-", "not measured"]) == "not measured"
    assert together(["agrees", "-", "at least", "differs"]) == "differs"
    assert together(["agrees", "-"]) == "agrees"


def test_sentences_add_up_the_calls_of_a_layer_and_take_a_bound_for_no_whole() -> None:
    def row(layer: str, parameters: int, multiplications: int | None) -> LayerRow:
        return LayerRow(layer, "", (4,), (4,), "", parameters, 4, multiplications)

    rows = (row("shared", 20, 16), row("other", 30, 24), row("shared", 0, 16))
    said = of_layers(LayerTable("twice", rows))
    assert said == "30 of 50 parameters (60%) in other, 32 of 56 multiplications (57%) in shared."
    unknown = LayerTable("not all", (*rows, row("unknown", 0, None)))
    assert "32 of at least 56 multiplications in shared." in of_layers(unknown)
    assert layer_frame(unknown)["layer"].iloc[-1] == "total, at least"
    counts = {"subject": "keras:m", "num_params": 50, "multiplications": 56, "three_ways": "at least"}
    assert "50 parameters and at least 56 multiplications" in of_networks(
        pd.DataFrame([{**counts, "at least": "activations, multiplications"}])
    )


def test_no_name_of_a_point_covers_another() -> None:
    counts = pd.DataFrame({"subject": "keras:Network", "account": [f"variant_{n}" for n in range(8)]})
    counts = counts.assign(num_params=10**6, activations=10**5, multiplications=[10**9] * 7 + [10**7])
    (axes,) = work_figure(counts).axes
    boxes = [label.get_window_extent() for label in axes.texts if label.get_text()]
    assert len(boxes) == len(counts)
    assert not any(box.count_overlaps(boxes[:number]) for number, box in enumerate(boxes))


def test_accounts_stand_in_the_order_of_the_table() -> None:
    names = ["reduced", "naive", "googlenet_3b", "model"]
    table = three_ways("s", {f"{name}/{each}": 1.0 for name in names for each in ("multiplications", "num_params")})
    assert list(dict.fromkeys(table["account"])) == ["naive", "reduced", "googlenet_3b", "model"]
    assert list(table["quantity"])[:2] == ["num_params", "multiplications"]
    assert three_ways("s", {"wall_seconds": 1.0, "a/num_params_keras": 1.0}).empty


def start(desk: Desk, *arguments: str, **environment: str) -> tuple[int, str]:
    process = desk.popen([sys.executable, "entrypoints/architectures.py", *arguments], **environment)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def artifacts(desk: Desk, run: Any) -> set[str]:
    return {f.path for path in ("plots", "tables", None) for f in desk.client.list_artifacts(run.info.run_id, path)}


def read_csv(desk: Desk, run: Any, path: str) -> pd.DataFrame:
    return pd.read_csv(desk.client.download_artifacts(run.info.run_id, path, str(desk.folder)))


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
        assert 0.95 * wall <= sum(accounts.values()) <= wall
        assert not {"train_seconds", "checkpoint_seconds"} & metrics.keys()
        assert (tags["dlperf.problem"], tags["dlperf.role"], tags["dlperf.ended"]) == (
            *("architectures", "trial", "finished"),
        )
    inception = runs["architectures subject=inception"]
    metrics = inception.data.metrics
    assert (metrics["num_params"], metrics["multiplications"]) == (388_096, 397_410_304)
    for ending in ("", "_keras", "_measured"):
        assert metrics[f"naive/multiplications{ending}"] == 1_115_684_864
        assert metrics[f"naive/num_params{ending}"] == 1_089_536
    assert metrics["naive/activations"] == metrics["naive/activations_keras"] == 1_638_400
    files = {f"tables/layers_naive.{ending}" for ending in ("csv", "md", "tex")}
    assert files | {"plots/layers_reduced.png", "environment.json"} <= artifacts(desk, inception)
    table = read_csv(desk, inception, "tables/layers_naive.csv")
    columns = ["parameters", "activations", "multiplications"]
    assert table[columns].iloc[:-1].sum().tolist() == table[columns].iloc[-1].tolist() == [
        *(1_089_536, 1_638_400, 1_115_684_864),
    ]  # fmt: skip
    ways = read_csv(desk, parent, "tables/three_ways.csv")
    assert len(ways) > 20
    assert set(ways["verdict"]) == {"agrees"}
    saved = ways[ways["quantity"] == "multiplications_saved"].iloc[0]
    assert [round(100 * saved[way], 1) for way in ("closed_form", "keras", "measured")] == [64.4] * 3
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
    status, output = start(desk, "--subject", f"keras:{path}", MLFLOW_RUN_ID=desk.client.create_run("0").info.run_id)
    assert status == 2
    (line,) = (line for line in output.splitlines() if line.startswith("dlperf"))
    assert "takes inputs of ?x?x3: give input_shape" in line
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
        ("nosuch", "subject=nosuch: must be one of alexnet, vgg19, stacked_filters, inception"),
        ("keras:NoSuch", "keras.applications has no such model"),
        ("keras:none.keras", "there is no such file"),
        ("keras:junk.keras", "is neither a .keras archive nor HDF5; files that can be read: .keras and .h5"),
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
    run = desk.client.create_run("0") if subject in ("nosuch", "keras:NoSuch") else None
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
