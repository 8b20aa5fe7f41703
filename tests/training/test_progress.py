from __future__ import annotations

import io

from rich.console import Console

from dlperf.training.compiled_epoch import Segment
from dlperf.training.objectives import ClassificationSums, RegressionSums
from dlperf.training.progress import Progress

METRICS = {
    "train_loss": 1.25,
    "train_accuracy": 0.6,
    "validation_error": 0.45,
    "epoch_seconds": 10.0,
    "examples_per_second": 1234.5,
}


def shown(*, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200, highlight=False)
    with Progress("cutout m=4", 3, shown=True, console=console) as progress:
        progress.segment_ended(
            2, Segment(10, 40, 5.0, ClassificationSums(loss=960.0, penalty=0.0, correct=160, examples=640))
        )
        progress.epoch_ended(2, METRICS)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_without_a_terminal_there_is_a_line_per_epoch() -> None:
    assert shown(terminal=False) == (
        "cutout m=4  epoch 2/3  loss 1.2500  error 0.4000  validation error 0.4500  1,234 examples/s  0:00:10 left\n"
    )


def test_the_bar_shows_loss_error_speed_and_time_left() -> None:
    output = shown(terminal=True)
    assert "cutout m=4  epoch 2/3" in output
    # A quarter of the epoch took 5 s: 15 s of this epoch and 20 s of the next one are left.
    assert "loss 1.5000  error 0.7500  128 examples/s  0:00:35 left" in output
    assert "25%" in output


def test_nothing_is_shown_unless_asked_for() -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    with Progress("x", 3, shown=False, console=console) as progress:
        progress.epoch_ended(1, METRICS)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_a_regression_shows_its_rmse() -> None:
    console = Console(file=io.StringIO(), width=200, highlight=False)
    sums = RegressionSums(loss=400.0, penalty=0.0, examples=100, squared_error=400.0)
    metrics = {**sums.metrics("train"), **sums.metrics("validation"), "epoch_seconds": 1.0, "examples_per_second": 80.0}
    with Progress("x", 3, shown=True, console=console) as progress:
        progress.epoch_ended(3, metrics)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown == "x  epoch 3/3  loss 4.0000  rmse 2.0000  validation rmse 2.0000  80 examples/s  0:00:00 left\n"
