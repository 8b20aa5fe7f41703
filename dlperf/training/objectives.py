"""What is minimised and what is counted on the way: sums over examples, and the metrics they give."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import Any, Literal

from keras import ops

# "train_subset": a fixed part of the training set, evaluated in inference mode.
Split = Literal["train", "train_subset", "validation", "test"]


@dataclass(frozen=True)
class Sums(abc.ABC):
    """What a range of steps summed up.

    Attributes:
        loss: Sum over examples of the loss without penalty.
        penalty: Sum over examples of the penalty.
        examples: Examples seen, copies counted.
    """

    loss: float
    penalty: float
    examples: int

    @property
    def mean_loss(self) -> float:
        """Loss and penalty per example."""
        return (self.loss + self.penalty) / self.examples

    @abc.abstractmethod
    def metrics(self, split: Split) -> dict[str, float]:
        """Return metrics by name, with the split's name in front."""


@dataclass(frozen=True)
class ClassificationSums(Sums):
    """Sums of a classifier.

    Attributes:
        correct: Correctly classified examples.
    """

    correct: int

    @property
    def accuracy(self) -> float:
        """Share of examples classified correctly, 0 to 1."""
        return self.correct / self.examples

    def metrics(self, split: Split) -> dict[str, float]:
        """Return loss, cross-entropy and accuracy; the penalty in training, the error of what is not trained on."""
        metrics = {
            f"{split}_loss": self.mean_loss,
            f"{split}_cross_entropy": self.loss / self.examples,
            f"{split}_accuracy": self.accuracy,
        }
        if split == "train":
            metrics["train_penalty"] = self.penalty / self.examples
        elif split != "train_subset":
            metrics[f"{split}_error"] = 1.0 - self.accuracy
        return metrics


@dataclass(frozen=True)
class RegressionSums(Sums):
    """Sums of a regression.

    Attributes:
        squared_error: Sum of squared errors, in the targets' original units.
    """

    squared_error: float

    @property
    def rmse(self) -> float:
        """Root of the mean squared error, in the targets' original units."""
        return math.sqrt(self.squared_error / self.examples)

    def metrics(self, split: Split) -> dict[str, float]:
        """Return loss and root mean squared error."""
        return {f"{split}_loss": self.mean_loss, f"{split}_rmse": self.rmse}


class Objective(abc.ABC):
    """A loss, and a second quantity that is summed beside it; both are traced by XLA."""

    @abc.abstractmethod
    def losses(self, targets: Any, outputs: Any) -> Any:
        """Return the loss of every example, float32 (rows,), of outputs, float32 (rows, width)."""

    @abc.abstractmethod
    def counted(self, targets: Any, outputs: Any) -> Any:
        """Return the second quantity of every example, float32 (rows,)."""

    @abc.abstractmethod
    def sums(self, loss: float, penalty: float, counted: float, examples: int) -> Sums:
        """Name what was summed."""


@dataclass(frozen=True)
class Classification(Objective):
    """Cross-entropy of logits (rows, classes) against labels, int32 (rows,)."""

    def losses(self, targets: Any, outputs: Any) -> Any:
        """Return cross-entropies."""
        return ops.sparse_categorical_crossentropy(targets, outputs, from_logits=True)

    def counted(self, targets: Any, outputs: Any) -> Any:
        """Return 1 where the largest logit is the label's."""
        return ops.cast(ops.equal(ops.argmax(outputs, axis=-1), ops.cast(targets, "int32")), "float32")

    def sums(self, loss: float, penalty: float, counted: float, examples: int) -> ClassificationSums:
        """Name what was summed."""
        return ClassificationSums(loss, penalty, examples, correct=round(counted))


@dataclass(frozen=True)
class Regression(Objective):
    """Squared error of outputs (rows, 1) against targets (rows,).

    Attributes:
        unit: Standard deviation that the targets were divided by, so that the root mean squared error comes out in
            their original units; the loss stays in the units that the network sees.
    """

    unit: float = 1.0

    def losses(self, targets: Any, outputs: Any) -> Any:
        """Return squared errors."""
        return ops.square(outputs[:, 0] - targets)

    def counted(self, targets: Any, outputs: Any) -> Any:
        """Return squared errors in units of the network, as `losses`; XLA computes them once."""
        return self.losses(targets, outputs)

    def sums(self, loss: float, penalty: float, counted: float, examples: int) -> RegressionSums:
        """Name what was summed."""
        return RegressionSums(loss, penalty, examples, squared_error=counted * self.unit**2)
