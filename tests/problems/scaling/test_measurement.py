"""What a measurement tells its workers, and what a few of their steps let expect of all."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from dlperf import entry_points
from dlperf.errors import EnvironmentMissing
from dlperf.problems.scaling import measurement
from dlperf.problems.scaling.parameters import ScalingParameters
from dlperf.problems.scaling.worker_config import WorkerConfig


class Job:
    """Workers that take a step in two seconds, or the slower ones in three."""

    made: ClassVar[list[Sequence[WorkerConfig]]] = []

    def __init__(self, name: str, configs: Sequence[WorkerConfig], **_: Any) -> None:
        self.made.append(configs)
        self.workers = len(configs)

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def command(self, do: str, **arguments: Any) -> list[dict[str, Any]]:
        if do == "train":
            assert arguments["steps"] == 1
        return [{"seconds": [2.0 + (index > 0)], "peak_memory_mb": 100.0 + index} for index in range(self.workers)]


@pytest.fixture(autouse=True)
def _made_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "Job", Job)
    monkeypatch.setattr(Job, "made", [])
    seconds = itertools.count()
    monkeypatch.setattr(measurement, "time", SimpleNamespace(monotonic=lambda: 7.0 * next(seconds)))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # 12 times 5 steps of one worker alone and of all together, as many workers beside the waiting ones
        ({"workers": 2}, (30 * 3.0, 7.0 + 120 * 3.0, 2 * 201.0, 201.0)),
        ({"workers": 1, "strategy": "none"}, (30 * 2.0, 7.0 + 15 * 2.0, 2 * 100.0, 100.0)),
        ({"workers": 2, "strategy": "mirrored"}, (30 * 2.0, 0.0, 100.0, 100.0)),
        ({"workers": 2, "epochs": 4, "train_examples": 700}, (3 * 3.0, 7.0 + 120 * 3.0, 2 * 201.0, 201.0)),
    ],
)
def test_a_rehearsal(given: dict[str, Any], expected: tuple[float, ...]) -> None:
    rehearse = entry_points.load_problem("scaling").distributed.rehearse  # type: ignore[union-attr]
    trial = ScalingParameters.resolve({"mode": "strong", **given})
    told = rehearse(trial, 0.0)
    assert (told.epoch_seconds, told.test_seconds, told.peak_memory_mb, told.waiting_memory_mb) == expected
    assert told.start_seconds == 7.0


def test_several_hosts_are_not_tried() -> None:
    rehearse = entry_points.load_problem("scaling").distributed.rehearse  # type: ignore[union-attr]
    trial = ScalingParameters.resolve({"hosts": "a:1,b:1", "workers": 2, "strategy": "multi_worker"})
    with pytest.raises(EnvironmentMissing, match="several hosts"):
        rehearse(trial, 0.0)
    assert not Job.made
