"""The loop around the compiled epoch: schedule, early stopping, state on disk, reports."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from dlperf import checkpoint
from dlperf.compiled_epoch import CompiledEpoch, HeldSplit, Segment, Sums
from dlperf.errors import TrialFailed
from dlperf.progress import Progress
from dlperf.trial import Context


@dataclass(frozen=True)
class Schedule:
    """What the loop does, apart from the mathematics of a step.

    Attributes:
        epochs: Epochs to train, at most.
        learning_rate: Learning rate of an epoch (from 1).
        patience: Stop after this many epochs without a better validation accuracy; 0 never stops.
        only_last_plateau: Count patience only once the learning rate has fallen for the last time, so that training
            never stops before a drop that would have helped.
        restore_best_weights: End with the weights of the best epoch instead of the last.
    """

    epochs: int
    learning_rate: Callable[[int], float]
    patience: int = 0
    only_last_plateau: bool = False
    restore_best_weights: bool = False

    def counts_patience(self, epoch: int) -> bool:
        """Whether `epoch` counts for early stopping."""
        return not self.only_last_plateau or self.learning_rate(epoch) == self.learning_rate(self.epochs)


@dataclass
class Training:
    """How far a training has come; complete at every epoch's end, and what the state on disk records.

    Attributes:
        history: Metrics of each finished epoch, in order.
        best_epoch: Epoch of the best validation accuracy so far (0: none).
        waited: Epochs without improvement that early stopping has counted.
        stopped_early: Whether early stopping has ended it.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    waited: int = 0
    stopped_early: bool = False

    @property
    def epoch(self) -> int:
        """The last finished epoch; 0 before the first."""
        return len(self.history)

    def update(self, metrics: dict[str, float], schedule: Schedule) -> bool:
        """Take in a finished epoch; return whether it is the best so far.

        The rule is that of `keras.callbacks.EarlyStopping(monitor="val_accuracy", patience=...)`.
        """
        self.history.append(metrics)
        accuracies = [m["validation_accuracy"] for m in self.history]
        improved = not self.best_epoch or accuracies[-1] > accuracies[self.best_epoch - 1]
        if improved:
            self.best_epoch = self.epoch
        if schedule.counts_patience(self.epoch):
            self.waited = 0 if improved else self.waited + 1
        self.stopped_early = bool(schedule.patience) and self.waited >= schedule.patience
        return improved

    def first_reaching(self, accuracy: float) -> int | None:
        """Return the first epoch whose validation accuracy is at least `accuracy`, or None."""
        reached = (e for e, m in enumerate(self.history, 1) if m["validation_accuracy"] >= accuracy)
        return next(reached, None)


def train(engine: CompiledEpoch, validation: HeldSplit, schedule: Schedule, context: Context) -> Training:
    """Train to the schedule's end, going on from the state on disk where there is one.

    State is written before an epoch is reported, so that a resumed trial can report what is missing and never has to
    train an epoch that was reported. Epoch metrics: `train_loss`, `train_accuracy`, `validation_loss`,
    `validation_accuracy`, `validation_error`, `learning_rate`, `epoch_seconds` (training only), `examples_per_second`
    (augmented images).

    Returns:
        The whole training; the engine holds the final (or, if asked for, the best) weights.

    Raises:
        TrialFailed: If the loss is not finite, or the state on disk is damaged.
    """
    clock = context.clock
    with clock.account("compile"):
        engine.compile()
    with clock.account("checkpoint"):
        training, best = _restored(engine, context)
    for epoch, metrics in enumerate(training.history, 1):
        _report(context, epoch, metrics)
    with Progress(context.name, schedule.epochs, training.history, shown=context.show_progress) as progress:
        while training.epoch < schedule.epochs and not training.stopped_early:
            metrics = _one_epoch(engine, validation, training.epoch + 1, schedule, context, progress)
            with clock.account("checkpoint"):
                if training.update(metrics, schedule) and schedule.restore_best_weights:
                    weights = {name: array for name, array in engine.state().items() if name.startswith("weight_")}
                    best = {f"best_{name}": array for name, array in weights.items()}
                _save(engine, training, best, context)
            _report(context, training.epoch, metrics)
            with clock.account("reporting"):
                progress.epoch_ended(metrics)
    if schedule.restore_best_weights:
        engine.restore({name.removeprefix("best_"): array for name, array in best.items()})
    return training


def evaluate(engine: CompiledEpoch, split: HeldSplit, context: Context) -> Sums:
    """Evaluate on `split` with the weights as they are, on the clock's evaluation account."""
    with context.clock.account("evaluation"):
        return _drain(engine.evaluate(split)).sums


def _one_epoch(
    engine: CompiledEpoch, validation: HeldSplit, epoch: int, schedule: Schedule, context: Context, progress: Progress
) -> dict[str, float]:
    learning_rate = schedule.learning_rate(epoch)
    engine.set_learning_rate(learning_rate)
    before = context.clock.seconds("train")
    with context.clock.account("train"):
        for segment in engine.train_epoch(epoch):
            if not math.isfinite(segment.sums.loss):
                raise TrialFailed(f"the loss is not finite in epoch {epoch}, by step {segment.done} of {segment.total}")
            progress.segment_ended(epoch, segment)
    seconds = context.clock.seconds("train") - before
    trained, validated = segment.sums, evaluate(engine, validation, context)
    if not math.isfinite(validated.loss):
        raise TrialFailed(f"the validation loss is not finite after epoch {epoch}")
    return {
        "train_loss": trained.mean_loss,
        "train_accuracy": trained.accuracy,
        "validation_loss": validated.mean_loss,
        "validation_accuracy": validated.accuracy,
        "validation_error": 1.0 - validated.accuracy,
        "learning_rate": learning_rate,
        "epoch_seconds": seconds,
        "examples_per_second": trained.examples / seconds,
    }


def _report(context: Context, epoch: int, metrics: dict[str, float]) -> None:
    with context.clock.account("tracking"):
        context.report.epoch(epoch, metrics)


def _drain(segments: Iterator[Segment]) -> Segment:
    for segment in segments:
        last = segment
    return last


def _save(engine: CompiledEpoch, training: Training, best: dict[str, np.ndarray], context: Context) -> None:
    if context.state_file is None:
        return
    record = {"training": asdict(training), "clock": context.clock.snapshot()}
    try:
        checkpoint.save(context.state_file, engine.state() | best, record)
    except OSError as error:
        raise TrialFailed(f"the state cannot be written to {context.state_file}: {error.strerror}") from error


def _restored(engine: CompiledEpoch, context: Context) -> tuple[Training, dict[str, np.ndarray]]:
    stored: Any = context.state_file and checkpoint.load(context.state_file)
    if not stored:
        return Training(), {}
    arrays, record = stored
    engine.restore(arrays)
    context.clock.carry(record["clock"])
    return Training(**record["training"]), {n: a for n, a in arrays.items() if n.startswith("best_")}
