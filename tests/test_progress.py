from __future__ import annotations

import io

from rich.console import Console

from dlperf.compiled_epoch import Segment, Sums
from dlperf.progress import Progress

METRICS = {
    "train_loss": 1.25,
    "train_accuracy": 0.6,
    "validation_error": 0.45,
    "epoch_seconds": 10.0,
    "examples_per_second": 1234.5,
}


def shown(*, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200, highlight=False)
    with Progress("cutout m=4", 3, [METRICS], shown=True, console=console) as progress:
        progress.segment_ended(2, Segment(10, 40, 5.0, Sums(loss=960.0, correct=160, examples=640)))
        progress.epoch_ended(METRICS)
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
    with Progress("x", 3, [], shown=False, console=console) as progress:
        progress.epoch_ended(METRICS)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
