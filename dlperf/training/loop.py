"""The loop around the compiled epoch: schedule, early stopping, state on disk, reports."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dlperf import metric_names
from dlperf.errors import TrialFailed
from dlperf.training import checkpoint
from dlperf.training.compiled_epoch import CompiledEpoch, DeviceSplit, Segment
from dlperf.training.early_stopping import EarlyStopping, Schedule
from dlperf.training.objectives import Split, Sums
from dlperf.training.progress import Progress
from dlperf.trial import Context, DataUsed, SavedModel, TrialResult

# State is written, and epochs are reported, at most this often: epochs of small networks last milliseconds, and the
# state of large ones takes a while to write.
_SAVE_SECONDS = 2.0
_SAVE_SHARE = 0.05


class Training:
    """How far a training has come; complete at every epoch's end, and what the state on disk records.

    Attributes:
        history: Metrics of the finished epochs, in order.
        stopping: The rule of early stopping, which knows the best epoch.
    """

    def __init__(self, schedule: Schedule, record: Mapping[str, Any] | None = None) -> None:
        """Begin, or continue from the `record` of an earlier start."""
        self._schedule = schedule
        self.history: list[dict[str, float]] = list(record["history"]) if record else []
        self.stopping = EarlyStopping(schedule.monitor, schedule.patience)
        if record and self.history:
            best_epoch = record["best_epoch"]
            best = self.history[best_epoch - 1][schedule.monitor]
            self.stopping = replace(
                self.stopping, epoch=self.epoch, best_epoch=best_epoch, best=best, waited=record["waited"]
            )

    @property
    def epoch(self) -> int:
        """The last finished epoch; 0 before the first."""
        return len(self.history)

    @property
    def ended(self) -> bool:
        """Whether no epoch is left to train."""
        return self.epoch >= self._schedule.epochs or self.stopping.stopped

    def update(self, metrics: dict[str, float]) -> bool:
        """Take in a finished epoch; return whether it is the best so far."""
        self.history.append(metrics)
        counts = self._schedule.counts_patience(self.epoch)
        return self.stopping.update(metrics[self._schedule.monitor], counts=counts)

    def record(self) -> dict[str, Any]:
        """Return what the constructor continues from, as JSON can hold it."""
        return {
            "history": self.history,
            "best_epoch": self.stopping.best_epoch,
            "waited": self.stopping.waited,
            "stopped_early": self.stopping.stopped,
        }

    def first_reaching(self, target: float, metric: str) -> int | None:
        """Return the first epoch whose metric is at least as good as `target`, or None."""
        values = enumerate((metrics[metric] for metrics in self.history), 1)
        return next((epoch for epoch, value in values if metric_names.is_reached(metric, value, target)), None)

    def metrics(self, target: Target | None) -> dict[str, float]:
        """Return the final metrics that follow from the history; those of a target that was not reached are absent."""
        final: dict[str, float] = {
            "epochs_run": self.epoch,
            "best_epoch": self.stopping.best_epoch,
            "stopped_early": int(self.stopping.stopped),
        }
        for name in filter(metric_names.has_best, self.history[0] if self.history else ()):
            final[f"best_{name}"] = metric_names.best(name, [metrics[name] for metrics in self.history])
        reached = self.first_reaching(target.value, target.metric) if target else None
        if reached:
            final["epochs_to_target"] = reached
            final["seconds_to_target"] = sum(metrics["epoch_seconds"] for metrics in self.history[:reached])
        return final


@dataclass(frozen=True)
class Prepared:
    """A network put together with its data, ready to be trained.

    Attributes:
        compiled: The compiled epoch, on the training split.
        validated: What is evaluated after every epoch, by the split's name.
        test: What is read once, at the end; None where the trial must not read it.
        data: The data set, for the store.
        save: Makes the trained network a model for the store.
        facts: What is logged of a model of the user's own.
        tags: Likewise.
    """

    compiled: CompiledEpoch
    validated: Mapping[Split, DeviceSplit]
    test: DeviceSplit | None
    data: DataUsed
    save: Callable[[], SavedModel]
    facts: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """A value of an epoch metric; epochs and seconds until it was reached are final metrics of a trial."""

    metric: str
    value: float


def train_and_test(
    prepared: Prepared,
    schedule: Schedule,
    context: Context,
    *,
    target: Target | None,
    facts: Mapping[str, str],
    validation: str,
    save_model: bool,
) -> TrialResult:
    """Report what is trained, train it to the schedule's end, and test it once.

    Args:
        prepared: The network with its data.
        schedule: What the loop does.
        context: The surroundings of the trial.
        target: What `epochs_to_target` and `seconds_to_target` refer to; None has neither.
        facts: Logged beside `num_params`.
        validation: What it is validated on, for the tag: "test", "split" or "none".
        save_model: Keep the trained network.

    Raises:
        TrialFailed: If the loss is not finite, or the state on disk is damaged.
    """
    compiled = prepared.compiled
    num_params = compiled.model.count_params()
    context.data(prepared.data)
    told = {"num_params": str(num_params), **facts, **prepared.facts}
    context.facts(told, {"dlperf.validation": validation, **prepared.tags})
    training = train(compiled, prepared.validated, schedule, context)
    metrics = {
        **training.metrics(target),
        **(evaluate(compiled, prepared.test, context).metrics("test") if prepared.test else {}),
        "num_params": num_params,
    }
    with context.clock.account("reporting"):
        model = prepared.save() if save_model else None
    tags = {"dlperf.target_reached": str("epochs_to_target" in metrics).lower()} if target else {}
    return TrialResult(metrics, tags, model=model)


def train(
    compiled: CompiledEpoch, validated: Mapping[Split, DeviceSplit], schedule: Schedule, context: Context
) -> Training:
    """Train to the schedule's end, resuming from the state on disk where there is one.

    After every epoch the splits in `validated` are evaluated, in inference mode; their names prefix their metrics.

    State is written before an epoch is reported, so that a resumed trial can report what is missing and never has to
    train an epoch that was reported; both happen after the first epoch, after the last, and in between where two
    seconds have passed, or twenty times what writing takes. Epoch metrics: those of the sums (`train_loss`,
    `validation_loss`, ...), `learning_rate`, `epoch_seconds` (training only), `examples_per_second` (augmented images).

    Returns:
        The whole training; the network then has the final (or, if asked for, the best) weights.

    Raises:
        TrialFailed: If the loss is not finite, or the state on disk is damaged, or made in another way.
    """
    clock = context.clock
    with clock.account("compile"):
        compiled.compile()
    with clock.account("checkpoint"):
        training, best = _restored(compiled, schedule, context)
    reported, next_save = _report(context, training, 0), -math.inf
    with Progress(context.name, schedule.epochs, shown=context.show_progress) as progress:
        while not training.ended:
            try:
                metrics = _one_epoch(compiled, validated, training.epoch + 1, schedule, context, progress)
            except TrialFailed:
                _report(context, training, reported)
                raise
            with clock.account("checkpoint"):
                if training.update(metrics) and schedule.restore_best_weights:
                    best = {f"best_{name}": array for name, array in compiled.weights().items()}
                save_started = time.monotonic()
                if not training.ended and save_started < next_save:
                    continue
                _save(compiled, training, best, context)
                saved = time.monotonic()
                next_save = saved + max(_SAVE_SECONDS, (saved - save_started) / _SAVE_SHARE)
            reported = _report(context, training, reported)
            with clock.account("reporting"):
                progress.epoch_ended(training.epoch, metrics)
    if schedule.restore_best_weights:
        compiled.restore({name.removeprefix("best_"): array for name, array in best.items()})
    return training


def evaluate(compiled: CompiledEpoch, split: DeviceSplit, context: Context) -> Sums:
    """Evaluate on `split` with the weights as they are, on the clock's evaluation account."""
    with context.clock.account("evaluation"):
        return _drain(compiled.evaluate(split)).sums


def _one_epoch(
    compiled: CompiledEpoch,
    validated: Mapping[Split, DeviceSplit],
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
    for split, examples in validated.items():
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
        context.epochs(reported + 1, training.history[reported:])
    return training.epoch


def _drain(segments: Iterator[Segment]) -> Segment:
    for segment in segments:
        last = segment
    return last


def _save(compiled: CompiledEpoch, training: Training, best: dict[str, np.ndarray], context: Context) -> None:
    if context.state_file is None:
        return
    record = {
        "training": training.record(),
        "clock": context.clock.snapshot(),
        "curve_follows_from": context.state_follows_from,
    }
    try:
        checkpoint.save(context.state_file, compiled.state() | best, record)
        context.state_written(training.epoch)
    except OSError as error:
        context.state_refused(error.strerror or str(error))


def _restored(compiled: CompiledEpoch, schedule: Schedule, context: Context) -> tuple[Training, dict[str, np.ndarray]]:
    stored: Any = context.state_file and checkpoint.load(context.state_file)
    if not stored:
        return Training(schedule), {}
    arrays, record = stored
    context.check_state(record.get("curve_follows_from", {}))
    compiled.restore(arrays)
    context.clock.carry(record["clock"])
    training = Training(schedule, record["training"])
    context.state_written(training.epoch)
    return training, {n: a for n, a in arrays.items() if n.startswith("best_")}
