"""What real runs of every problem log is what docs/tracking.md lists, no more and no less."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from dlperf import entry_points
from dlperf.metric_names import EPOCH_METRICS, has_best
from tests.docs.pages import DOCS, code_spans, first_column
from tests.support.desk import Desk

TRACKING = DOCS / "tracking.md"
WAYS = ("", "_keras", "_measured")
DIGITS = ["--dataset", "digits", "--train_examples", "320", "--epochs", "1", "--protocol", "corrected"]
# Toy trials that together use every metric, and at last a comparison of them.
STARTS = {
    "cutout": [*DIGITS, "--depth", "8", "--m", "1", "--target_accuracy", "0.001"],
    "optimizers": [
        *(*DIGITS, "--optimizer", "adam", "--learning_rate", "0.001,0.0003", "--dropout", "false"),
        *("--search_epochs", "1"),
    ],
    "approximators": ["--units", "16", "--epochs", "1"],
    "architectures": ["--subject", "stacked_filters,inception"],
    "scaling": [
        *("--model", "convnet", "--dataset", "digits", "--workers", "1,2", "--steps", "1", "--repeats", "1"),
        *("--batch_size", "32", "--batch_size_per_worker", "16"),
    ],
    "compare": [],
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A store in which every problem has logged."""
    desk = Desk(tmp_path_factory.mktemp("logged")).with_store()
    for name, arguments in STARTS.items():
        process = desk.popen([sys.executable, f"entrypoints/{name}.py", *arguments])
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
    return desk


@pytest.fixture(scope="module")
def runs(desk: Desk) -> list[Any]:
    return list(desk.client.search_runs(["0"]))


def problem_of(run: Any) -> str:
    return str(run.data.tags["dlperf.problem"])


def test_metrics(runs: list[Any]) -> None:
    """Of architectures, quantities stand for the metrics NETWORK/QUANTITY."""
    quantities = first_column(TRACKING, "architectures")
    documented = {
        *EPOCH_METRICS,
        *(f"best_{metric}" for metric in EPOCH_METRICS if has_best(metric)),
        *first_column(TRACKING, "Time accounts"),
        *first_column(TRACKING, "Final metrics"),
        *first_column(TRACKING, "scaling"),
        *quantities,
    }
    logged: set[str] = set()
    for run in runs:
        for metric in run.data.metrics:
            network, slash, quantity = metric.partition("/")
            if slash:
                assert problem_of(run) == "architectures"
                assert any(quantity == f"{name}{way}" for name in quantities for way in WAYS), metric
            logged.add(re.sub("(_keras|_measured)$", "", quantity) if slash else network)
    # No layer has adapters or is quantised here.
    assert logged | {"num_params_plain"} == documented


def test_metrics_of_epochs_by_problem(runs: list[Any], desk: Desk) -> None:
    """A metric whose row names problems is logged by them and by no other."""
    named: dict[str, set[str]] = {}
    for run in runs:
        if run.data.tags["dlperf.role"] == "trial":
            named.setdefault(problem_of(run), set()).update(run.data.metrics)
    trains = {"optimizers", "scaling", "cutout", "approximators"}
    assert {name for name, metrics in named.items() if "train_loss" in metrics} == trains
    assert {name for name, metrics in named.items() if "learning_rate" in metrics} == trains - {"scaling"}
    assert {name for name, metrics in named.items() if "train_penalty" in metrics} == {"optimizers", "cutout"}
    assert {name for name, metrics in named.items() if "train_rmse" in metrics} == {"approximators"}
    assert {name for name, metrics in named.items() if "train_subset_loss" in metrics} == {"optimizers"}
    assert {name for name, metrics in named.items() if "round_step_seconds" in metrics} == {"scaling"}


def test_tags(runs: list[Any]) -> None:
    logged = {tag for run in runs for tag in run.data.tags if tag.startswith("dlperf.")}
    logged = {re.sub(r"^dlperf\.compared\..*", "dlperf.compared.PROBLEM", tag) for tag in logged}
    logged |= {"dlperf.memory_kills"}  # where a control group counts them
    # No run has failed here, none was imported, no total is a lower bound, and no disk was full.
    elsewhere = {"dlperf.failure", "dlperf.archived_run", "dlperf.at_least", "dlperf.state"}
    assert first_column(TRACKING, "Tags") - logged == elsewhere
    assert logged <= first_column(TRACKING, "Tags")


def test_parameters_that_follow_from_the_network(runs: list[Any]) -> None:
    documented = {span.text for span in code_spans(TRACKING)}
    for run in runs:
        declared = set(entry_points.load(problem_of(run)).parameters.model_fields)
        assert run.data.params.keys() - declared <= documented
    facts = {parameter for run in runs for parameter in run.data.params} - {
        name for each in entry_points.NAMES for name in entry_points.load(each).parameters.model_fields
    }
    assert facts == {"num_params", "update_rule", "num_layers", "total_units", "gradient_bytes"}


def files(client: Any, run_id: str, folder: str | None = None) -> Iterator[str]:
    for found in client.list_artifacts(run_id, folder):
        if found.is_dir:
            yield from files(client, run_id, found.path)
        else:
            yield found.path


def test_artifacts(runs: list[Any], desk: Desk) -> None:
    patterns = {
        re.escape(path).replace("PROBLEM", "[a-z]+").replace(r"\*", "[^/]+")
        for path in first_column(TRACKING, "Parameters, data and artifacts")
    }
    unused = set(patterns)
    for run in runs:
        for path in files(desk.client, run.info.run_id):
            used = {pattern for pattern in patterns if re.fullmatch(pattern, path)}
            assert used, (problem_of(run), path)
            unused -= used
    assert not unused
