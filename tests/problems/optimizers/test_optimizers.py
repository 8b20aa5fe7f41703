"""Problem 1: its parameters, its rounds, its tables of stored trials, and its trials as a user starts them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from dlperf.accounting.mlp import multiplications
from dlperf.claims import ledger
from dlperf.errors import BadInput
from dlperf.parameters import from_texts, parse, texts
from dlperf.problems.optimizers.parameters import UNITS, OptimizersParameters
from dlperf.problems.optimizers.problem import PROBLEM, summarize, verify
from dlperf.trial import StoredTrial
from tests.support.desk import Desk
from tests.support.trials import told_at_the_end

SMALL = ["--dataset", "digits", "--epochs", "3"]


def test_the_notebooks_ten_trials() -> None:
    trials = parse(OptimizersParameters, {}).trials
    assert [(t.optimizer, t.dropout) for t in trials] == [
        (name, dropout) for dropout in (False, True) for name in ("adagrad", "rmsprop", "nadam", "adadelta", "adam")
    ]
    published = [claim.where for claim in ledger.claims("optimizers") if claim.measure == "best_train_loss"]
    named = {(where.get("optimizer", where.get("update_rule")), where.get("dropout")) for where in published}
    assert {(t.optimizer, t.dropout) for t in trials} <= named
    assert multiplications(UNITS, 3072, 10) == 4_082_000
    assert {(t.learning_rate, t.l2, t.batch_size, t.epochs, t.stage) for t in trials} == {
        (0.001, 0.01, 128, 200, "final")
    }
    single = parse(OptimizersParameters, {"optimizer": "adam", "dropout": "true", "epochs": "20"}).trials
    assert [(t.optimizer, t.dropout, t.epochs, t.search_epochs) for t in single] == [("adam", True, 20, 2)]


def test_the_corrected_protocol_has_a_grid_of_its_own_for_each_optimizer() -> None:
    trials = parse(OptimizersParameters, {"protocol": "corrected", "random_seed": "0,1,2"}).trials
    assert len(trials) == 6 * 2 * 5 * 3
    rates = {name: {t.learning_rate for t in trials if t.optimizer == name} for name in ("adam", "adadelta")}
    assert rates == {"adam": {0.00003, 0.0001, 0.0003, 0.001, 0.003}, "adadelta": {0.03, 0.1, 0.3, 1.0, 3.0}}
    assert {(t.l2, t.validation_size, t.train_size) for t in trials} == {(0.0001, 5000, 45_000)}
    given = parse(OptimizersParameters, {"protocol": "corrected", "learning_rate": "0.1,0.01"}).trials
    assert {t.learning_rate for t in given} == {0.1, 0.01}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": "sgd"}, "optimizer=sgd: must be one of adagrad, rmsprop, rmsprop_nesterov, nadam, adadelta"),
        ({"optimizer": "adam,lion"}, "optimizer=adam,lion: lion is not accepted"),
        ({"learning_rate": "-0.1"}, "learning_rate=-0.1: must be a number, above 0"),
        ({"dropout": "1.5"}, "dropout=1.5: must be true or false, or a comma list of them"),
        ({"l2": "-1"}, "l2=-1: must be a number, at least 0"),
        ({"epochs": "0"}, "epochs=0: must be an integer (epochs), at least 1"),
        ({"search_epochs": "0"}, "search_epochs=0: must be"),
    ],
)
def test_bad_input(given: dict[str, str], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(OptimizersParameters, given)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": "nadam,rmsprop_nesterov"}, "both are Nadam with protocol=notebook"),
        ({"protocol": "corrected", "search_examples": "1500", "train_examples": "1000"}, "must be at most 1000"),
        ({"train_examples": "1438"}, "at most 1437"),
    ],
)
def test_trials_that_cannot_be_run(given: dict[str, str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        verify(parse(OptimizersParameters, {"dataset": "digits", **given}).trials)


def test_what_the_notebook_calls_rmsprop_with_nesterov_momentum() -> None:
    resolve = OptimizersParameters.resolve
    assert resolve({"optimizer": "rmsprop_nesterov"}).update_rule == "nadam"
    assert resolve({"optimizer": "rmsprop_nesterov", "protocol": "corrected"}).update_rule == "rmsprop_nesterov"


def stored(
    parameters: OptimizersParameters, *, cross_entropy: float = 1.5, penalty: float = 0.5, accuracy: float = 0.4
) -> StoredTrial[OptimizersParameters]:
    """A trial of two epochs that ends with these figures."""
    history = {
        "train_loss": [cross_entropy + penalty + 1, cross_entropy + penalty],
        "train_cross_entropy": [cross_entropy + 1, cross_entropy],
        "train_penalty": [penalty] * 2,
        "train_subset_cross_entropy": [cross_entropy + 1, cross_entropy],
        "epoch_seconds": [1.0, 1.0],
    }
    if not parameters.notebook:
        history |= {"validation_cross_entropy": [9.0, cross_entropy], "validation_accuracy": [0.1, accuracy]}
    metrics = {**told_at_the_end(history), "epochs_run": 2, "train_seconds": 2.0 + parameters.dropout}
    if parameters.stage == "final":
        metrics["test_accuracy"] = accuracy
    rule = {"update_rule": parameters.update_rule}
    return StoredTrial("id", parameters, rule, metrics, history, {})


def test_rates_are_tried_first_and_the_best_one_is_trained_with_all_seeds() -> None:
    """Chosen apart for each optimizer and dropout, by the validation cross-entropy after the last epoch."""
    given = {"protocol": "corrected", "optimizer": "adam,adagrad", "dropout": "true", "random_seed": "3,4"}
    asked = parse(OptimizersParameters, {**given, "learning_rate": "0.1,0.01,0.001", "epochs": "50"}).trials
    first = PROBLEM.next_trials(asked, [])
    assert [(t.optimizer, t.learning_rate, t.random_seed) for t in first] == [
        (name, rate, 3) for name in ("adam", "adagrad") for rate in (0.1, 0.01, 0.001)
    ]
    assert {(t.stage, t.epochs) for t in first} == {("search", 5)}
    best = {"adam": 0.01, "adagrad": 0.1}
    finished = [stored(t, cross_entropy=1.0 + (best[t.optimizer] != t.learning_rate)) for t in first]
    then = [t for t in PROBLEM.next_trials(asked, finished) if t.stage == "final"]
    assert [(t.optimizer, t.learning_rate, t.random_seed, t.epochs) for t in then] == [
        (name, best[name], seed, 50) for seed in (3, 4) for name in ("adam", "adagrad")
    ]
    both = [*finished, *map(stored, then)]
    names = {PROBLEM.trial_name(t.parameters) for t in both}
    assert {PROBLEM.trial_name(t) for t in PROBLEM.next_trials(asked, both)} == names
    assert "optimizers stage=search optimizer=adam dropout=true learning_rate=0.1 random_seed=3" in names
    assert "optimizers optimizer=adam dropout=true learning_rate=0.01 random_seed=4" in names


def test_a_rate_that_failed_is_not_chosen() -> None:
    given = {"protocol": "corrected", "optimizer": "adam", "dropout": "false", "learning_rate": "0.1,0.01"}
    asked = parse(OptimizersParameters, given).trials
    survivor = stored(PROBLEM.next_trials(asked, [])[1], cross_entropy=5.0)
    then = [t for t in PROBLEM.next_trials(asked, [survivor]) if t.stage == "final"]
    assert [t.learning_rate for t in then] == [0.01]
    assert all(t.stage == "search" for t in PROBLEM.next_trials(asked, []))


def test_what_needs_no_choice_is_trained_at_once() -> None:
    asked = parse(OptimizersParameters, {"learning_rate": "0.1,0.01"}).trials
    assert PROBLEM.next_trials(asked, []) == asked  # the notebook's protocol has nothing to choose by
    asked = parse(OptimizersParameters, {"protocol": "corrected", "learning_rate": "0.1", "random_seed": "0,1"}).trials
    assert PROBLEM.next_trials(asked, []) == list(asked)
    asked = parse(OptimizersParameters, {"protocol": "corrected", "stage": "search"}).trials
    assert PROBLEM.next_trials(asked, []) == asked


def test_a_tried_rate_is_the_same_trial_whatever_else_was_asked_for() -> None:
    asked = OptimizersParameters.resolve({"protocol": "corrected", "dataset": "digits", "epochs": 50})
    alone = OptimizersParameters.resolve(
        {"protocol": "corrected", "dataset": "digits", "epochs": 5, "stage": "search", "search_epochs": 9}
    )
    assert PROBLEM.trial_key(asked.searching()) == PROBLEM.trial_key(alone) != PROBLEM.trial_key(asked)
    assert from_texts(OptimizersParameters, texts(asked.searching())) == asked.searching()


def finals(**figures: tuple[float, float, float]) -> list[StoredTrial[OptimizersParameters]]:
    """Trials without dropout of the notebook's protocol: cross-entropy, penalty, accuracy by optimizer."""
    return [
        stored(
            OptimizersParameters.resolve({"optimizer": name, "dropout": False}),
            cross_entropy=cross_entropy,
            penalty=penalty,
            accuracy=accuracy,
        )
        for name, (cross_entropy, penalty, accuracy) in figures.items()
    ]


def test_the_penalty_turns_the_ranking_around() -> None:
    trials = finals(adagrad=(1.4, 0.2, 0.5), adam=(1.3, 0.5, 0.4), adadelta=(1.2, 3.0, 0.45))
    tables = summarize(trials).tables
    placed = tables["ranking"].set_index("optimizer")
    assert dict(placed["final_train_loss"]) == {"adagrad": 1, "adam": 2, "adadelta": 3}
    assert dict(placed["final_cross_entropy"]) == {"adagrad": 3, "adam": 2, "adadelta": 1}
    assert dict(placed["test_accuracy"]) == {"adagrad": 1, "adam": 3, "adadelta": 2}
    stability = tables["ranking_stability"].set_index("order by")
    assert stability.loc["final_cross_entropy", "Kendall's tau with final_train_loss"] == pytest.approx(-1)
    assert stability.loc["final_cross_entropy", "first by it"] == "adadelta"
    assert stability.loc["test_accuracy", "Kendall's tau with final_train_loss"] == pytest.approx(1 / 3)
    assert "probability_of_best" not in tables


def test_probability_of_best_by_counting_combinations() -> None:
    from dlperf.problems.optimizers.tables import probability_of_best

    accuracies = {"adam": (0.5, 0.3, 0.6), "nadam": (0.4, 0.55, 0.2), "adagrad": (0.45, 0.1, 0.35)}
    rows = pd.DataFrame(
        {"optimizer": name, "dropout": False, "learning_rate": 0.1, "random_seed": seed, "test_accuracy": value}
        for name, values in accuracies.items()
        for seed, value in enumerate(values)
    )
    found = probability_of_best(rows).set_index("optimizer")["test_accuracy"]
    wins = dict.fromkeys(accuracies, 0)
    for a in accuracies["adam"]:
        for b in accuracies["nadam"]:
            for c in accuracies["adagrad"]:
                wins[max((a, "adam"), (b, "nadam"), (c, "adagrad"))[1]] += 1
    assert dict(found) == pytest.approx({name: count / 27 for name, count in wins.items()})


def test_means_and_spread_over_random_seeds() -> None:
    trials = [
        stored(
            OptimizersParameters.resolve(
                {"optimizer": name, "dropout": False, "random_seed": seed, "protocol": "corrected"}
            ),
            cross_entropy=1.0 + seed / 10 + (name == "adam"),
        )
        for name in ("adam", "nadam")
        for seed in (0, 1, 2)
    ]
    summary = summarize(trials)
    row = summary.tables["by_optimizer"].set_index("optimizer").loc["adam"]
    assert (row["random_seeds"], row["final_cross_entropy"]) == (3, pytest.approx(2.1))
    assert row["sd_final_cross_entropy"] == pytest.approx(0.1)
    best = summary.tables["probability_of_best"].set_index("optimizer")["final_cross_entropy"]
    assert dict(best) == {"adam": 0.0, "nadam": 1.0}
    assert {"train_loss_without_dropout", "train_cross_entropy_without_dropout", "test_accuracy"} <= set(
        summary.figures
    )


def test_a_users_own_model_is_not_said_to_be_without_dropout() -> None:
    """It has what its file has; in one summary with the course's network it stands apart from both kinds of that."""
    own = {"protocol": "corrected", "model": "keras:my.keras"}
    models: list[dict[str, Any]] = [own, {"protocol": "corrected", "dropout": False}]
    asked = [
        OptimizersParameters.resolve({**model, "optimizer": name, "random_seed": seed})
        for model in models
        for name in ("adam", "nadam", "rmsprop")
        for seed in (0, 1, 2)
    ]
    alone, both = (
        summarize([stored(t, cross_entropy=1 + t.random_seed / 10) for t in trials + [s.searching() for s in trials]])
        for trials in (asked[:9], asked)
    )
    for name in ("optimizers", "by_optimizer", "ranking", "choice", "probability_of_best", "learning_rates"):
        assert set(alone.tables[name]["dropout"]) == {"as built"}, name
        assert set(both.tables[name]["dropout"]) == {False, "as built"}, name
    assert not any("without dropout" in sentence for sentence in alone.sentences.values())
    assert "train_loss" in alone.figures
    assert not any("dropout" in name for name in alone.figures)
    assert {"train_loss", "train_loss_without_dropout"} <= set(both.figures)
    for name in ("train_loss", "test_accuracy", "learning_rates"):
        words = [text.get_text() for text in both.figures[name].findobj(Text)]
        assert any("as built" in word or "my.keras" in word for word in words), name


def test_a_choice_at_the_edge_of_the_grid_is_told() -> None:
    given = {"protocol": "corrected", "optimizer": "adam", "dropout": "false"}
    first = PROBLEM.next_trials(parse(OptimizersParameters, given).trials, [])
    table = summarize([stored(t, cross_entropy=1 + t.learning_rate) for t in first]).tables["learning_rates"]
    assert list(table["chosen"]) == ["yes, at the edge of the grid", "", "", "", ""]
    table = summarize([stored(t, cross_entropy=1 + abs(t.learning_rate - 0.0003)) for t in first]).tables[
        "learning_rates"
    ]
    assert list(table["chosen"]) == ["", "", "yes", "", ""]


def finish(desk: Desk, *arguments: str, **environment: str) -> tuple[int, str]:
    process = desk.popen([sys.executable, "entrypoints/optimizers.py", *arguments], **environment)
    output, _ = process.communicate(timeout=400)
    return process.returncode, output


def curve(desk: Desk, run: Any, metric: str) -> list[float]:
    return [m.value for m in desk.client.get_metric_history(run.info.run_id, metric)]


@pytest.mark.slow
def test_one_training_with_dropout(desk: Desk) -> None:
    """The contract's names; loss is cross-entropy and penalty; the same bits again; the model loads without dlperf."""
    # The old Nadam oscillates over so few epochs, and what is without the masks need not be lower.
    one = [*SMALL, "--optimizer", "rmsprop_nesterov", "--dropout", "true", "--update_rules", "keras3"]
    status, output = finish(desk, *one, "--save_model", "true")
    assert status == 0, output
    (run,) = desk.runs().values()
    assert run.info.run_name == "optimizers optimizer=rmsprop_nesterov dropout=true learning_rate=0.001 random_seed=0"
    assert run.data.params["update_rule"] == "nadam"
    assert run.data.params["num_params"] == "4084010"
    assert run.data.tags["dlperf.validation"] == "none"
    metrics = run.data.metrics
    assert metrics["train_loss"] == pytest.approx(metrics["train_cross_entropy"] + metrics["train_penalty"])
    assert metrics["train_subset_cross_entropy"] < metrics["train_cross_entropy"]  # without the masks
    assert not any(name.startswith("validation") for name in metrics)
    assert {"test_accuracy", "test_cross_entropy", "test_error", "epochs_run", "best_epoch"} <= metrics.keys()
    files = {f.path for path in ("plots", "tables") for f in desk.client.list_artifacts(run.info.run_id, path)}
    assert {"tables/update_rules.csv", "tables/optimizers.csv", "plots/train_loss_with_dropout.png"} <= files

    status, output = finish(desk, *one, MLFLOW_EXPERIMENT_NAME="again")
    assert status == 0, output
    (again,) = desk.client.search_runs([desk.client.get_experiment_by_name("again").experiment_id])
    assert curve(desk, again, "train_loss") == curve(desk, run, "train_loss")
    assert again.data.metrics["test_loss"] == metrics["test_loss"]

    import mlflow

    from dlperf.data import digits

    mlflow.set_tracking_uri(desk.uri)
    (saved,) = desk.client.search_logged_models(["0"])
    model = mlflow.tensorflow.load_model(f"models:/{saved.model_id}")
    held = digits.load()
    answers = np.asarray(model(held.test_inputs.astype("float32"))).argmax(-1)
    assert (answers == held.test_labels).mean() == pytest.approx(metrics["test_accuracy"])


@pytest.mark.slow
def test_a_search_in_workers_and_its_resumption(desk: Desk) -> None:
    """Rates are tried without the test set, the best one is trained; what has finished is not run again."""
    sweep = [*SMALL, "--protocol", "corrected", "--optimizer", "adam", "--dropout", "false", "--random_seed", "0,1"]
    sweep += ["--train_examples", "640"]
    status, output = finish(desk, *sweep, "--learning_rate", "0.001,0.00001", "--processes", "2")
    assert status == 0, output
    runs = desk.runs()
    parent = runs["optimizers learning_rate=0.001,0.00001 random_seed=0,1"]
    assert parent.data.metrics["trials_finished"] == 4
    tried = [run for name, run in runs.items() if "stage=search" in name]
    trained = [run for name, run in runs.items() if name.startswith("optimizers optimizer")]
    assert (len(tried), len(trained)) == (2, 2)
    assert not any(name.startswith("test_") for run in tried for name in run.data.metrics)
    assert {run.data.params["epochs"] for run in tried} == {"1"}
    assert {run.data.params["learning_rate"] for run in trained} == {"0.001"}
    assert all("test_accuracy" in run.data.metrics for run in trained)
    artifacts = {f.path for f in desk.client.list_artifacts(parent.info.run_id, "tables")}
    assert {"tables/learning_rates.csv", "tables/by_optimizer.csv"} <= artifacts

    # A tried rate's run goes on by itself: here it is finished, and says so.
    status, output = finish(desk, MLFLOW_RUN_ID=tried[0].info.run_id)
    assert (status, "nothing is left to do" in output) == (0, True), output
    desk.client.set_tag(parent.info.run_id, "dlperf.ended", "killed")
    status, output = finish(desk, MLFLOW_RUN_ID=parent.info.run_id)
    assert status == 0, output
    assert output.count("finished before, skipped") == 4
    assert len(desk.runs()) == len(runs)


@pytest.mark.slow
def test_a_plan_of_both_rounds(desk: Desk) -> None:
    arguments = ["--dataset", "digits", "--protocol", "corrected", "--optimizer", "adam", "--dry_run", "true"]
    arguments += ["--measure", "false"]
    status, output = finish(desk, *arguments)
    assert status == 0, output
    assert "12 trials, about" in output
    assert "chosen by the results of the first ones" in output
    assert not desk.runs()


def test_bad_input_on_the_command_line(desk: Desk) -> None:
    for arguments, said in (
        (("--optimizer", "sgd"), "optimizer=sgd"),
        (("--learning_rate", "-0.1"), "learning_rate=-0.1"),
        (("--learning_rate=-0.1",), "learning_rate=-0.1"),
        (("--dropout", "1.5"), "dropout=1.5"),
    ):
        status, output = finish(desk, *arguments)
        assert (status, len(output.strip().splitlines())) == (2, 1), output
        assert said in output


@pytest.mark.cifar10
def test_the_images_are_not_copied() -> None:
    from dlperf import data
    from dlperf.training.compiled_epoch import on_device

    images = data.load("cifar10").train_inputs.reshape(-1, 3072)
    tensor = on_device(images)
    assert memoryview(tensor).nbytes == images.nbytes
    assert np.frombuffer(memoryview(tensor), np.uint8).ctypes.data == images.ctypes.data
