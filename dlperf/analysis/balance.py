"""Random seeds that were not run with all kinds of trial: which of them compare.

Kinds of trial differ by themselves (networks in size, above all). Random seeds that were run with different ones differ
by that, and a mean over whatever each of them has would mix the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Generic, TypeVar

Seed = TypeVar("Seed")
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Balanced(Generic[Seed, Kind]):
    """Values of random seeds that all have the same kinds of trial.

    Attributes:
        values: By random seed, then by kind.
        left_out: What of the seeds and kinds takes part, in words; "" where all do.
    """

    values: Mapping[Seed, Mapping[Kind, float]]
    left_out: str = ""

    def means(self) -> dict[Seed, float]:
        """Return the mean over the kinds by random seed."""
        return {seed: fmean(own.values()) for seed, own in self.values.items()}


def balanced(values: Mapping[Seed, Mapping[Kind, float]], fewest: int = 1) -> Balanced[Seed, Kind]:
    """Take the random seeds that have the same kinds of trial, and those kinds: what keeps most values.

    Considered are the kinds of each seed with all seeds that have them (of one that has every kind, those that have
    every kind), and the kinds that all seeds have. Of two that keep as many values, the one with more kinds is taken.

    Args:
        values: By random seed, then by kind.
        fewest: So many kinds have to stay, where a seed has as many.
    """
    every = {kind for own in values.values() for kind in own}
    if all(len(own) == len(every) for own in values.values()):
        return Balanced(values)
    common = frozenset(every.intersection(*values.values()))
    candidates = {frozenset(own) for own in values.values()} | {common}
    ranked = [
        (min(len(kinds), fewest), len(kinds) * sum(kinds <= own.keys() for own in values.values()), len(kinds), kinds)
        for kinds in candidates
    ]
    best = max(rank[:3] for rank in ranked)
    # Two sets of kinds that rank alike are told apart by their names, so that the order of starting decides nothing.
    kept = min((rank[3] for rank in ranked if rank[:3] == best), key=lambda kinds: sorted(map(str, kinds)))
    complete = {seed: own for seed, own in values.items() if kept <= own.keys()}
    same = {seed: {kind: own[kind] for kind in own if kind in kept} for seed, own in complete.items()}
    seeds = f"{len(same)} of {len(values)} random seeds"
    kinds = f"{len(kept)} of {len(every)}" if len(kept) < len(every) else f"all {len(every)}"
    return Balanced(same, f"{seeds} compare, which have {kinds} kinds of trial")
