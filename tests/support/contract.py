"""The tracking contract, as a finished trial has to keep it."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.support.desk import Desk

FINAL_NAMES = {
    *("train_seconds", "compile_seconds", "evaluation_seconds", "tracking_seconds", "checkpoint_seconds"),
    *("setup_seconds", "reporting_seconds", "wall_seconds", "epochs_run", "best_epoch", "stopped_early"),
    *("test_loss", "test_accuracy", "test_error", "num_params", "peak_memory_mb"),
}
EPOCH_NAMES = {
    *("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "validation_error"),
    *("learning_rate", "epoch_seconds", "examples_per_second"),
}
ARTIFACTS = {
    "cutout": {
        *("tables/cutout.csv", "plots/cutout_examples.png"),
        *("plots/validation_error_by_m.png", "plots/learning_rate.png"),
    },
    "optimizers": {"tables/optimizers.csv", "tables/update_rules.csv"},
}
TAG_NAMES = {
    f"dlperf.{name}"
    for name in (
        *("problem", "role", "protocol", "validation", "trial_key", "version", "hardware", "software", "data_digest"),
        *("target_reached", "ended"),
    )
}


def assert_trial(desk: Desk, run: Any, epochs: int) -> None:
    """A trial that finished has every name, its accounts add up, and its artifacts are there."""
    metrics, tags = run.data.metrics, run.data.tags
    assert (run.info.status, tags["dlperf.role"], tags["dlperf.ended"]) == ("FINISHED", "trial", "finished")
    validated = tags["dlperf.validation"] != "none"
    epoch_names = {name for name in EPOCH_NAMES if validated or not name.startswith("validation")}
    assert metrics.keys() >= FINAL_NAMES | epoch_names
    assert tags.keys() >= TAG_NAMES
    for name in epoch_names:
        assert [m.step for m in desk.client.get_metric_history(run.info.run_id, name)] == list(range(1, epochs + 1))

    assert sys.platform != "linux" or 0 <= metrics["others_share"] <= 1
    accounts = {name: value for name, value in metrics.items() if name.endswith("_seconds")}
    wall = accounts.pop("wall_seconds")
    for name in ("epoch_seconds", "seconds_to_target"):  # shares of train_seconds
        accounts.pop(name, None)
    assert 0.95 * wall <= sum(accounts.values()) <= wall
    seconds = [m.value for m in desk.client.get_metric_history(run.info.run_id, "epoch_seconds")]
    assert metrics["train_seconds"] == pytest.approx(sum(seconds), rel=1e-6)
    assert tags["dlperf.target_reached"] == str("epochs_to_target" in metrics).lower()

    files = {f.path for path in ("plots", "tables", None) for f in desk.client.list_artifacts(run.info.run_id, path)}
    assert files >= {"environment.json"} | ARTIFACTS[tags["dlperf.problem"]]
    (used,) = run.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == (run.data.params["dataset"], tags["dlperf.data_digest"])
