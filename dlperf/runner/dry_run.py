"""`dry_run`: the trials that would run, and an estimate of their time."""

from __future__ import annotations

import time
from collections.abc import Sequence

from dlperf.parameters import P
from dlperf.problem import Problem
from dlperf.processor import allowed_cores, cpu_quota
from dlperf.trial import StoredTrial

# Multiplications per second of a training, as a share of what NumPy's matrix product reaches on the same cores:
# convolutions of 16 to 64 channels are too small to keep a core's multipliers busy.
_SHARE_OF_MATRIX_PRODUCT = 0.35
_SIZE = 1024


def show(problem: Problem[P], trials: Sequence[P]) -> None:
    """Print the trials with their estimated hours on this machine's CPU, and the sum."""
    import pandas as pd

    from dlperf.terminal.tables import show_table

    rate = matrix_product_rate() * _SHARE_OF_MATRIX_PRODUCT
    planned, chosen_later = _planned(problem, trials)
    trials = list(planned.values())
    hours = [problem.work(trial) / rate / 3600 for trial in trials]
    rows = {"trial": list(planned), "estimated hours": hours}
    show_table(f"{problem.name}: nothing is run", pd.DataFrame(rows))
    stops_early = any(getattr(trial, "patience", 0) for trial in trials)
    sum_of_hours = f"{'at most' if stops_early else 'about'} {sum(hours):,.2f} hours"
    sooner = "; early stopping shortens that" if stops_early else ""
    later = "; what the last ones run with is chosen by the results of the first ones" if chosen_later else ""
    print(
        f"{len(trials)} trial{'' if len(trials) == 1 else 's'}, {sum_of_hours} on this CPU, judged by its matrix "
        f"product{sooner}; nothing is run{later}"
    )


def _planned(problem: Problem[P], asked: Sequence[P]) -> tuple[dict[str, P], bool]:
    """Return the trials by name, and whether later ones depend on results, which a dry run does not have."""
    if len(asked) == 1:
        return {problem.trial_name(asked[0]): asked[0]}, False
    planned: dict[str, P] = {}
    rounds = 0
    while True:
        finished = [StoredTrial("", trial, {}, {}, {}, {}) for trial in planned.values()]
        names = {problem.trial_name(trial): trial for trial in problem.next_trials(asked, finished)}
        if names.keys() <= planned.keys():
            return planned, rounds > 1
        planned |= names
        rounds += 1


def matrix_product_rate() -> float:
    """Return the single-precision multiplications per second of a large matrix product that lasts, best of five.

    A product takes milliseconds, in which it has all cores; for hours it has what the CPU quota pays for.
    """
    import numpy as np

    matrix = np.ones((_SIZE, _SIZE), np.float32)
    seconds = []
    for _ in range(6):  # the first one warms up
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    allowed = len(allowed_cores())
    paid = min(1.0, (cpu_quota() or allowed) / allowed)
    return paid * _SIZE**3 / min(seconds[1:])
