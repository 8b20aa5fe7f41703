"""A few steps of a training, timed: what an epoch of it will take."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dlperf.training.compiled_epoch import Segment
from dlperf.training.loop import Prepared


@dataclass(frozen=True)
class Speed:
    """What a training takes, in seconds.

    Attributes:
        train: An epoch's steps.
        validation: The evaluations after an epoch.
        test: The evaluation at the end.
    """

    train: float
    validation: float
    test: float

    @property
    def epoch(self) -> float:
        """An epoch with its evaluations."""
        return self.train + self.validation


def rehearse(prepared: Prepared, seconds: float) -> Speed:
    """Time the steps that fit into `seconds`, and as much of the evaluations; the network is trained by them.

    What is compiled for them is compiled before.
    """
    compiled = prepared.compiled
    compiled.compile()
    numbers = itertools.count(1)
    train = whole_pass(lambda: compiled.train_epoch(next(numbers)), seconds)
    splits = [*prepared.validated.values(), *([prepared.test] if prepared.test else [])]
    times = [whole_pass(lambda split=split: compiled.evaluate(split), seconds / 4) for split in splits]  # type: ignore[misc]
    validation = sum(times[: len(prepared.validated)])
    return Speed(train, validation, sum(times) - validation)


def whole_pass(begin: Callable[[], Iterator[Segment]], seconds: float) -> float:
    """Return the seconds of a whole pass over its steps, from those that fit into `seconds`.

    The first segment is a single step, which may have to wait for what is loaded late; it counts only where there is
    no other.
    """
    begun, passes = time.perf_counter(), list[float]()
    while True:
        first: Segment | None = None
        for segment in begin():
            first, last = first or segment, segment
            if segment.done > first.done and time.perf_counter() - begun > seconds:
                break
        assert first is not None
        if last.done < last.total or not passes:
            apart = last.done > first.done
            rate = (last.seconds - first.seconds) / (last.done - first.done) if apart else last.seconds / last.done
            passes.append(rate * last.total)
        else:
            passes.append(last.seconds)
        if time.perf_counter() - begun > seconds:
            return passes[0] if len(passes) == 1 else statistics.median(passes[1:])
