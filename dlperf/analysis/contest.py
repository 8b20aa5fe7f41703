"""Sentences that say what repetitions show, and no more: words of direction follow the sign of a significant effect."""

from __future__ import annotations

import functools
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dlperf.analysis.inference import FEWEST, LEVEL, Effect, holm, mean_effect
from dlperf.analysis.statistics import Mean, mean_of
from dlperf.errors import BadInput
from dlperf.explicit import explicit
from dlperf.parameters import Parameters, describe, parse, texts
from dlperf.tables import cell
from dlperf.trial import StoredTrial

if TYPE_CHECKING:
    import pandas as pd

BySeed = Mapping[Any, float]
"""Values of one kind of trial by what pairs them with those of another: a random seed, or a total of units."""


@dataclass(frozen=True)
class Rival:
    """A kind of trial beside the best.

    Attributes:
        name: Its name.
        mean: Its values; their geometric mean, and its interval, where they are compared by ratios.
        behind: By how much it lies behind the best one, paired, as a logarithm where they are compared by ratios; None
            of the best itself.
        p: Of that effect, adjusted for the number of rivals (Holm 1979); 1 where there are too few pairs to tell.
    """

    name: str
    mean: Mean
    behind: Effect | None
    p: float


@dataclass(frozen=True)
class Contest:
    """Kinds of trial in the order of their means by one quantity.

    Attributes:
        what: The quantity, as a sentence names it.
        unit: Its unit, as it stands behind a number.
        lower_is_better: Whether the best has the lowest mean.
        by_ratio: Whether they are compared by ratios to the best.
        rivals: The best first.
    """

    what: str
    unit: str
    lower_is_better: bool
    by_ratio: bool
    rivals: tuple[Rival, ...]

    @property
    def beaten(self) -> list[Rival]:
        """Those that are significantly behind the best."""
        return [rival for rival in self.rivals[1:] if rival.p <= LEVEL]

    @property
    def is_decided(self) -> bool:
        """Whether the best beats every other."""
        return len(self.rivals) > 1 and len(self.beaten) == len(self.rivals) - 1

    @property
    def pairs(self) -> int:
        """The fewest pairs that a comparison with the best rests on."""
        return min((rival.behind.n for rival in self.rivals[1:] if rival.behind), default=0)

    def in_words(self, drawn: str = "random seeds", where: str = "") -> str:
        """Say who is first, if anybody is; with too few values only what was measured.

        Args:
            drawn: What the values are.
            where: What holds of all of them, as a sentence begins with it ("Without dropout").
        """
        shown, said = self._said(drawn)
        begun = ", ".join(filter(None, (where, "" if shown else "not shown")))
        return f"{begun[0].upper()}{begun[1:]}: {said}" if begun else said

    def _said(self, drawn: str) -> tuple[bool, str]:
        """Return whether something is shown, and what is said of it."""
        first = self.rivals[0]
        if len(self.rivals) == 1:
            only = self._with_unit(mean_in_words(first.mean))
            return True, f"{first.name} alone was measured: {self.what} {only}{self._geometric}."
        if self.is_decided:
            return True, self._order(first, self.rivals[1])
        values = [(rival.name, self._with_unit(cell(rival.mean.mean))) for rival in self.rivals]
        if self.pairs < FEWEST:
            was = listed([f"{value} for {name}" for name, value in values])
            be = "is" if self.pairs < 2 else "are"
            there = f"to tell takes {FEWEST} {drawn}, and there {be} {self.pairs or 'none'}"
            return False, f"the {self.what} was {was}{self._geometric}; {there}."
        level = [rival for rival in self.rivals[1:] if rival.p > LEVEL]
        seen = max((self._visible(r.behind) for r in level if r.behind and r.behind.n), default=math.nan)
        size = f"a ratio of {cell(seen)}" if self.by_ratio else f"a difference of {self._with_unit(cell(seen))}"
        enough = "" if math.isnan(seen) else f"; {size} could have been seen"
        others = listed([rival.name for rival in level])
        measured = ", ".join(map(" ".join, values)) + self._geometric
        return (
            False,
            f"{self.pairs} {drawn} do not tell {first.name} from {others} by {self.what} ({measured}){enough}.",
        )

    def _order(self, first: Rival, second: Rival) -> str:
        assert second.behind is not None
        comparative, superlative = ("lower", "lowest") if self.lower_is_better else ("higher", "highest")
        values = [self._with_unit(mean_in_words(rival.mean)) for rival in (first, second)]
        value, low, high = map(cell, self._behind(second.behind))
        size = f"{value} ({low} to {high})"
        apart = f"which is {size} times as much" if self.by_ratio else f"a difference of {self._with_unit(size)}"
        if len(self.rivals) == 2:
            return (
                f"{first.name} has a {comparative} {self.what} than {second.name}: {values[0]} against "
                f"{values[1]}{self._geometric}, {apart}."
            )
        return (
            f"{first.name} has the {superlative} {self.what}: {values[0]}; the next, {second.name}, has "
            f"{values[1]}{self._geometric}, {apart}."
        )

    @property
    def _geometric(self) -> str:
        return " in the geometric mean" if self.by_ratio and any(rival.mean.n > 1 for rival in self.rivals) else ""

    def _behind(self, behind: Effect) -> tuple[float, float, float]:
        """How far a rival lies behind the best, or the ratio of it to the best, and the ends of the interval."""
        low, high = self._size(behind.low), self._size(behind.high)
        return (self._size(behind.value), *((low, high) if self.lower_is_better or not self.by_ratio else (high, low)))

    def _visible(self, behind: Effect) -> float:
        """The smallest effect that is shown four times in five beside the others that are not told apart."""
        if behind.n < FEWEST or not behind.error:  # nothing varies: any would be
            return math.nan
        return self._size(behind.detectable(LEVEL / max(1, len(self.rivals) - 1 - len(self.beaten))))

    def _size(self, effect: float) -> float:
        """An effect as it is told: of a logarithm the ratio to the best."""
        return _exp(effect if self.lower_is_better else -effect) if self.by_ratio else effect

    def _with_unit(self, text: str) -> str:
        return f"{text} {self.unit}".rstrip()

    def table(self) -> pd.DataFrame:
        """Lay out every number of the sentence.

        Columns: name; n; mean, low, high, the mean and its 95 % interval; behind, behind_low, behind_high, how far it
        lies behind the first, paired; would_be_seen, the smallest difference that as many pairs show four times in
        five, at the level of a rival among those that are not told apart; p, adjusted. Where they are compared by
        ratios it is geometric_mean, ratio_to_first, with _low and _high, and ratio_would_be_seen.
        """
        import pandas as pd

        mean, effect, seen = "mean", "behind", "would_be_seen"
        if self.by_ratio:
            mean, effect, seen = "geometric_mean", "ratio_to_first", "ratio_would_be_seen"
        none = (math.nan,) * 3
        return pd.DataFrame(
            {
                **{"name": rival.name, "n": rival.mean.n, mean: rival.mean.mean},
                **{"low": rival.mean.low, "high": rival.mean.high},
                **dict(
                    zip(
                        (effect, f"{effect}_low", f"{effect}_high"),
                        self._behind(rival.behind) if rival.behind else none,
                        strict=True,
                    )
                ),
                seen: self._visible(rival.behind) if rival.behind else math.nan,
                "p": rival.p if rival.behind else math.nan,
            }
            for rival in self.rivals
        )


def contest(
    kinds: Mapping[str, BySeed], what: str, *, lower_is_better: bool, unit: str = "", by_ratio: bool = False
) -> Contest:
    """Compare kinds of trial by their means; a kind without a value takes no part.

    Seeds differ by themselves: where some are of all kinds, the others are left out.

    Args:
        kinds: Values by name of the kind, then by what pairs them.
        what: The quantity, as a sentence names it.
        lower_is_better: Whether lower values are better.
        unit: Its unit, as it stands behind a number.
        by_ratio: Whether to compare by ratios, as times are: where all take twice as long, so are their differences
            twice as large. Values that are not positive have none, and are compared by their differences.

    Raises:
        ValueError: No kind has a value.
    """
    kinds = _shared({name: values for name, values in kinds.items() if values})
    if not kinds:
        raise ValueError(f"no kind of trial has a value of {what}")
    by_ratio = by_ratio and all(value > 0 for values in kinds.values() for value in values.values())
    if by_ratio:
        kinds = {name: {key: math.log(value) for key, value in values.items()} for name, values in kinds.items()}
    means = {name: mean_of(list(values.values())) for name, values in kinds.items()}
    order = sorted(means, key=lambda name: means[name].mean * (1 if lower_is_better else -1))
    first = kinds[order[0]]
    sign = 1 if lower_is_better else -1
    effects = [_paired(first, kinds[name], sign) for name in order[1:]]
    # What no seed is of all kinds of may lie behind in the mean, and before the first in the pairs.
    ps = holm([effect.p if effect.n >= FEWEST and effect.value > 0 else 1.0 for effect in effects])
    if by_ratio:
        means = {name: _exponential(mean) for name, mean in means.items()}
    rivals = [Rival(order[0], means[order[0]], None, 1.0)]
    rivals += [Rival(name, means[name], effect, p) for name, effect, p in zip(order[1:], effects, ps, strict=True)]
    return Contest(what, unit, lower_is_better, by_ratio, tuple(rivals))


def command_to_settle(problem: str, trials: Sequence[StoredTrial[Any]], **grid: str) -> str:
    """Return a command that runs these trials with more random seeds: as many as can tell, or twice as many as these.

    Args:
        problem: The entry point.
        trials: Trials of one setting.
        **grid: Values of a grid to run instead of those of the trials, as text; of `random_seed` instead of more.
    """
    seeds = seeds_to_settle(len({trial.parameters.random_seed for trial in trials}))
    try:
        values = _asked([trial.parameters for trial in trials])
    except BadInput:  # trials of another version, which this one does not run
        return ""
    del values["random_seed"]
    values |= {**grid, "random_seed": grid.get("random_seed", seeds)}
    given = "".join(f" -P {name}={shlex.quote(value)}" for name, value in values.items())
    return f"mlflow run . -e {problem}{given}"


def _asked(trials: Sequence[Parameters]) -> dict[str, str]:
    """Return the parameters that a command has to name to run these trials of one setting, as text."""
    kind, logged = type(trials[0]), [texts(trial) for trial in trials]
    named = functools.cache(lambda place: explicit(trials[place]))
    values: dict[str, str] = {}
    follows: list[str] = []
    for description in describe(kind):
        name = description.name
        if description.grid:
            values[name] = description.separator.join(dict.fromkeys(each[name] for each in logged))
            follows += [name] if description.derived_from else []
        elif not description.operational:
            # Of a trial that it changes nothing of, the value may be another than the setting's.
            place = next((n for n, trial in enumerate(trials) if name not in trial.without_effect()), None)
            if place is not None and name in named(place):
                values[name] = logged[place][name]
    points = {tuple(each[name] for name in follows) for each in logged}
    # What a grid has by itself need not be typed: the last first, as it may follow from those before it.
    for name in reversed(follows):
        fewer = {key: value for key, value in values.items() if key != name}
        if points == {tuple(texts(trial)[name] for name in follows) for trial in parse(kind, fewer).trials}:
            values = fewer
    return values


def seeds_to_settle(tried: int) -> str:
    """Return the random seeds, with commas between, that are worth a try: as many as can tell, or twice as many."""
    return ",".join(map(str, range(FEWEST if tried < FEWEST else 2 * tried)))


def mean_in_words(mean: Mean) -> str:
    """Write a mean with its 95 % interval, which one value does not have."""
    return cell(mean.mean) + (f" ({cell(mean.low)} to {cell(mean.high)})" if mean.n > 1 else "")


def _paired(first: BySeed, other: BySeed, sign: int) -> Effect:
    differences = [sign * (other[key] - first[key]) for key in first if key in other]
    return mean_effect(differences) if differences else Effect(0, float("nan"))


def _shared(kinds: Mapping[str, BySeed]) -> Mapping[str, BySeed]:
    """Leave to all kinds the seeds that all have, if there are any."""
    shared = set.intersection(*(set(values) for values in kinds.values())) if kinds else set()
    if not shared:
        return kinds
    return {name: {key: values[key] for key in values if key in shared} for name, values in kinds.items()}


def _exponential(logarithms: Mean) -> Mean:
    low, mean, high = map(_exp, (logarithms.low, logarithms.mean, logarithms.high))
    return replace(logarithms, low=low, mean=mean, high=high)


def _exp(logarithm: float) -> float:
    return math.inf if logarithm > 700 else math.exp(logarithm)  # what no float64 holds is beyond all bounds


def listed(names: Sequence[str]) -> str:
    """Write names as a sentence lists them: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
