"""Differences in words, which say no more than the repetitions carry: below significance no comparative stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from dlperf.analysis.inference import FEWEST, LEVEL, Effect, holm, mean_effect
from dlperf.tables import cell

BySeed = Mapping[Any, float]
"""Values of one kind of trial by random seed."""


def difference(quantity: str, first: tuple[str, BySeed], second: tuple[str, BySeed]) -> str:
    """Say how a quantity differs between two kinds of trial, paired by random seed.

    Args:
        quantity: Its name, as "the test error".
        first: How the one kind is called, as "m=0", and its values.
        second: The other.
    """
    (name, values), (other_name, other_values) = first, second
    common = [seed for seed in values if seed in other_values]
    if not common:
        return f"No random seed has both {name} and {other_name}, so nothing is said of {quantity}."
    effect = mean_effect([other_values[seed] - values[seed] for seed in common])
    if is_shown(effect):
        return f"From {name} to {other_name} {quantity} {change(effect)}, {seeds(effect.n)})."
    numbers = [f"{cell(fmean(v[seed] for seed in common))} with {n}" for n, v in (first, second)]
    return f"{quantity[0].upper()}{quantity[1:]} is {numbers[0]} and {numbers[1]} ({why_not_shown(effect)})."


def lead(quantity: str, kinds: Mapping[str, BySeed], *, lower_is_better: bool) -> str:
    """Say which kind of trial is best in a quantity, if it is better than each other one, paired by random seed.

    The p values of the comparisons are adjusted for their number (Holm 1979).

    Args:
        quantity: Its name, as "final training loss".
        kinds: The values, by how a kind is called; at least two.
        lower_is_better: Which way the quantity goes.
    """
    sign = 1 if lower_is_better else -1
    ordered = sorted(kinds, key=lambda name: sign * fmean(kinds[name].values()))
    (best, *others), word = ordered, "lowest" if lower_is_better else "highest"
    effects = [_paired(kinds[best], kinds[other]) for other in others]
    adjusted = holm([effect.p for effect in effects])
    nearest = effects[0]
    if all(effect.n >= FEWEST and p < LEVEL for effect, p in zip(effects, adjusted, strict=True)):
        by = f"{cell(abs(nearest.value))} from {others[0]}, {_interval(nearest)}, {seeds(nearest.n)}"
        return f"{best} has the {word} {quantity} of all ({by})."
    numbers = (
        f"{cell(fmean(kinds[best].values()))} ({best}) to {cell(fmean(kinds[ordered[-1]].values()))} ({others[-1]})"
    )
    unsure = next(e for e, p in zip(effects, adjusted, strict=True) if e.n < FEWEST or p >= LEVEL)
    which = "" if unsure.n < FEWEST else f" between {best} and {others[effects.index(unsure)]}"
    return f"{quantity} runs from {numbers}: {why_not_shown(unsure)}{which}."


def is_shown(effect: Effect) -> bool:
    """Whether so many independent values show that an effect is there."""
    return effect.n >= FEWEST and effect.p < LEVEL


def change(effect: Effect) -> str:
    """Say which way a shown effect goes and by how much, up to its interval: "falls by 0.2 (95 % interval ..."."""
    return f"{'rises' if effect.value > 0 else 'falls'} by {cell(abs(effect.value))} ({_interval(effect)}"


def why_not_shown(effect: Effect, independent: str = "random seed") -> str:
    """Say why no difference is shown: too few independent values, or an interval that holds zero."""
    if effect.n < FEWEST:
        return f"{seeds(effect.n, independent)}, and fewer than {FEWEST} show no difference"
    interval = f"95 % interval {cell(effect.low)} to {cell(effect.high)}"
    return f"no difference is shown ({interval}, {seeds(effect.n, independent)})"


def seeds(count: int, independent: str = "random seed") -> str:
    """Return "1 random seed", "3 random seeds", "2 numbers of total units"."""
    noun, of, whole = independent.partition(" of ")
    return f"{count} {noun}{'' if count == 1 else 's'}{of}{whole}"


def span(values: Sequence[float]) -> str:
    """Return the lowest and the highest of some values, "0.2 to 0.4", or the value that all have."""
    low, high = cell(min(values)), cell(max(values))
    return low if low == high else f"{low} to {high}"


def _paired(values: BySeed, others: BySeed) -> Effect:
    differences = [others[seed] - values[seed] for seed in values if seed in others]
    return mean_effect(differences) if differences else Effect(0, 0.0)


def _interval(effect: Effect) -> str:
    low, high = sorted((abs(effect.low), abs(effect.high)))
    return f"95 % interval {cell(low)} to {cell(high)}"
