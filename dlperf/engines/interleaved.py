"""Measurements that take turns in this process: a drift of the machine meets all of them alike."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from dlperf.clock import Clock
from dlperf.engines.execution import Listener, Outcome, Task
from dlperf.problem import Problem
from dlperf.trial import Context, TrialResult


@dataclass
class _Turn:
    """A measurement between two of its rounds; its clock books the time as waiting."""

    task: Task
    clock: Clock
    rounds: Generator[None, None, TrialResult]
    waiting: ExitStack


def run(problem: Problem[Any], tasks: Sequence[Task], listener: Listener) -> None:
    """Give each task a round in turn until all have ended."""
    assert problem.distributed is not None
    measure = problem.distributed.measure
    turns: list[_Turn] = []
    try:
        for task in tasks:
            report = listener.started(task)
            if report is None:
                continue
            clock = Clock()
            clock.carry(task.accounts)
            follows_from = problem.curve_follows_from(task.parameters)
            context = Context(task.name, report, clock, task.state_file, task.show_progress, follows_from)
            turns.append(_Turn(task, clock, measure(task.parameters, context), ExitStack()))
            turns[-1].waiting.enter_context(clock.account("waiting"))
        while turns:
            turns = [turn for turn in turns if _go_on(turn, listener)]
    finally:
        for turn in turns:
            turn.rounds.close()


def _go_on(turn: _Turn, listener: Listener) -> bool:
    """Let a measurement have a round; return whether it has another."""
    turn.waiting.close()
    try:
        next(turn.rounds)
    except StopIteration as ended:
        listener.ended(turn.task, Outcome(ended.value, turn.clock.snapshot(), None))
        return False
    except Exception as error:
        listener.ended(turn.task, error)
        return False
    turn.waiting.enter_context(turn.clock.account("waiting"))
    return True
