"""What the trials of one setting say of a claim: an effect with its interval, and the p of its test.

A claim about one kind of trial is tested on random seeds, a claim about networks on networks: those are what is drawn,
and what a further draw could contradict. Whatever else differs is averaged first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dlperf.analysis import wording
from dlperf.analysis.inference import (
    FEWEST,
    LEVEL,
    Effect,
    curvature_effect,
    equivalence_p,
    mean_effect,
    prediction_half_width,
    slope_effect,
)
from dlperf.analysis.measures import Trials, by_seed, fact, matches, measured, seed_and_machine, value_text
from dlperf.analysis.statistics import mean_of
from dlperf.claims.ledger import Bound, Claim, Extreme, Paired, Ratio, Trend
from dlperf.tables import cell

SUPPORTED, CONTRADICTED, NOT_SHOWN = "supported", "contradicted", "not shown"


@dataclass(frozen=True)
class Finding:
    """What trials say of a claim.

    Attributes:
        says: In a few words.
        outcome: SUPPORTED, CONTRADICTED or NOT_SHOWN; None if trials are missing.
        value: The number that was tested, for a table.
        low: Lower end of its 95 % interval; NaN where there is none.
        high: Upper end.
        n: Number of independent values.
        p: Of a test, two-sided, before others are taken into account; None where nothing was tested.
        claimed: Of a test: the effect goes the way that is claimed.
        detectable: Of a test: the smallest effect that it would have shown four times in five, in words.
    """

    says: str
    outcome: str | None = None
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    p: float | None = None
    claimed: bool = False
    detectable: str = ""


@dataclass(frozen=True)
class Spread:
    """How far single runs of one kind lie apart, where the claim's own trials do not tell.

    Attributes:
        sd: Standard deviation.
        n: Of so many random seeds.
        of: Which trials, in words.
    """

    sd: float
    n: int
    of: str


def finding_on(
    claim: Claim,
    trials: Trials,
    closed_form: float | None = None,
    spread: Callable[[], Spread | None] = lambda: None,
) -> Finding:
    """Test a claim.

    Args:
        claim: The claim.
        trials: The trials it is about, all of one setting.
        closed_form: The value of its formula, if it names one.
        spread: Looks up that of a neighbouring kind of trial; asked for a published number beside a single run.
    """
    values = measured(trials, claim.measure)
    known = [trial for trial in trials if trial.run_id in values]
    if not known:
        return Finding(f"no trial has {claim.measure}")
    rule = claim.rule
    if isinstance(rule, Ratio):
        return _ratio(rule, claim, known, values, closed_form)
    if isinstance(rule, Bound):
        return _bound(rule, claim, known, values, closed_form, spread)
    if isinstance(rule, Extreme):
        return _extreme(rule, known, values)
    if isinstance(rule, Trend):
        return _trend(rule, claim, known, values)
    return _paired(rule, claim, known, values)


def computed(claim: Claim, closed_form: float) -> Finding:
    """Hold a published number against its closed form alone."""
    assert isinstance(claim.rule, Bound)
    low, high, reference = _limits(claim.rule, claim, closed_form)
    says = f"{cell(closed_form)} against {cell(reference)}{_share(closed_form, reference)}"
    return Finding(says, SUPPORTED if low <= closed_form <= high else CONTRADICTED, closed_form)


def decided(finding: Finding, p: float) -> Finding:
    """Return a finding with the outcome that follows from its p, adjusted for the tests that were made with it."""
    if finding.p is None:
        return finding
    outcome = NOT_SHOWN if p >= LEVEL else SUPPORTED if finding.claimed else CONTRADICTED
    says = f"{finding.says}, p = {p:.2g}"
    if outcome == NOT_SHOWN and finding.detectable:
        says = f"{says}; {finding.detectable} could have been seen"
    return replace(finding, outcome=outcome, says=says)


def _bound(
    rule: Bound,
    claim: Claim,
    trials: Trials,
    values: Mapping[str, float],
    closed_form: float | None,
    spread: Callable[[], Spread | None],
) -> Finding:
    """A number beside the published one: a counted one is equal or not, how far a measured one varies seeds tell."""
    low, high, reference = _limits(rule, claim, closed_form)
    seeds = by_seed(trials, values)
    mean, apart = mean_of(list(seeds.values()), [machine for _, machine in seeds]), mean_of(list(seeds.values()))
    says = f"{cell(mean.mean)} against {cell(reference)}{_share(mean.mean, reference)}"
    found = Finding(says, None, mean.mean, mean.low, mean.high, mean.n)
    if claim.arithmetic:
        return replace(found, outcome=SUPPORTED if low <= mean.mean <= high else CONTRADICTED)
    if 1 < mean.n < FEWEST and mean.sd == 0:
        return replace(found, outcome=NOT_SHOWN, says=f"{says}; {wording.seeds(mean.n)}, all alike, show no spread")
    if mean.n > mean.blocks:
        # A further run may be on any of the machines: where they differ, that is no less a part of how far runs vary.
        half = max(prediction_half_width(mean.n, m.sd, m.blocks) for m in (mean, apart))
        whose = ""
    elif neighbour := spread():
        half, whose = prediction_half_width(neighbour.n, neighbour.sd), f" (spread of {neighbour.of})"
    else:
        return replace(found, outcome=NOT_SHOWN, says=f"{says}; one random seed does not tell how far they vary")
    says = f"{says}; a further run lies within {cell(half)} of it{whose}"
    if not math.isfinite(low):
        outcome = SUPPORTED if mean.mean + half <= high else CONTRADICTED if mean.mean - half > high else NOT_SHOWN
    elif not math.isfinite(high):
        outcome = SUPPORTED if mean.mean - half >= low else CONTRADICTED if mean.mean + half < low else NOT_SHOWN
    elif abs(mean.mean - reference) > half:
        outcome = CONTRADICTED
    else:
        outcome = SUPPORTED if half <= (high - low) / 2 else NOT_SHOWN
    return replace(found, outcome=outcome, says=says)


def _ratio(
    rule: Ratio, claim: Claim, trials: Trials, values: Mapping[str, float], closed_form: float | None
) -> Finding:
    """A factor between two kinds of trial: equivalence to the published one within its margin, or a difference."""
    sides = [[t for t in trials if matches(t, side)] for side in (rule.ratio_of, rule.to)]
    if not all(sides):
        return Finding(f"needs trials with {_named(rule.ratio_of)} and with {_named(rule.to)}")
    one, other = (by_seed(side, values) for side in sides)
    ratios = [one[seed] / other[seed] for seed in one if other.get(seed)]
    low, high, reference = _limits(rule, claim, closed_form)
    if not ratios:
        return Finding("no random seed has both")
    effect = mean_effect(ratios)
    says = f"{cell(effect.value)} against {cell(reference)}{_share(effect.value, reference)}"
    seen = f"a ratio that is off by {cell(effect.detectable)}"
    found = Finding(says, NOT_SHOWN, effect.value, effect.low, effect.high, effect.n, detectable=seen)
    if claim.arithmetic:
        return replace(found, outcome=SUPPORTED if low <= effect.value <= high else CONTRADICTED)
    if effect.n < FEWEST:
        return replace(found, says=f"{says}; {_too_few(effect.n)}")
    if low <= effect.value <= high:
        return replace(found, p=_inside(ratios, low, high), claimed=True)
    border = low if effect.value < low else high
    return replace(found, p=mean_effect([ratio - border for ratio in ratios]).p)


def _inside(values: Sequence[float], low: float, high: float) -> float:
    """The one-sided p that the mean lies inside the limits, of which one may be infinite."""
    if math.isfinite(low) and math.isfinite(high):
        return equivalence_p(values, low, high)
    border = low if math.isfinite(low) else high
    return mean_effect([value - border for value in values]).p / 2


def _extreme(rule: Extreme, trials: Trials, values: Mapping[str, float]) -> Finding:
    """The named kind against every other: the lowest only where it is lower than each of them."""
    wanted = rule.lowest if rule.lowest is not None else rule.highest
    sign = -1 if rule.lowest is not None else 1
    kinds: dict[Any, list[Any]] = {}
    for trial in trials:
        kinds.setdefault(fact(trial, rule.by), []).append(trial)
    if wanted not in kinds or len(kinds) < 2:
        return Finding(f"needs {rule.by}={wanted} and another")
    seeds = {kind: by_seed(own, values) for kind, own in kinds.items()}
    means = {kind: float(np.mean(list(own.values()))) for kind, own in seeds.items()}
    first = (min if sign < 0 else max)(means, key=lambda kind: means[kind])
    others = f"of {len(means)}: {first} {cell(means[first])}"
    says = others if first == wanted else f"{others}, {wanted} {cell(means[wanted])}"
    own = mean_of(list(seeds[wanted].values()))
    found = Finding(says, NOT_SHOWN, own.mean, own.low, own.high, own.n)
    effects = {
        kind: mean_effect([sign * (seeds[wanted][seed] - theirs[seed]) for seed in theirs if seed in seeds[wanted]])
        for kind, theirs in seeds.items()
        if kind != wanted and theirs.keys() & seeds[wanted].keys()
    }
    n = min((effect.n for effect in effects.values()), default=0)
    if len(effects) < len(kinds) - 1 or n < FEWEST:
        return replace(found, says=f"{says}; {_too_few(n)}", n=n)
    found = replace(found, detectable=f"differences of {cell(max(e.detectable for e in effects.values()))}")
    behind = [effect.p for effect in effects.values() if effect.value <= 0]
    if behind:  # one of so many lies before it
        return replace(found, n=n, p=min(1.0, min(behind) * len(effects)))
    return replace(found, n=n, p=max(effect.p for effect in effects.values()), claimed=True)


def _trend(rule: Trend, claim: Claim, trials: Trials, values: Mapping[str, float]) -> Finding:
    """The means of kinds of trial against a quantity, as steps of the quantity: a slope per random seed, or one."""
    quantity, sign = rule.quantity, -1 if rule.falls_with else 1
    steps = {value: place for place, value in enumerate(sorted({fact(trial, quantity) for trial in trials}))}
    if len(steps) < 3:
        return Finding(f"needs three values of {quantity}")
    if claim.over == "networks":
        kinds = _means(trials, values, *_telling_apart(trials, quantity))
        points = [float(kind[0]) for kind in kinds], list(kinds.values())
        effect = curvature_effect(*points) if rule.levels_off_with else slope_effect(*points)
        over = f"{effect.n} networks"
    else:
        slopes = []
        for own in _of_seeds(trials).values():
            means = _means(own, values, quantity)
            if len(means) >= 3:
                slopes.append(float(np.polyfit([steps[kind[0]] for kind in means], list(means.values()), 1)[0]))
        if not slopes:
            return Finding(f"no random seed has three values of {quantity}")
        effect, over = mean_effect(slopes), f"steps of {quantity}, {wording.seeds(len(slopes))}"
    what = "curvature" if rule.levels_off_with else "slope"
    return _directed(effect, sign, f"{what} {cell(effect.value)} over {over}")


def _paired(rule: Paired, claim: Claim, trials: Trials, values: Mapping[str, float]) -> Finding:
    """One kind of trial against another: the ratio, or the difference where a value is not positive."""
    sign = -1 if rule.lower_for is not None else 1
    side = rule.lower_for if rule.lower_for is not None else rule.higher_for
    assert side is not None
    sides = [[t for t in trials if matches(t, facts)] for facts in (side, rule.than)]
    if not all(sides):
        return Finding(f"needs trials with {_named(side)} and with {_named(rule.than)}")
    names = (rule.for_every,) if rule.for_every else ()
    if claim.over == "networks":
        one, other = (_means(each, values, *names) for each in sides)
        pairs, what = [(one[kind], other[kind]) for kind in one if kind in other], "pair of networks"
    else:
        pairs, what = _pairs_of_seeds(sides, values, names), "random seed"
    if not pairs:
        return Finding(f"needs trials with {_named(side)} and with {_named(rule.than)}")
    if claim.arithmetic:
        hold = sum(sign * (a - b) > 0 for a, b in pairs)
        return Finding(f"{hold} of {len(pairs)}", SUPPORTED if hold == len(pairs) else CONTRADICTED, n=len(pairs))
    if all(a > 0 and b > 0 for a, b in pairs):
        by = sign * math.log(rule.times)
        effect = mean_effect([math.log(a / b) - by for a, b in pairs])
        value, low, high = (math.exp(end + by) for end in (effect.value, effect.low, effect.high))
        shown = replace(effect, value=value, low=low, high=high)
        beside = f" against {cell(math.exp(by))}" if by else ""
        return _directed(effect, sign, f"{cell(shown.value)} times{beside}, {wording.seeds(effect.n, what)}", shown)
    effect = mean_effect([a - b for a, b in pairs])
    return _directed(effect, sign, f"difference {cell(effect.value)}, {wording.seeds(effect.n, what)}")


def _directed(effect: Effect, sign: int, says: str, shown: Effect | None = None) -> Finding:
    """A finding of a test whose effect is claimed to have a sign; `shown` is the effect where that is a logarithm."""
    seen = f"{cell(math.exp(effect.detectable))} times" if shown else cell(effect.detectable)
    shown = shown or effect
    found = Finding(says, NOT_SHOWN, shown.value, shown.low, shown.high, effect.n, detectable=seen)
    if effect.n < FEWEST:
        return replace(found, says=f"{says}, and fewer than {FEWEST} show nothing")
    return replace(found, p=effect.p, claimed=sign * effect.value > 0)


def _limits(rule: Bound, claim: Claim, closed_form: float | None) -> tuple[float, float, float]:
    """The lowest and the highest number that bear a claim out, and the one that it names."""
    reference = claim.published if rule.reference == "published" else closed_form
    assert reference is not None
    slack = (rule.absolute + rule.relative * abs(reference)) * (1 + 1e-9) + rule.printed_to * (1 - 1e-9)
    low = -math.inf if rule.at_most else reference - slack
    high = math.inf if rule.at_least else reference + slack
    return low, high, reference


def _share(value: float, reference: float) -> str:
    difference = value - reference
    return f" ({difference / reference:+.1%})" if reference and difference else ""


def _too_few(n: int) -> str:
    return f"{wording.seeds(n)}, and fewer than {FEWEST} show nothing"


def _of_seeds(trials: Trials) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for trial in trials:
        found.setdefault(seed_and_machine(trial), []).append(trial)
    return found


def _pairs_of_seeds(
    sides: Sequence[Trials], values: Mapping[str, float], names: Sequence[str]
) -> list[tuple[float, float]]:
    """Per random seed the means of both sides over the kinds that both have."""
    one, other = (_of_seeds(side) for side in sides)
    pairs = []
    for seed in one.keys() & other.keys():
        a, b = _means(one[seed], values, *names), _means(other[seed], values, *names)
        both = sorted(a.keys() & b.keys(), key=str)
        if both:
            pairs.append((float(np.mean([a[kind] for kind in both])), float(np.mean([b[kind] for kind in both]))))
    return pairs


def _telling_apart(trials: Trials, quantity: str) -> tuple[str, ...]:
    """The quantity, and what else tells kinds of trials apart, except for random seeds."""
    kinds = [dict(kind) for kind in {trial.kind for trial in trials}]
    names = [name for name in kinds[0] if name != quantity]
    return (quantity, *(name for name in names if len({kind[name] for kind in kinds}) > 1))


def _means(trials: Trials, values: Mapping[str, float], *names: str) -> dict[tuple[Any, ...], float]:
    groups: dict[tuple[Any, ...], list[float]] = {}
    for trial in trials:
        groups.setdefault(tuple(fact(trial, name) for name in names), []).append(values[trial.run_id])
    return {kind: float(np.mean(group)) for kind, group in sorted(groups.items(), key=lambda item: str(item[0]))}


def _named(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value_text(value)}" for name, value in facts.items())
