"""When a training stops: its schedule, and the rule of early stopping. Plain Python: stored curves replay it too."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dlperf import metric_names


@dataclass(frozen=True)
class Schedule:
    """What the loop does, apart from the mathematics of a step.

    Attributes:
        epochs: Epochs to train, at most.
        learning_rate: Learning rate of an epoch (from 1).
        monitor: The epoch metric that the best epoch and early stopping go by.
        patience: Stop after this many epochs without a better one; 0 never stops.
        only_last_plateau: Count patience only once the learning rate has fallen for the last time, so that training
            never stops before a drop that would have helped.
        restore_best_weights: End with the weights of the best epoch instead of the last.
    """

    epochs: int
    learning_rate: Callable[[int], float]
    monitor: str = "validation_accuracy"
    patience: int = 0
    only_last_plateau: bool = False
    restore_best_weights: bool = False

    def counts_patience(self, epoch: int) -> bool:
        """Whether `epoch` counts for early stopping."""
        return not self.only_last_plateau or self.learning_rate(epoch) == self.learning_rate(self.epochs)


@dataclass
class EarlyStopping:
    """Stops after `patience` epochs without a strictly better value, as `keras.callbacks.EarlyStopping` does.

    Attributes:
        metric: What epochs are compared by; `dlperf.metric_names` knows which way it is better.
        patience: Epochs to wait for a better one; 0 never stops.
        epoch: Epochs seen so far.
        best_epoch: The best of them, from 1 (0: none).
        best: Its value.
        waited: Epochs since then that count.
    """

    metric: str
    patience: int
    epoch: int = 0
    best_epoch: int = 0
    best: float = math.nan
    waited: int = 0

    @property
    def stopped(self) -> bool:
        """Whether the patience is used up."""
        return bool(self.patience) and self.waited >= self.patience

    def update(self, value: float, *, counts: bool = True) -> bool:
        """Take in the value of the next epoch.

        Args:
            value: Its metric.
            counts: Whether it counts as waiting if it is no better.

        Returns:
            Whether it is the best so far.
        """
        self.epoch += 1
        improved = not self.best_epoch or metric_names.is_better(self.metric, value, self.best)
        if improved:
            self.best_epoch, self.best = self.epoch, value
        if counts:
            self.waited = 0 if improved else self.waited + 1
        return improved
