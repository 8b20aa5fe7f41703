"""What is minimised and what is counted on the way: sums over examples, and the metrics they give."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import Any, Literal

from keras import ops

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Sums(abc.ABC):
    """What a range of steps summed up.

    Attributes:
        loss: Sum over examples of loss plus penalty.
        examples: Examples seen, copies counted.
    """

    loss: float
    examples: int

    @property
    def mean_loss(self) -> float:
        """Loss per example."""
        return self.loss / self.examples

    @abc.abstractmethod
    def metrics(self, split: Split) -> dict[str, float]:
        """Return metrics by name, each with the split's name in front."""


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
        """Return loss and accuracy, and the error of what is not trained on."""
        found = {f"{split}_loss": self.mean_loss, f"{split}_accuracy": self.accuracy}
        return found if split == "train" else found | {f"{split}_error": 1.0 - self.accuracy}


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
        """Return the loss of each example, float32 (rows,), of outputs, float32 (rows, width)."""

    @abc.abstractmethod
    def counted(self, targets: Any, outputs: Any) -> Any:
        """Return the second quantity of each example, float32 (rows,)."""

    @abc.abstractmethod
    def sums(self, loss: float, counted: float, examples: int) -> Sums:
        """Name what was summed."""


@dataclass(frozen=True)
class Regression(Objective):
    """Squared error of outputs (rows, 1) against targets (rows,).

    Attributes:
        unit: Standard deviation that the targets were divided by, so that the root mean squared error is told in their
            original units; the loss is that of what the network sees.
    """

    unit: float = 1.0

    def losses(self, targets: Any, outputs: Any) -> Any:
        """Return squared errors."""
        return ops.square(outputs[:, 0] - targets)

    def counted(self, targets: Any, outputs: Any) -> Any:
        """Return squared errors in units of the network, as `losses`; XLA computes them once."""
        return self.losses(targets, outputs)

    def sums(self, loss: float, counted: float, examples: int) -> RegressionSums:
        """Name what was summed."""
        return RegressionSums(loss=loss, examples=examples, squared_error=counted * self.unit**2)
