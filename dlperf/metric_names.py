"""The names of metrics, and which direction is better."""

from __future__ import annotations

EPOCH_METRICS = (
    *("train_loss", "train_cross_entropy", "train_penalty", "train_accuracy", "train_rmse"),
    *("train_subset_loss", "train_subset_cross_entropy", "train_subset_accuracy"),
    *("validation_loss", "validation_cross_entropy", "validation_accuracy", "validation_error", "validation_rmse"),
    *("learning_rate", "round_step_seconds"),
    "epoch_seconds",
    "examples_per_second",
)
"""Metrics with a value per epoch; the first one is logged by every problem that trains."""

CURVES = tuple(name for name in EPOCH_METRICS if name != "examples_per_second")
"""Those whose epochs are read back and archived; a throughput follows from `epoch_seconds`."""

SYSTEM_METRICS = "system/"
"""The prefix of the metrics that MLflow's monitor of the host logs."""

_CIRCUMSTANCES = {"learning_rate", "round_step_seconds", "epoch_seconds", "examples_per_second", "train_penalty"}
_HIGHER = ("accuracy", "r_squared", "per_second", "speedup", "efficiency", "ceiling", "saved")


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better, as of an accuracy or a throughput; of errors, losses and times less is."""
    return any(part in metric for part in _HIGHER)


def is_better(metric: str, value: float, than: float) -> bool:
    """Whether a value of a metric is strictly better than another."""
    return value > than if higher_is_better(metric) else value < than


def is_reached(metric: str, value: float, target: float) -> bool:
    """Whether a value of a metric is at least as good as a target."""
    return value >= target if higher_is_better(metric) else value <= target


def has_best(metric: str) -> bool:
    """Whether the best of a metric's epochs says something, and is logged as `best_METRIC` at the end."""
    return metric in EPOCH_METRICS and metric not in _CIRCUMSTANCES


def best(metric: str, values: list[float]) -> float:
    """Return the best of the values."""
    return max(values) if higher_is_better(metric) else min(values)
