"""`dry_run`: the trials that would run, and how long they would take: measured on a few steps, or judged quickly."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlperf.engines.rehearsal import rehearse
from dlperf.errors import DlperfError, one_line
from dlperf.parameters import P, defining
from dlperf.problem import Problem
from dlperf.processor import allowed_cores, cpu_quota
from dlperf.trial import Rehearsed, StoredTrial

# Multiplications per second of a training, as a share of what NumPy's matrix product reaches on the same cores:
# convolutions of 16 to 64 channels are too small to keep a core's multipliers busy.
_SHARE_OF_MATRIX_PRODUCT = 0.35
_SIZE = 1024
_MEASURING_SECONDS = 55.0  # of a start that is to end in 60
# What a trial's speed does not follow from.
_NO_SPEED = ("random_seed", "learning_rate", "epochs", "patience", "stage")


@dataclass(frozen=True)
class Plan:
    """What trials would take.

    Attributes:
        hours: Of each.
        columns: Further columns of the table.
        judged: How that is known, as the end of a sentence.
        memory_mb: Peak of the trials that are there at a time; None where it was not measured.
    """

    hours: Sequence[float]
    columns: Mapping[str, Sequence[Any]]
    judged: str
    memory_mb: float | None = None


def show(problem: Problem[P], trials: Sequence[P]) -> None:
    """Print the trials with what they would take on this machine, and the sum."""
    import pandas as pd

    from dlperf.terminal.tables import show_table

    asked: Any = trials[0]
    planned, chosen_later = _planned(problem, trials)
    trials = list(planned.values())
    measured = bool(problem.prepare or problem.distributed) and getattr(asked, "measure", False)
    plan = measured_plan(problem, trials) if measured else quick_plan(problem, trials)
    table = {"trial": list(planned), **plan.columns, "estimated hours": plan.hours}
    show_table(f"{problem.name}: nothing is run", pd.DataFrame(table))
    stops_early = any(getattr(trial, "patience", 0) for trial in trials)
    about = "at most" if stops_early else "about"
    total = sum(plan.hours)
    hours = "no hours known" if math.isnan(total) else f"{about} {total:,.2f} hours on this CPU"
    said = [f"{len(trials)} trial{'' if len(trials) == 1 else 's'}, {hours}, {plan.judged}"]
    processes = getattr(asked, "processes", 1)
    if processes > 1 and len(trials) > 1 and not math.isnan(total):
        together = max(total / processes, *plan.hours)
        said.append(f"; with processes={processes} at best {together:,.2f} hours")
    if plan.memory_mb:
        said.append(f"; up to {plan.memory_mb:,.0f} MB of memory")
    if stops_early:
        said.append("; early stopping shortens that")
    said.append("; nothing is run")
    if chosen_later:
        said.append("; what the last ones run with is chosen by the results of the first ones")
    print("".join(said))


def quick_plan(problem: Problem[P], trials: Sequence[P]) -> Plan:
    """Judge by multiplications; a model of the user's own, whose multiplications are not known, has no hours."""
    rate = matrix_product_rate() * _SHARE_OF_MATRIX_PRODUCT
    hours = [problem.work(trial) / rate / 3600 for trial in trials]
    if getattr(trials[0], "own_model", None):
        return Plan([float("nan")] * len(trials), {}, "which a model of your own has to be measured for")
    return Plan(hours, {}, "judged by its matrix product")


def measured_plan(problem: Problem[P], trials: Sequence[P], seconds: float = _MEASURING_SECONDS) -> Plan:
    """Time a few steps of as many kinds of trials as there is time for; the others follow from those."""
    kinds: dict[Any, P] = {}
    for trial in trials:
        kinds.setdefault(_kind(trial), trial)
    sample = spread(sorted(kinds.values(), key=lambda trial: _epoch_work(problem, trial)))
    begun, reason = time.monotonic(), f"none was ready within {seconds:.0f} seconds"
    try:
        rehearsed = rehearse(problem.name, sample, seconds)
    except DlperfError as error:
        rehearsed, reason = [], one_line(error)
    if not rehearsed:
        quick = quick_plan(problem, trials)
        return Plan(quick.hours, quick.columns, f"{quick.judged}, as no trial could be timed ({reason})")
    known = {_kind(trial): tried for trial, tried in zip(sample, rehearsed, strict=False)}
    points = [(_epoch_work(problem, trial), tried) for trial, tried in zip(sample, rehearsed, strict=False)]
    expected = [known.get(_kind(trial)) or between(points, _epoch_work(problem, trial)) for trial in trials]
    hours = [
        (tried.start_seconds + _epochs(problem, trial) * tried.epoch_seconds + tried.test_seconds) / 3600
        for trial, tried in zip(trials, expected, strict=True)
    ]
    epoch = "round" if problem.distributed else "epoch"
    columns: dict[str, Sequence[Any]] = {
        f"{epoch}s": [_epochs(problem, trial) for trial in trials],
        f"seconds per {epoch}": [tried.epoch_seconds for tried in expected],
        "peak memory mb": [tried.peak_memory_mb for tried in expected],
    }
    counted = f" on {len(known)} of {len(kinds)} kinds of trial" if len(known) < len(kinds) else ""
    judged = f"measured{counted} in {time.monotonic() - begun:.0f} seconds"
    return Plan(hours, columns, judged, _memory(expected, min(getattr(trials[0], "processes", 1), len(trials))))


def _memory(trials: Sequence[Rehearsed], at_a_time: int) -> float | None:
    """Return the peak of a sweep's memory: of all trials that wait for a turn, and of the largest one beside."""
    known = [(tried.peak_memory_mb, tried.waiting_memory_mb) for tried in trials if tried.peak_memory_mb]
    if not known:
        return None
    return sum(waiting for _, waiting in known) + at_a_time * max(peak - waiting for peak, waiting in known)


def spread(ordered: Sequence[P]) -> list[P]:
    """Order a sample so that any number of first ones spans the whole: the last, the first, those between."""
    if len(ordered) < 3:
        return list(reversed(ordered))
    order, gaps = [len(ordered) - 1, 0], [(0, len(ordered) - 1)]
    for low, high in gaps:  # it grows
        middle = (low + high) // 2
        if middle > low:
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return [ordered[place] for place in order]


def between(points: Sequence[tuple[float, Rehearsed]], work: float) -> Rehearsed:
    """Return what a trial takes that was not tried, by the work of its epoch: linear between tried ones, else in ratio.

    Args:
        points: Work of an epoch and what it took.
        work: Of the trial.
    """
    import numpy as np

    works = sorted({w for w, _ in points})
    inside = min(max(work, works[0]), works[-1])

    def at(name: str) -> float:
        means = [np.mean([getattr(tried, name) or 0.0 for w, tried in points if w == place]) for place in works]
        return float(np.interp(inside, works, means))

    ratio = work / inside if inside else 1.0
    memory = at("peak_memory_mb") or None, at("waiting_memory_mb")
    return Rehearsed(at("start_seconds"), at("epoch_seconds") * ratio, at("test_seconds"), *memory)


def _kind(trial: P) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, value)
        for name, value in defining(trial).items()
        if name not in _NO_SPEED and not name.startswith("target_")
    )


def _epoch_work(problem: Problem[P], trial: P) -> float:
    return problem.work(trial) / _epochs(problem, trial)


def _epochs(problem: Problem[P], trial: Any) -> int:
    epochs: int = problem.distributed.rounds(trial) if problem.distributed else trial.epochs
    return epochs


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
