"""The loop around the compiled epoch: schedule, early stopping, state on disk, reports."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from dlperf import metric_names
from dlperf.errors import TrialFailed
from dlperf.training import checkpoint
from dlperf.training.compiled_epoch import CompiledEpoch, HeldSplit, Segment
from dlperf.training.objectives import Split, Sums
from dlperf.training.progress import Progress
from dlperf.trial import Context

# State is written, and epochs are reported, at most this often: epochs of small networks last milliseconds, and the
# state of large ones takes a while to write.
_SAVE_SECONDS = 2.0
_SAVE_SHARE = 0.05


@dataclass(frozen=True)
class Monitor:
    """The epoch metric that steers training.

    Attributes:
        metric: Its name.
        lower_is_better: Whether it is an error, not an accuracy.
    """

    metric: str = "validation_accuracy"
    lower_is_better: bool = False

    def better(self, metrics: Mapping[str, float], than: Mapping[str, float]) -> bool:
        """Whether an epoch is strictly better than another."""
        now, before = metrics[self.metric], than[self.metric]
        return now < before if self.lower_is_better else now > before

    def reached(self, metrics: Mapping[str, float], target: float) -> bool:
        """Whether an epoch is at least as good as `target`."""
        return metrics[self.metric] <= target if self.lower_is_better else metrics[self.metric] >= target


@dataclass(frozen=True)
class Schedule:
    """What the loop does, apart from the mathematics of a step.

    Attributes:
        epochs: Epochs to train, at most.
        learning_rate: Learning rate of an epoch (from 1).
        monitor: What the best epoch and early stopping go by.
        patience: Stop after this many epochs without a better one; 0 never stops.
        only_last_plateau: Count patience only once the learning rate has fallen for the last time, so that training
            never stops before a drop that would have helped.
        restore_best_weights: End with the weights of the best epoch instead of the last.
    """

    epochs: int
    learning_rate: Callable[[int], float]
    monitor: Monitor = Monitor()
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
        best_epoch: The best epoch so far (0: none).
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

        The rule is that of `keras.callbacks.EarlyStopping`.
        """
        self.history.append(metrics)
        improved = not self.best_epoch or schedule.monitor.better(metrics, self.history[self.best_epoch - 1])
        if improved:
            self.best_epoch = self.epoch
        if schedule.counts_patience(self.epoch):
            self.waited = 0 if improved else self.waited + 1
        self.stopped_early = bool(schedule.patience) and self.waited >= schedule.patience
        return improved

    def first_reaching(self, target: float, monitor: Monitor) -> int | None:
        """Return the first epoch that is at least as good as `target`, or None."""
        return next((e for e, metrics in enumerate(self.history, 1) if monitor.reached(metrics, target)), None)

    def metrics(self, target: float, monitor: Monitor) -> dict[str, float]:
        """Return the final metrics that follow from the history; those of a target that was not reached are absent."""
        found: dict[str, float] = {
            "epochs_run": self.epoch,
            "best_epoch": self.best_epoch,
            "stopped_early": int(self.stopped_early),
        }
        for name in filter(metric_names.has_best, self.history[0] if self.history else ()):
            found[f"best_{name}"] = metric_names.best(name, [metrics[name] for metrics in self.history])
        reached = self.first_reaching(target, monitor)
        if reached:
            found["epochs_to_target"] = reached
            found["seconds_to_target"] = sum(metrics["epoch_seconds"] for metrics in self.history[:reached])
        return found


def train(compiled: CompiledEpoch, held: Mapping[Split, HeldSplit], schedule: Schedule, context: Context) -> Training:
    """Train to the schedule's end, going on from the state on disk where there is one.

    After each epoch every split of `held` is evaluated, in inference mode; its name stands before its metrics.

    State is written before an epoch is reported, so that a resumed trial can report what is missing and never has to
    train an epoch that was reported; both happen after the first epoch, after the last, and in between where two
    seconds have passed, or twenty times what writing takes. Epoch metrics: those of the sums (`train_loss`,
    `validation_loss`, ...), `learning_rate`, `epoch_seconds` (training only), `examples_per_second` (augmented images).

    Returns:
        The whole training; the compiled holds the final (or, if asked for, the best) weights.

    Raises:
        TrialFailed: If the loss is not finite, or the state on disk is damaged.
    """
    clock = context.clock
    with clock.account("compile"):
        compiled.compile()
    with clock.account("checkpoint"):
        training, best = _restored(compiled, context)
    reported, next_save = _report(context, training, 0), -math.inf
    with Progress(context.name, schedule.epochs, shown=context.show_progress) as progress:
        while training.epoch < schedule.epochs and not training.stopped_early:
            try:
                metrics = _one_epoch(compiled, held, training.epoch + 1, schedule, context, progress)
            except TrialFailed:
                _report(context, training, reported)
                raise
            with clock.account("checkpoint"):
                if training.update(metrics, schedule) and schedule.restore_best_weights:
                    best = {f"best_{name}": array for name, array in compiled.weights().items()}
                ended = training.epoch == schedule.epochs or training.stopped_early
                begun = time.monotonic()
                if not ended and begun < next_save:
                    continue
                _save(compiled, training, best, context)
                saved = time.monotonic()
                next_save = saved + max(_SAVE_SECONDS, (saved - begun) / _SAVE_SHARE)
            reported = _report(context, training, reported)
            with clock.account("reporting"):
                progress.epoch_ended(training.epoch, metrics)
    if schedule.restore_best_weights:
        compiled.restore({name.removeprefix("best_"): array for name, array in best.items()})
    return training


def evaluate(compiled: CompiledEpoch, split: HeldSplit, context: Context) -> Sums:
    """Evaluate on `split` with the weights as they are, on the clock's evaluation account."""
    with context.clock.account("evaluation"):
        return _drain(compiled.evaluate(split)).sums


def _one_epoch(
    compiled: CompiledEpoch,
    held: Mapping[Split, HeldSplit],
    epoch: int,
    schedule: Schedule,
    context: Context,
    progress: Progress,
) -> dict[str, float]:
    learning_rate = schedule.learning_rate(epoch)
    compiled.set_learning_rate(learning_rate)
    before = context.clock.seconds("train")
    with context.clock.account("train"):
        for segment in compiled.train_epoch(epoch):
            if not math.isfinite(segment.sums.mean_loss):
                raise TrialFailed(f"the loss is not finite in epoch {epoch}, by step {segment.done} of {segment.total}")
            progress.segment_ended(epoch, segment)
    seconds = context.clock.seconds("train") - before
    metrics = segment.sums.metrics("train")
    for split, examples in held.items():
        sums = evaluate(compiled, examples, context)
        if not math.isfinite(sums.mean_loss):
            raise TrialFailed(f"the {split} loss is not finite after epoch {epoch}")
        metrics |= sums.metrics(split)
    return {
        **metrics,
        "learning_rate": learning_rate,
        "epoch_seconds": seconds,
        "examples_per_second": segment.sums.examples / seconds,
    }


def _report(context: Context, training: Training, reported: int) -> int:
    """Report the epochs after number `reported`; return the last one's number."""
    if training.epoch > reported:
        with context.clock.account("tracking"):
            context.report.epochs(reported + 1, training.history[reported:])
    return training.epoch


def _drain(segments: Iterator[Segment]) -> Segment:
    for segment in segments:
        last = segment
    return last


def _save(compiled: CompiledEpoch, training: Training, best: dict[str, np.ndarray], context: Context) -> None:
    if context.state_file is None:
        return
    record = {"training": asdict(training), "clock": context.clock.snapshot()}
    try:
        checkpoint.save(context.state_file, compiled.state() | best, record)
    except OSError as error:
        raise TrialFailed(f"the state cannot be written to {context.state_file}: {error.strerror}") from error


def _restored(compiled: CompiledEpoch, context: Context) -> tuple[Training, dict[str, np.ndarray]]:
    stored: Any = context.state_file and checkpoint.load(context.state_file)
    if not stored:
        return Training(), {}
    arrays, record = stored
    compiled.restore(arrays)
    context.clock.carry(record["clock"])
    return Training(**record["training"]), {n: a for n, a in arrays.items() if n.startswith("best_")}
