"""A user's model in problem 1: against a plain loop, killed and resumed, and refused where it does not fit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from dlperf.data import digits
from dlperf.data.dataset import shuffled_order, split_rows
from dlperf.errors import BadInput
from dlperf.models.model_file import loaded
from dlperf.models.own_model import trainable
from dlperf.parameters import from_texts, parse, same_value, texts, written
from dlperf.problems.model_parameters import own_model
from dlperf.problems.optimizers.parameters import OptimizersParameters
from dlperf.problems.optimizers.problem import PROBLEM
from dlperf.problems.optimizers.recipe import prepare
from dlperf.processor import cores
from dlperf.training.compiled_epoch import configure_runtime
from tests.support.desk import Desk, wait_for_line
from tests.support.project_run import project_run
from tests.support.rounding import assert_trained_alike

configure_runtime(cores())
OWN = {"protocol": "corrected", "dataset": "digits"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with what keeps state, draws numbers, is penalised or bounded."""
    file = tmp_path_factory.mktemp("models") / "my.keras"
    keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.RandomTranslation(0.1, 0.1),
            layers.Conv2D(8, 3, strides=4, activation="relu", kernel_regularizer=keras.regularizers.L2(0.001)),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(16, "tanh", activity_regularizer=keras.regularizers.L2(0.001)),
            layers.Dense(10, "softmax", kernel_constraint=keras.constraints.MaxNorm(1.0)),
        ]
    ).save(file)
    return file


def resolve(file: Path | str, **given: Any) -> OptimizersParameters:
    model = {"protocol": "corrected", "dataset": "digits", "model": f"keras:{file}", "threads": cores()}
    return OptimizersParameters.resolve({**model, **given})


def test_an_epoch_is_that_of_a_plain_loop(file: Path) -> None:
    """The user's softmax, Keras's loss and optimizer, a gradient tape, batch after batch."""
    parameters = resolve(
        file, optimizer="rmsprop", learning_rate=0.003, batch_size=96, train_examples=300, random_seed=3
    )
    data = digits.load()
    compiled = prepare(parameters, data).compiled
    own = own_model(parameters, data)
    plain = loaded(own.reference)
    start_weights = [v.numpy() for v in trainable(own, 3).network.variables]
    for variable, value in zip(plain.variables, start_weights, strict=True):
        variable.assign(value)
    optimizer = keras.optimizers.RMSprop(0.003)
    loss = keras.losses.SparseCategoricalCrossentropy()
    rows, _ = split_rows(len(data.train_labels), parameters.validation_size, 300, 3)
    for epoch in (1, 2):
        order = rows[shuffled_order(300, 3, epoch)]
        for first in range(0, 300, 96):
            batch = order[first : first + 96]
            with tf.GradientTape() as tape:
                outputs = plain(data.train_inputs[batch].astype("float32") / 255, training=True)
                minimised = loss(data.train_labels[batch], outputs) + tf.add_n(plain.losses)
            optimizer.apply(tape.gradient(minimised, plain.trainable_variables), plain.trainable_variables)
    compiled.compile()
    for epoch in (1, 2):
        *_, last = compiled.train_epoch(epoch)
    assert last.sums.examples == 300
    ours, theirs = ([v.numpy() for v in model.variables] for model in (compiled.model, plain))
    for kind in (np.dtype("float32"), ours[0].dtype):  # the latter: generators of random numbers, equal to the bit
        mine, others, first = ([a for a in arrays if a.dtype == kind] for arrays in (ours, theirs, start_weights))
        assert_trained_alike(mine, others, first, terms=8 * 8 * 96, steps=8)
    split = compiled.to_device(data.test_inputs, data.test_labels)
    *_, evaluated = compiled.evaluate(split)
    expected = loss(data.test_labels, plain(data.test_inputs.astype("float32") / 255, training=False)).numpy()
    assert evaluated.sums.metrics("test")["test_cross_entropy"] == pytest.approx(expected, rel=1e-4)


def test_a_trial_is_what_its_model_holds_wherever_the_file_lies(file: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "my.keras"
    moved.write_bytes(file.read_bytes())
    here, there = resolve(file), resolve(moved)
    assert PROBLEM.trial_key(here) == PROBLEM.trial_key(there)
    assert PROBLEM.trial_key(here) != PROBLEM.trial_key(resolve(file, weights="file"))
    assert PROBLEM.trial_key(here) != PROBLEM.trial_key(resolve("MobileNet"))
    assert texts(here)["model"] == "keras:my.keras"
    assert from_texts(OptimizersParameters, texts(here)).model == "keras:my.keras"
    assert written(here)["model"] == f"keras:{file}"
    assert same_value(OptimizersParameters, "model", f"keras:{file}", f"keras:{moved}")
    course = OptimizersParameters.resolve({"dataset": "digits"})
    assert "model" not in PROBLEM.curve_follows_from(course)
    assert PROBLEM.curve_follows_from(here)["model"] == PROBLEM.curve_follows_from(there)["model"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"protocol": "notebook"}, "model=keras:x.keras: needs protocol=corrected"),
        ({"dropout": "true"}, "dropout=true: describes the network of model=course, not keras:x.keras"),
        ({"dropout_after": "last"}, "dropout_after=last: describes the network of model=course"),
        ({"l2": "0.1"}, "l2=0.1: describes the network of model=course"),
        ({"xla": "all"}, "xla=all: describes the network of model=course"),
        ({"model": "resnet"}, "model=resnet: must be course, keras:FILE of a saved model or keras:NAME"),
        ({"model": "keras:"}, "model=keras:: must be course, keras:FILE"),
        ({"model": "course", "weights": "file"}, "weights=file: needs model=keras:FILE"),
        ({"model": "keras:ResNet50", "weights": "file"}, "weights=file: needs model=keras:FILE"),
        ({"model": "course", "custom": "x.py"}, "custom=x.py: needs model=keras:FILE"),
    ],
)
def test_bad_input(given: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput) as raised:
        parse(OptimizersParameters, {**OWN, "model": "keras:x.keras", **given})
    assert str(raised.value).startswith(words)


def test_a_model_of_ones_own_is_not_varied_in_dropout() -> None:
    trials = parse(OptimizersParameters, {**OWN, "model": "keras:x.keras", "learning_rate": "0.1"}).trials
    assert [(t.dropout, t.l2, t.xla) for t in trials] == [(False, 0.0, "updates")] * 6


def start(desk: Desk, *arguments: str, **environment: str) -> Any:
    return desk.popen([sys.executable, "entrypoints/optimizers.py", *arguments], **environment)


def test_what_cannot_be_trained_ends_with_status_2_before_a_run_exists(desk: Desk, tmp_path: Path) -> None:
    keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)]).save(tmp_path / "other.keras")
    for model, words in (
        (f"keras:{tmp_path}/none.keras", "there is no such file"),
        (f"keras:{tmp_path}/other.keras", "takes inputs of 28 x 28 x 1, but dataset=digits has 32 x 32 x 3"),
    ):
        process = start(desk, "--protocol", "corrected", "--dataset", "digits", "--model", model)
        output, _ = process.communicate(timeout=300)
        assert (process.returncode, len(output.strip().splitlines())) == (2, 1), output
        assert words in output
    assert not desk.runs()


@pytest.mark.slow
def test_a_sweep_is_killed_and_resumed_to_the_bit_by_mlflow_run(desk: Desk, file: Path) -> None:
    """Dropout, batch normalisation and random translation go on where they were, and the file may have moved."""
    sweep = ["--optimizer", "adam,nadam", "--learning_rate", "0.001", "--epochs", "8", "--threads", "2"]
    sweep += ["--protocol", "corrected", "--dataset", "digits", "--train_examples", "320", "--save_model", "true"]
    whole = start(desk, *sweep, "--model", f"keras:{file}", MLFLOW_EXPERIMENT_NAME="whole")
    output, _ = whole.communicate(timeout=300)
    assert whole.returncode == 0, output

    process = start(desk, *sweep, "--model", f"keras:{file}", MLFLOW_EXPERIMENT_NAME="killed")
    wait_for_line(process, "epoch 1/8")
    process.kill()
    process.communicate()
    (parent,) = (run for run in runs(desk, "killed") if run.data.tags["dlperf.role"] == "sweep")
    moved = file.with_name("folder")
    moved.mkdir()
    file.rename(moved / file.name)
    given = dict(zip((name.removeprefix("--") for name in sweep[::2]), sweep[1::2], strict=True))
    given["model"] = f"keras:{moved / file.name}"
    status, output = project_run(desk, "optimizers", given, parent.info.run_id)
    (moved / file.name).rename(file)
    assert status == 0, output

    expected, there = (
        {run.info.run_name: run for run in runs(desk, name) if run.data.tags["dlperf.role"] == "trial"}
        for name in ("whole", "killed")
    )
    assert len(expected) == 2
    assert expected.keys() == there.keys()
    for name, run in expected.items():
        for metric in ("train_loss", "validation_cross_entropy"):
            points = [
                [(p.step, p.value) for p in desk.client.get_metric_history(r.info.run_id, metric)]
                for r in (run, there[name])
            ]
            assert points[0] == points[1], (name, metric)
        assert run.data.metrics["test_cross_entropy"] == there[name].data.metrics["test_cross_entropy"]
        assert run.data.params["model"] == there[name].data.params["model"] == "keras:my.keras"
        assert run.data.params["model_outputs"] == "softmax"
        assert str(file.parent) not in json.dumps(run.data.params)
        assert run.data.tags["dlperf.model_digest"] == there[name].data.tags["dlperf.model_digest"]

    import mlflow

    mlflow.set_tracking_uri(desk.uri)
    (run,) = (run for name, run in expected.items() if "nadam" in name)
    (saved,) = (
        model
        for model in desk.client.search_logged_models([run.info.experiment_id])
        if model.source_run_id == run.info.run_id
    )
    model = mlflow.tensorflow.load_model(f"models:/{saved.model_id}")
    data = digits.load()
    outputs = np.asarray(model(data.test_inputs.astype("float32"), training=False))
    assert np.allclose(outputs.sum(-1), 1, atol=1e-5), "the user's softmax"
    right = (outputs.argmax(-1) == data.test_labels).mean()
    assert right == pytest.approx(run.data.metrics["test_accuracy"])


def runs(desk: Desk, experiment: str) -> list[Any]:
    there = desk.client.get_experiment_by_name(experiment)
    return list(desk.client.search_runs([there.experiment_id]))
