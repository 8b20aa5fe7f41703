"""What a claim reads from trials: facts that tell them apart, and numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import accumulate
from statistics import fmean
from typing import Any

from dlperf.analysis.balance import balanced
from dlperf.metric_names import best, higher_is_better, is_reached
from dlperf.trial import StoredTrial

_AT_EPOCH = re.compile(r"(\w+)@([1-9]\d*)")
_TO_COMMON = re.compile(r"(epochs|seconds)_to_common\((\w+)\)")

# Sums of metrics, by epoch or not.
_TIMES = {
    "seconds_per_epoch": (("train_seconds",), True),
    "fit_seconds": (("train_seconds", "evaluation_seconds"), False),
    "fit_seconds_per_epoch": (("train_seconds", "evaluation_seconds"), True),
}
_LEARNED = 0.5  # of the variance of the targets; what predicts their mean explains none
# Follow from software, parameters and data; what else is measured follows from the machine too.
_OF_LEARNING = ("loss", "cross_entropy", "penalty", "accuracy", "error", "rmse", "r_squared")
_OF_TIME = ("second", "speedup", "efficiency", "ceiling", "cost")
_TAGS = ("hardware", "software", "data_digest")

Trials = Sequence[StoredTrial[Any]]


def fact(trial: StoredTrial[Any], name: str) -> Any:
    """Return a typed parameter, a logged fact, a metric, or what a tag says of a trial; None where it has none.

    Tags are `hardware`, with the instruction set and on a GPU the precision in its name, `software`, and `data_digest`.
    """
    if name in _TAGS:
        return trial.tags.get(f"dlperf.{name}", "")
    if name in trial.parameters.__dict__:  # a field; Pydantic takes its time over names that are none
        return getattr(trial.parameters, name)
    if name in trial.logged_params:
        return _number(trial.logged_params[name])
    return getattr(trial.parameters, name) if hasattr(trial.parameters, name) else trial.metrics.get(name)


def matches(trial: StoredTrial[Any], facts: Mapping[str, Any]) -> bool:
    """Whether a trial has all the facts."""
    return all(is_one_of(fact(trial, name), wanted) for name, wanted in facts.items())


def is_one_of(value: Any, wanted: Any) -> bool:
    """Whether a value is the wanted one, or one of a list of them."""
    return value in wanted if isinstance(wanted, list) else bool(value == wanted)


def value_text(value: Any) -> str:
    """Write a fact, or a list of them, as people do."""
    if isinstance(value, list):
        return " or ".join(map(value_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def epoch_of(measure: str) -> int | None:
    """Return the epoch that a measure reads, of NAME@EPOCH; None of any other."""
    match = _AT_EPOCH.fullmatch(measure)
    return int(match.group(2)) if match else None


def needs_curves(measure: str) -> bool:
    """Whether a measure reads the epochs' curves."""
    return bool(_AT_EPOCH.fullmatch(measure) or _TO_COMMON.fullmatch(measure))


def is_of_learning(measure: str) -> bool:
    """Whether a measure is a loss, an accuracy or an error, of which machines of one software tell the same."""
    return _AT_EPOCH.sub(r"\1", measure).endswith(_OF_LEARNING)


def is_of_time(measure: str) -> bool:
    """Whether a measure is a time, or follows from times: other programs on the machine change it."""
    return any(part in measure for part in _OF_TIME)


def measured(trials: Trials, measure: str) -> dict[str, float]:
    """Return a measure of every trial, by run; trials without a finite value of it are left out.

    Args:
        trials: The trials that are compared.
        measure: A metric; NAME@EPOCH, an epoch metric after that epoch; seconds_per_epoch; fit_seconds and
            fit_seconds_per_epoch, with validation, as Keras's `fit` takes them; networks, how many different ones there
            are; seconds_to_common(NAME) or epochs_to_common(NAME), until NAME was first as good as the worst of all the
            trials' best values, those left out that have learned no more than the mean of the targets.
    """
    if match := _AT_EPOCH.fullmatch(measure):
        name, epoch = match.group(1), int(match.group(2))
        curves = {t.run_id: t.history[name] for t in trials if name in t.history}
        values = {run: curve[epoch - 1] for run, curve in curves.items() if len(curve) >= epoch}
    elif match := _TO_COMMON.fullmatch(measure):
        values = _to_common(trials, match.group(2), in_seconds=match.group(1) == "seconds")
    elif measure in _TIMES:
        of, per_epoch = _TIMES[measure]
        timed = [t for t in trials if {*of, "epochs_run"} <= t.metrics.keys() and t.metrics["epochs_run"]]
        values = {
            t.run_id: sum(t.metrics[n] for n in of) / (t.metrics["epochs_run"] if per_epoch else 1) for t in timed
        }
    elif measure == "networks":
        values = dict.fromkeys((t.run_id for t in trials), len({fact(t, "units") for t in trials}))
    else:
        values = {t.run_id: t.metrics[measure] for t in trials if measure in t.metrics}
    return {run: float(value) for run, value in values.items() if math.isfinite(value)}


def seed_and_machine(trial: StoredTrial[Any]) -> tuple[Any, str]:
    """Return what is drawn anew, and the block that it is drawn in: trials of two machines are never paired."""
    return fact(trial, "random_seed"), fact(trial, "hardware")


def why_left_out(trial: StoredTrial[Any], measure: str) -> str:
    """Say why `measured` leaves a trial out, as a sentence goes on that begins with the trials."""
    if _TO_COMMON.fullmatch(measure) and not has_learned(trial):
        return f"explain less than {_LEARNED:.0%} of the variance of their targets"
    return f"have no {measure}"


def by_seed(trials: Trials, values: Mapping[str, float]) -> dict[tuple[Any, str], float]:
    """Return the mean of a measure, as `measured` gives it, over the kinds of trial of every random seed on a machine.

    Kinds differ by themselves, so every mean is over the same ones: see `balance.balanced`, which may leave random
    seeds or kinds out.
    """
    return balanced(cells(trials, values)).means()


def cells(
    trials: Trials, values: Mapping[str, float], kind: Callable[[StoredTrial[Any]], Hashable] = lambda trial: trial.kind
) -> dict[tuple[Any, str], dict[Hashable, float]]:
    """Return a measure by random seed and machine, then by kind of trial; repeats of a trial are averaged.

    Args:
        trials: The trials.
        values: The measure by run, as `measured` gives it.
        kind: What tells kinds apart; by default all that defines a trial but for its random seed.
    """
    groups: dict[tuple[Any, str], dict[Hashable, list[float]]] = {}
    for trial in trials:
        if trial.run_id in values:
            of_seed = groups.setdefault(seed_and_machine(trial), {})
            of_seed.setdefault(kind(trial), []).append(values[trial.run_id])
    return {seed: {name: fmean(own) for name, own in kinds.items()} for seed, kinds in groups.items()}


def has_learned(trial: StoredTrial[Any]) -> bool:
    """Whether a network explains more of its targets than their mean does: half of their variance."""
    return trial.metrics.get("r_squared", 1.0) >= _LEARNED


def _to_common(trials: Trials, name: str, *, in_seconds: bool) -> dict[str, float]:
    learned = [trial for trial in trials if has_learned(trial) and name in trial.history]
    curves = {t.run_id: (t.history[name], t.history["epoch_seconds"]) for t in learned}
    if not curves:
        return {}
    bests = [best(name, list(curve)) for curve, _ in curves.values()]
    level = min(bests) if higher_is_better(name) else max(bests)
    reached_after = {}
    for run, (curve, seconds) in curves.items():
        first = next(epoch for epoch, value in enumerate(curve, 1) if is_reached(name, value, level))
        reached_after[run] = list(accumulate(seconds))[first - 1] if in_seconds else float(first)
    return reached_after


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text
