"""One trial after another in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlperf.engines.execution import Listener, Outcome, Task, execute
from dlperf.problem import Problem


def run(problem: Problem[Any], tasks: Sequence[Task], listener: Listener) -> None:
    """Run the tasks in their order."""
    for task in tasks:
        report = listener.started(task)
        if report is None:
            continue
        try:
            outcome: Outcome | Exception = execute(problem, task, report)
        except Exception as error:
            outcome = error
        listener.ended(task, outcome)
