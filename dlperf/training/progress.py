"""What the terminal shows of a training: a bar within the epoch, or a line per epoch where nobody watches."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Mapping
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar


class Progress:
    """Epoch progress with loss, error, examples per second and time left.

    On a terminal the bar is redrawn only when a segment ends, every two seconds or so: a thread that refreshes it would
    take its share of the cores that train.
    """

    def __init__(
        self,
        name: str,
        epochs: int,
        *,
        shown: bool,
        console: Console | None = None,
    ) -> None:
        """Prepare for a training of `epochs` epochs.

        Args:
            name: Stands at the start of every line.
            epochs: Epochs in all.
            shown: False shows nothing.
            console: Where to write; standard output if None.
        """
        self._console = console or Console(file=sys.stdout, soft_wrap=True, highlight=False)
        self._name, self._epochs, self._shown = name, epochs, shown
        self._bar: Bar | None = None
        self._task: Any = None

    def __enter__(self) -> Self:
        """Draw the bar, if there is a terminal to draw it on."""
        if self._shown and self._console.is_terminal:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(20), TaskProgressColumn())
            self._bar = Bar(*columns, TextColumn("{task.fields[numbers]}"), console=self._console, auto_refresh=False)
            self._bar.start()
            self._task = self._bar.add_task(self._name, total=1.0, numbers="")
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal clean."""
        if self._bar:
            self._bar.remove_task(self._task)
            self._bar.stop()

    def segment_ended(self, epoch: int, segment: Any) -> None:
        """Redraw the bar with what the epoch's steps so far summed up."""
        if not self._bar:
            return
        share, sums = segment.done / segment.total, segment.sums
        expected = segment.seconds / share
        left = expected * (1.0 - share) + expected * (self._epochs - epoch)
        speed = sums.examples / segment.seconds
        numbers = f"{_numbers(sums.metrics('train'))}  {speed:,.0f} examples/s  {_duration(left)} left"
        description = f"{self._name}  epoch {epoch}/{self._epochs}"
        self._bar.update(self._task, completed=share, description=description, numbers=numbers)
        self._bar.refresh()

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Print the line of a finished epoch."""
        if not self._shown:
            return
        left = metrics["epoch_seconds"] * (self._epochs - epoch)
        speed = metrics["examples_per_second"]
        self._console.print(
            f"{self._name}  epoch {epoch}/{self._epochs}  {_numbers(metrics)}  {speed:,.0f} examples/s  "
            f"{_duration(left)} left",
            markup=False,
        )


def _numbers(metrics: Mapping[str, float]) -> str:
    """Write the loss of the training and the errors, whichever the problem has."""
    known = {
        "loss": metrics["train_loss"],
        "error": 1 - metrics["train_accuracy"] if "train_accuracy" in metrics else None,
        "rmse": metrics.get("train_rmse"),
        "validation error": metrics.get("validation_error"),
        "validation rmse": metrics.get("validation_rmse"),
    }
    return "  ".join(f"{name} {value:.4f}" for name, value in known.items() if value is not None)


def _duration(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
