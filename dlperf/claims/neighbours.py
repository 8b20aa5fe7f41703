"""Whose spread a single run borrows: that of the nearest kinds of trial of which there are several runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from dlperf.analysis.measures import by_seed, fact, is_of_learning, measured
from dlperf.analysis.settings import Setting, differing
from dlperf.claims.spread import Spread, spread_of
from dlperf.trial import StoredTrial

_Kind = tuple[tuple[str, str], ...]
_Kinds = Mapping[_Kind, Sequence[StoredTrial[Any]]]
_Trials = Iterable[StoredTrial[Any]]


def neighbours(
    measure: str,
    trials: Sequence[StoredTrial[Any]],
    setting: Setting[Any],
    settings: Sequence[Setting[Any]],
    unmet: Callable[[StoredTrial[Any]], Iterable[str]],
) -> list[Spread]:
    """Return how far runs lie apart in the nearest other kinds of trial.

    These are the kinds of their settings that differ in the fewest parameters; where none of them tells, the same kind
    after the nearest other number of epochs, by ratio.

    Args:
        measure: What of them is measured.
        trials: Those that borrow, all of the setting.
        setting: One of theirs: where a parameter changes nothing of them, they stand in several.
        settings: All there are. What was learned may be borrowed from another machine, times may not.
        unmet: Names what a trial does not meet of the claim's conditions. It may be a parameter of its kind, which
            the claim is not about, but not a circumstance, as other programs beside it.
    """
    own = {trial.kind for trial in trials}
    runs = {trial.run_id for trial in trials}
    theirs = [s for s in settings if runs <= {trial.run_id for trial in s.trials}]
    inside = _by_kind({t.run_id: t for s in theirs for t in s.trials}.values(), own, unmet)
    apart = {kind: min((_differences(kind, one) for one in own), key=lambda f: (len(f), f)) for kind in inside}
    named = {kind: ", ".join(differences) for kind, differences in apart.items()}
    if spreads := _nearest(measure, inside, named, {kind: len(differences) for kind, differences in apart.items()}):
        return spreads
    free = {"hardware"} if is_of_learning(measure) else set()
    alike = [s for s in settings if not {*differing([s.circumstances, setting.circumstances])} - free]
    elsewhere = _by_kind({t.run_id: t for s in alike for t in s.trials}.values(), own, unmet)
    machines = {fact(trial, "hardware") for trial in trials}
    named, distances = {}, dict[_Kind, float]()
    for kind, others in elsewhere.items():
        for one in own:
            differences = _differences(kind, one)
            if [name.partition("=")[0] for name in differences] == ["epochs"]:
                of_others = sorted({str(fact(trial, "hardware")) for trial in others} - machines)
                named[kind] = ", ".join([*differences, *(f"hardware={machine}" for machine in of_others)])
                apart_by = abs(math.log(int(dict(kind)["epochs"]) / int(dict(one)["epochs"])))
                distances[kind] = min(apart_by, distances.get(kind, math.inf))
    return _nearest(measure, elsewhere, named, distances)


def _by_kind(trials: _Trials, own: set[_Kind], unmet: Callable[[StoredTrial[Any]], Iterable[str]]) -> _Kinds:
    kinds: dict[_Kind, list[StoredTrial[Any]]] = {}
    for trial in trials:
        if trial.kind not in own and {*unmet(trial)} <= dict(trial.kind).keys():
            kinds.setdefault(trial.kind, []).append(trial)
    return kinds


def _differences(kind: _Kind, other: _Kind) -> list[str]:
    """What a kind has otherwise. What changes nothing of one of the two is not in its kind, and no difference."""
    values = dict(other)
    return [f"{name}={value}" for name, value in kind if values.get(name, value) != value]


def _nearest(measure: str, kinds: _Kinds, named: Mapping[_Kind, str], distances: Mapping[_Kind, float]) -> list[Spread]:
    """Return the spreads at the smallest distance at which there are any."""
    for nearest in sorted({*distances.values()}):
        at = [(named[kind], kinds[kind]) for kind, distance in distances.items() if distance == nearest]
        spreads = (spread_of(by_seed(trials, measured(trials, measure)), of) for of, trials in at)
        if found := [spread for spread in spreads if spread]:
            return found
    return []
