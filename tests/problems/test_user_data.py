"""Problems on data of the user's own: what they refuse, what defines a trial, and what a start leaves in the store."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from dlperf import entry_points
from dlperf.analysis.settings import settings
from dlperf.claims.ledger import COMPUTED, claims
from dlperf.claims.verdicts import NOT_COMPARABLE, NOT_MEASURED, verdicts
from dlperf.errors import BadInput
from dlperf.models import reference
from dlperf.models.reference import ModelReference
from dlperf.parameters import parse, texts, with_whole_paths
from dlperf.problem import Problem
from dlperf.trial import StoredTrial
from tests.support.desk import Desk, wait_for_line

CLASSIFIERS = ["optimizers", "cutout"]
ALL = [*CLASSIFIERS, "scaling", "approximators"]


def problem(name: str) -> Problem[Any]:
    return entry_points.load_problem(name)


def trials(name: str, raw: Mapping[str, str]) -> Any:
    protocol = {} if name == "scaling" else {"protocol": "corrected"}
    return parse(problem(name).parameters, {**protocol, **raw}).trials


def pixels(folder: Path, size: int = 8, examples: int = 100) -> str:
    """Images of two classes, one bright and one dark."""
    draw, labels = np.random.default_rng(0), np.arange(examples) % 2
    images = draw.integers(0, 120, (examples, size, size, 3)) + 130 * labels[:, None, None, None]
    train, test = slice(None, -20), slice(-20, None)
    folder.mkdir(exist_ok=True)
    np.savez(
        folder / "my.npz",
        x_train=images[train].astype(np.uint8),
        y_train=labels[train],
        x_test=images[test].astype(np.uint8),
        y_test=labels[test],
    )
    return f"npz:{folder / 'my.npz'}"


def function(folder: Path, examples: int = 60) -> str:
    points = np.random.default_rng(0).uniform(-1, 1, (examples, 3))
    values = points @ [1.0, 2.0, 3.0]
    folder.mkdir(exist_ok=True)
    np.savez(folder / "my.npz", x_train=points[:50], y_train=values[:50], x_test=points[50:], y_test=values[50:])
    return f"npz:{folder / 'my.npz'}"


@pytest.mark.parametrize("name", [*CLASSIFIERS, "approximators"])
def test_the_notebooks_protocol_is_the_courses(name: str) -> None:
    says = (
        "protocol=notebook: repeats the notebook on its own data: give protocol=corrected with dataset=npz:/no/my.npz"
    )
    with pytest.raises(BadInput, match=says):
        parse(problem(name).parameters, {"dataset": "npz:/no/my.npz"})


@pytest.mark.parametrize(
    ("name", "dataset", "says"),
    [
        ("optimizers", "cifar", r"must be one of cifar10, cifar100, digits, npz:PATH, images:PATH, parquet:PATH; did"),
        ("cutout", "npz:", "must be one of"),
        ("cutout", "zip:/x.zip", "must be one of"),
        ("optimizers", "fashion_mnist", "must be one of"),
        ("scaling", "eggholder", "must be one of synthetic, cifar10, cifar100, fashion_mnist, digits, npz:PATH"),
        ("approximators", "images:/photos", "must be one of eggholder, npz:PATH"),
    ],
)
def test_a_data_set_that_there_is_not(name: str, dataset: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as refused:
        trials(name, {"dataset": dataset})
    assert refused.value.parameter == "dataset"


@pytest.mark.parametrize("name", [*CLASSIFIERS, "scaling"])
@pytest.mark.parametrize("dataset", ["digits", "npz:/x/my.npz"])
@pytest.mark.parametrize("idle", ["image_size", "split_seed"])
def test_what_says_nothing_of_the_data_is_refused(name: str, dataset: str, idle: str) -> None:
    with pytest.raises(BadInput, match=f"{idle}=8: goes with images:FOLDER and parquet:FILE, not with dataset="):
        trials(name, {"dataset": dataset, idle: "8"})
    trials(name, {"dataset": "images:/photos", idle: "8"})


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("place", ["/no/such/my.npz", "\0", "~nobody/my.npz", "x" * 5000])
def test_a_file_that_is_not_there(name: str, place: str) -> None:
    with pytest.raises(BadInput, match=r"is not there: looked for|cannot be looked for") as refused:
        problem(name).verify(trials(name, {"dataset": f"npz:{place}"}))
    assert refused.value.parameter == "dataset"


def test_where_a_path_does_not_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLPERF_GIT_COMMIT", "0123abc")
    asked = trials("optimizers", {"dataset": "npz:/home/me/my.npz"})
    mount = "-v /home/me:/home/me:ro or mlflow run -A volume=/home/me:/home/me:ro"
    with pytest.raises(BadInput, match=f"in this container: mount its folder, docker run {mount}"):
        problem("optimizers").verify(asked)
    with pytest.raises(BadInput, match=f"model=keras:/home/me/my.keras: there is no such file: .* run {mount}"):
        reference.kind(ModelReference("model", "keras:/home/me/my.keras"))
    with pytest.raises(BadInput, match=f"custom=/home/me/own.py: there is no such file: .* run {mount}"):
        reference.module_file("/home/me/own.py")
    monkeypatch.setenv("RAY_RAYLET_PID", "1")
    with pytest.raises(BadInput, match="with engine=ray every node needs /home/me, mounted at this same path"):
        problem("optimizers").verify(asked)


@pytest.mark.parametrize("name", ["optimizers", "cutout", "scaling"])
def test_fewer_examples_than_a_batch(name: str, tmp_path: Path) -> None:
    batch = "batch_size_per_worker" if name == "scaling" else "batch_size"
    mode = {"mode": "weak", "workers": "1"} if name == "scaling" else {}
    for size, fits in (("72", True), ("81", False)):
        asked = trials(name, {"dataset": pixels(tmp_path), batch: size, **mode})
        if fits:
            problem(name).verify(asked)
            continue
        with pytest.raises(BadInput, match=f"{batch}=81: must be at most (72|80), the examples of npz:"):
            problem(name).verify(asked)


def test_fewer_samples_than_a_batch(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="batch_size=1000: must be at most 45, the examples of npz:"):
        problem("approximators").verify(trials("approximators", {"dataset": function(tmp_path), "units": "16"}))


@pytest.mark.parametrize("name", ["cutout", "scaling"])
def test_vectors_are_no_images(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", x_train=np.ones((300, 4)), y_train=np.arange(300) % 2, x_test=[[1.0] * 4], y_test=[0])
    with pytest.raises(
        BadInput, match=r"an example is float32 \(4,\), must be pixels, uint8 \(height, width, channels"
    ):
        problem(name).verify(trials(name, {"dataset": f"npz:{tmp_path / 'v.npz'}"}))


def test_a_network_that_takes_larger_images(tmp_path: Path) -> None:
    asked = trials("scaling", {"dataset": pixels(tmp_path), "model": "resnet50", "batch_size": "8"})
    with pytest.raises(BadInput, match=r"model=resnet50: takes images of at least 32 x 32, .* has 8 x 8"):
        problem("scaling").verify(asked)


@pytest.mark.parametrize("name", ["scaling", "optimizers"])
def test_paths_are_whole_where_the_working_directory_is_another(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/me")
    for dataset, whole in (("npz:a/my.npz", "npz:/a/my.npz"), ("npz:~/b.npz", "npz:/home/me/b.npz"), ("digits",) * 2):
        asked = trials(name, {"dataset": dataset, "model": "keras:my.keras", "custom": "own.py", "data_dir": "../d"})[0]
        sent = with_whole_paths(asked)
        assert (sent.dataset, sent.model, sent.custom, sent.data_dir) == (whole, "keras:/my.keras", "/own.py", "/d")
    asked = trials(name, {"dataset": "digits", "model": "keras:ResNet50"})[0]
    assert with_whole_paths(asked) == asked


@pytest.mark.parametrize("name", ["scaling", "cutout"])
@pytest.mark.parametrize("dataset", ["cifar10", "fashion_mnist"])
def test_a_relative_folder_is_said_where_it_was_looked_for(
    name: str, dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "cutout" and dataset == "fashion_mnist":
        pytest.skip("scaling's alone")
    monkeypatch.chdir(tmp_path)
    asked = trials(name, {"dataset": dataset, "data_dir": "my/data"})
    says = f"data_dir=my/data: is not there: looked for {tmp_path}/my/data"
    with pytest.raises(BadInput, match=f"{says}, must"):
        problem(name).verify(asked)
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(BadInput, match=f"{says}, since mlflow run starts in the project's folder: give the whole path"):
        problem(name).verify(asked)


@pytest.mark.parametrize("name", ALL)
def test_content_defines_a_trial_and_no_path_does(name: str, tmp_path: Path) -> None:
    make = function if name == "approximators" else pixels
    one, moved, other = (
        trials(name, {"dataset": make(tmp_path / place, examples=examples), "batch_size": "16"})[0]
        for place, examples in (("a", 60), ("b", 60), ("c", 58))
    )
    (tmp_path / "b" / "my.npz").rename(tmp_path / "b" / "renamed.npz")
    renamed = trials(name, {"dataset": f"npz:{tmp_path / 'b' / 'renamed.npz'}", "batch_size": "16"})[0]
    keys = [problem(name).trial_key(trial) for trial in (one, renamed, other)]
    assert keys[0] == keys[1] != keys[2]
    assert texts(one)["dataset"] == texts(moved)["dataset"] == "npz:my.npz"
    assert problem(name).work(one) > 0


def test_they_are_settings_of_their_own() -> None:
    made = []
    for number, (dataset, digest) in enumerate([("cifar10", "a"), ("npz:my.npz", "b"), ("npz:my.npz", "c")]):
        (trial, *_) = trials("optimizers", {"dataset": dataset, "optimizer": "adam", "dropout": "false"})
        tags = {"dlperf.data_digest": digest}
        made.append(StoredTrial(str(number), trial, texts(trial), {"train_loss": 1.0}, {}, tags))
    found = settings(problem("optimizers"), made)
    assert [setting.facts["dataset"] for setting in found] == ["cifar10", "npz:my.npz", "npz:my.npz"]
    assert [setting.facts["data"] for setting in found] == ["a", "b", "c"]


@pytest.mark.parametrize("name", ALL)
def test_no_published_claim_is_about_them(name: str) -> None:
    asked = {
        "optimizers": {"optimizer": "adam,adagrad", "learning_rate": "0.001"},
        "cutout": {"m": "0,4", "depth": "20", "copies_in": "epoch"},
        "scaling": {"device": "gpu", "workers": "1,2", "strategy": "mirrored"},
        "approximators": {"units": "16;64,128"},
    }[name]
    numbers = dict.fromkeys(("train_loss", "num_params", "best_validation_rmse", "images_per_second"), 1.0)
    made = [
        StoredTrial(str(number), trial, texts(trial), numbers, {}, {})
        for number, trial in enumerate(trials(name, {**asked, "dataset": "npz:my.npz"}))
    ]
    for each in verdicts(claims(name), settings(problem(name), made)):
        if each.claim.measure != COMPUTED:  # which needs no trial
            assert each.verdict in (NOT_COMPARABLE, NOT_MEASURED), each
        if each.verdict == NOT_COMPARABLE:
            assert "dataset=npz:my.npz, which no source used" in each.reason, each


def test_drawn_samples_share_a_setting_and_the_users_do_not() -> None:
    made = []
    for number, dataset in enumerate(["eggholder", "eggholder", "npz:my.npz", "npz:my.npz"]):
        (trial,) = trials("approximators", {"dataset": dataset, "units": "16", "random_seed": str(number)})
        tags = {"dlperf.data_digest": f"digest {number}"}
        made.append(StoredTrial(str(number), trial, texts(trial), {}, {}, tags))
    assert [len(setting.trials) for setting in settings(problem("approximators"), made)] == [2, 1, 1]


@pytest.mark.slow
def test_a_killed_start_goes_on_with_a_file_that_has_moved(desk: Desk) -> None:
    digits = load_digits()
    here, there = desk.folder / "here.npz", desk.folder / "moved" / "here.npz"
    np.savez(
        here,
        x_train=digits.data[:1500],
        y_train=digits.target[:1500],
        x_test=digits.data[1500:],
        y_test=digits.target[1500:],
    )
    command = [sys.executable, "entrypoints/optimizers.py", "--protocol", "corrected", "--optimizer", "adam"]
    command += ["--learning_rate", "0.001", "--epochs", "8", "--dropout", "true", "--dataset"]

    def finish(dataset: str, **environment: str) -> None:
        process = desk.popen([*command, dataset], **environment)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output

    finish(f"npz:{here}")
    (whole,) = desk.client.search_runs(["0"])
    assert whole.data.params["dataset"] == "npz:here.npz"
    assert (whole.data.params["image_size"], whole.data.metrics["test_accuracy"] > 0.9) == ("0", True)
    (used,) = whole.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("npz:here.npz", whole.data.tags["dlperf.data_digest"])
    assert json.loads(used.dataset.profile) == {
        "train_examples": 1350,
        "validation_examples": 150,
        "test_examples": 297,
    }

    process = desk.popen([*command, f"npz:{here}"])
    wait_for_line(process, "epoch 1/8")
    process.kill()
    process.communicate()
    killed = next(r for r in desk.client.search_runs(["0"]) if r.info.run_id != whole.info.run_id)
    there.parent.mkdir()
    here.rename(there)
    finish(f"npz:{there}", MLFLOW_RUN_ID=killed.info.run_id)
    resumed = desk.client.get_run(killed.info.run_id)
    same = ["train_loss", "validation_loss", "test_loss", "test_accuracy"]
    assert [resumed.data.metrics[name] for name in same] == [whole.data.metrics[name] for name in same]
    assert resumed.data.tags["dlperf.trial_key"] == whole.data.tags["dlperf.trial_key"]
