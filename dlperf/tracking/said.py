"""What a run has said so far, in memory: a trial can be read from it while its tracking server does not answer."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from dlperf.metric_names import CURVES, EPOCH_METRICS


class Said:
    """Parameters, tags, metrics and curves of a run: those that the server had when it was read, and those since.

    Attributes:
        params: Parameters as text.
        tags: Tags.
        metrics: The last value of each metric.
        curves: The epoch metrics that are read back, a value per epoch in their order.
    """

    def __init__(self, run: Any, histories: Mapping[str, Mapping[int, float]]) -> None:
        """Begin with what the server has.

        Args:
            run: The `mlflow.entities.Run`.
            histories: Values of its epoch metrics by step.
        """
        self.params: dict[str, str] = dict(run.data.params)
        self.tags: dict[str, str] = dict(run.data.tags)
        self.metrics: dict[str, float] = dict(run.data.metrics)
        self._steps = {name: array("q", points) for name, points in histories.items()}
        self._values = {name: array("d", points.values()) for name, points in histories.items()}

    @property
    def epochs(self) -> set[int]:
        """The epochs that have metrics."""
        return set(self._steps.get(EPOCH_METRICS[0], ()))

    @property
    def curves(self) -> dict[str, Sequence[float]]:
        """By name, in the order of epochs."""
        found: dict[str, Sequence[float]] = {}
        for name in CURVES:
            if name in self._steps:
                pairs = sorted(zip(self._steps[name], self._values[name], strict=True))
                found[name] = [value for _, value in pairs]
        return found

    def add(self, kind: str, content: Any) -> None:
        """Take in an entry of the run's journal."""
        if kind == "params":
            self.params |= content
        elif kind == "tags":
            self.tags |= content
        elif kind == "no_tags":
            for name in content:
                self.tags.pop(name, None)
        elif kind == "name":
            self.tags["mlflow.runName"] = content
        elif kind == "metrics":
            for key, value, _, step in content:
                self.metrics[key] = value
                if key in EPOCH_METRICS:
                    self._steps.setdefault(key, array("q")).append(step)
                    self._values.setdefault(key, array("d")).append(value)
