"""What the trials of one setting say of a claim: an effect with its interval, and the p of its test.

A claim about one kind of trial is tested on random seeds, a claim about networks on networks: those are what is drawn,
and what a further draw could contradict. Whatever else differs is averaged first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np

from dlperf.analysis import wording
from dlperf.analysis.balance import balanced
from dlperf.analysis.inference import (
    FEWEST,
    Effect,
    blocks_differ_p,
    curvature_effect,
    equivalence_p,
    mean_effect,
    slope_effect,
)
from dlperf.analysis.measures import Trials, cells, fact, matches, measured, seed_and_machine, value_text, why_left_out
from dlperf.analysis.statistics import mean_of
from dlperf.claims.findings import CONTRADICTED, NOT_SHOWN, SUPPORTED, Finding, Visible
from dlperf.claims.ledger import Bound, Claim, Extreme, Paired, Ratio, Trend
from dlperf.claims.spread import Spread, spread_of
from dlperf.tables import cell


def finding_on(
    claim: Claim,
    trials: Trials,
    closed_form: float | None = None,
    neighbours: Callable[[], Sequence[Spread]] = tuple,
) -> Finding:
    """Test a claim.

    Args:
        claim: The claim.
        trials: The trials it is about, all of one setting.
        closed_form: The value of its formula, if it names one.
        neighbours: Looks up how far runs of the nearest other kinds of trial lie apart; asked for a published number
            beside a single run.
    """
    values = measured(trials, claim.measure)
    known = [trial for trial in trials if trial.run_id in values]
    if not known:
        return Finding(f"no trial has {claim.measure}")
    rule = claim.rule
    if isinstance(rule, Ratio):
        found = _ratio(rule, claim, known, values, closed_form)
    elif isinstance(rule, Bound):
        found = _bound(rule, claim, known, values, closed_form, neighbours)
    elif isinstance(rule, Extreme):
        found = _extreme(rule, known, values)
    elif isinstance(rule, Trend):
        found = _trend(rule, claim, known, values)
    else:
        found = _paired(rule, claim, known, values)
    left_out = _left_out([trial for trial in trials if trial.run_id not in values], trials, claim)
    return replace(found, says=f"{found.says}{left_out}")


def computed(claim: Claim, closed_form: float) -> Finding:
    """Hold a published number against its closed form alone."""
    assert isinstance(claim.rule, Bound)
    low, high, reference = _limits(claim.rule, claim, closed_form)
    says = f"{cell(closed_form)} against {cell(reference)}{_share(closed_form, reference)}"
    return Finding(says, SUPPORTED if low <= closed_form <= high else CONTRADICTED, closed_form)


def _bound(
    rule: Bound,
    claim: Claim,
    trials: Trials,
    values: Mapping[str, float],
    closed_form: float | None,
    neighbours: Callable[[], Sequence[Spread]],
) -> Finding:
    """A number beside the published one: a counted one is equal or not, how far a measured one varies seeds tell."""
    low, high, reference = _limits(rule, claim, closed_form)
    runs = balanced(cells(trials, values), claim.kinds)
    seeds = runs.means()
    if len(next(iter(runs.values.values()))) < claim.kinds:
        return Finding(f"no random seed has {claim.kinds} different trials")
    machines = [machine for _, machine in seeds]
    mean = mean_of(list(seeds.values()), machines)
    says = f"{cell(mean.mean)} against {cell(reference)}{_share(mean.mean, reference)}{_in_brackets(runs.left_out)}"
    found = Finding(says, None, mean.mean, mean.low, mean.high, mean.n)
    if claim.arithmetic:
        return replace(found, outcome=SUPPORTED if low <= mean.mean <= high else CONTRADICTED)
    found = replace(found, machines_p=blocks_differ_p(list(seeds.values()), machines))
    if 1 < mean.n < FEWEST and len(set(seeds.values())) == 1:
        return replace(found, outcome=NOT_SHOWN, says=f"{says}; {wording.seeds(mean.n)}, all alike, show no spread")
    own = spread_of(seeds)
    if own:
        half, whose = own.half_width(mean.n), ""
    elif others := sorted(neighbours(), key=lambda other: (-other.borrowed_half_width(mean.mean), other.of)):
        # Of kinds that are equally near the widest, lest it depend on the order of starting.
        half = others[0].borrowed_half_width(mean.mean)
        whose = f" (spread of {others[0].of}{f', the widest of {len(others)} as near' if len(others) > 1 else ''})"
    else:
        return replace(found, outcome=NOT_SHOWN, says=f"{says}; one random seed does not tell how far they vary")
    says = f"{says}; a further run lies within {cell(half)} of it{whose}"
    if not math.isfinite(low):
        distance, supported = mean.mean - high, mean.mean + half <= high
    elif not math.isfinite(high):
        distance, supported = low - mean.mean, mean.mean - half >= low
    else:
        distance = abs(mean.mean - reference)
        supported = distance <= half <= (high - low) / 2
    outcome = SUPPORTED if supported else CONTRADICTED if distance > half else NOT_SHOWN
    if own:
        return replace(found, outcome=outcome, says=says, excluded_p=own.excluded_p(distance, mean.n))
    if outcome == CONTRADICTED:
        outcome, says = NOT_SHOWN, f"{says}, and a borrowed spread contradicts nothing"
    return replace(found, outcome=outcome, says=says)


def _ratio(
    rule: Ratio, claim: Claim, trials: Trials, values: Mapping[str, float], closed_form: float | None
) -> Finding:
    """A factor between two kinds of trial: equivalence to the published one within its margin, or a difference."""
    sides = [[t for t in trials if matches(t, side)] for side in (rule.ratio_of, rule.to)]
    if not all(sides):
        return Finding(f"needs trials with {_named(rule.ratio_of)} and with {_named(rule.to)}")
    runs = [balanced(cells(side, values)) for side in sides]
    one, other = (side.means() for side in runs)
    by_seed = {seed: one[seed] / other[seed] for seed in one if other.get(seed)}
    ratios = list(by_seed.values())
    low, high, reference = _limits(rule, claim, closed_form)
    if not ratios:
        return Finding(f"no random seed has both{_in_brackets(*(side.left_out for side in runs))}")
    effect = mean_effect(ratios)
    says = f"{cell(effect.value)} against {cell(reference)}{_share(effect.value, reference)}"
    says = f"{says}{_in_brackets(*(side.left_out for side in runs))}"
    seen = Visible((effect,), "a ratio {} outside the margin")
    found = Finding(says, NOT_SHOWN, effect.value, effect.low, effect.high, effect.n, visible=seen)
    apart = blocks_differ_p(ratios, [machine for _, machine in by_seed])
    found = replace(found, claimed=low <= effect.value <= high, machines_p=apart)
    if claim.arithmetic:
        return replace(found, outcome=SUPPORTED if low <= effect.value <= high else CONTRADICTED)
    if effect.n < FEWEST:
        return replace(found, says=f"{says}; {_too_few(effect.n)}")
    if found.claimed:
        return replace(found, p=_inside(ratios, low, high))
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
    runs = {kind: balanced(cells(own, values)) for kind, own in kinds.items()}
    seeds = {kind: own.means() for kind, own in runs.items()}
    means = {kind: float(np.mean(list(own.values()))) for kind, own in seeds.items()}
    first = (min if sign < 0 else max)(means, key=lambda kind: means[kind])
    others = f"of {len(means)}: {first} {cell(means[first])}"
    says = others if first == wanted else f"{others}, {wanted} {cell(means[wanted])}"
    says = f"{says}{_in_brackets(*(own.left_out for own in runs.values()))}"
    own = mean_of(list(seeds[wanted].values()))
    found = Finding(says, NOT_SHOWN, own.mean, own.low, own.high, own.n)
    differences = {
        kind: {seed: sign * (seeds[wanted][seed] - theirs[seed]) for seed in theirs if seed in seeds[wanted]}
        for kind, theirs in seeds.items()
        if kind != wanted and theirs.keys() & seeds[wanted].keys()
    }
    effects = {kind: mean_effect(list(pairs.values())) for kind, pairs in differences.items()}
    apart = [blocks_differ_p(list(pairs.values()), [machine for _, machine in pairs]) for pairs in differences.values()]
    behind = [effect.p for effect in effects.values() if effect.value <= 0]
    found = replace(found, claimed=not behind, machines_p=min(1.0, min(apart, default=1.0) * len(apart)))
    n = min((effect.n for effect in effects.values()), default=0)
    if len(effects) < len(kinds) - 1 or n < FEWEST:
        return replace(found, says=f"{says}; {_too_few(n)}", n=n)
    found = replace(found, visible=Visible(tuple(effects.values()), "differences of {}"))
    if behind:  # one of so many lies before it
        return replace(found, n=n, p=min(1.0, min(behind) * len(effects)))
    return replace(found, n=n, p=max(effect.p for effect in effects.values()))


def _trend(rule: Trend, claim: Claim, trials: Trials, values: Mapping[str, float]) -> Finding:
    """The means of kinds of trial against a quantity, as steps of the quantity: a slope per random seed, or one."""
    quantity, sign = rule.quantity, -1 if rule.falls_with else 1
    steps = {value: place for place, value in enumerate(sorted({fact(trial, quantity) for trial in trials}))}
    if len(steps) < 3:
        return Finding(f"needs three values of {quantity}")
    names = _telling_apart(trials, quantity) if claim.over == "networks" else (quantity,)
    runs = balanced(_cells(trials, values, names), max(3, claim.kinds))
    what = "curvature" if rule.levels_off_with else "slope"
    if claim.over == "networks":
        kinds = _over_seeds(runs.values.values())
        points = [float(kind[0]) for kind in kinds], list(kinds.values())
        effect = curvature_effect(*points) if rule.levels_off_with else slope_effect(*points)
        says = f"{what} {cell(effect.value)} over {effect.n} networks{_in_brackets(runs.left_out)}"
        return replace(_directed(effect, sign, says), visible=Visible((effect,), f"a {what} of {{}}", sign=sign))
    slopes = {
        seed: float(np.polyfit([steps[kind[0]] for kind in own], list(own.values()), 1)[0])
        for seed, own in runs.values.items()
        if len(own) >= 3
    }
    if not slopes:
        return Finding(f"no random seed has three values of {quantity}{_in_brackets(runs.left_out)}")
    effect = mean_effect(list(slopes.values()))
    over = f"steps of {quantity}, {wording.seeds(len(slopes))}{_in_brackets(runs.left_out)}"
    found = _directed(effect, sign, f"{what} {cell(effect.value)} over {over}")
    apart = blocks_differ_p(list(slopes.values()), [machine for _, machine in slopes])
    return replace(found, visible=Visible((effect,), f"a {what} of {{}}", sign=sign), machines_p=apart)


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
        whole = balanced(cells(trials, values))
        kept = {(seed, kind) for seed, own in whole.values.items() for kind in own}
        taken = [[t for t in own if (seed_and_machine(t), t.kind) in kept] for own in sides]
        one, other = (_over_seeds(_cells(own, values, names).values()) for own in taken)
        pairs, left_out = {kind: (one[kind], other[kind]) for kind in one if kind in other}, whole.left_out
        what = "pair of networks"
    else:
        pairs, left_out = _pairs_of_seeds(sides, values, names)
        what = "random seed"
    if not pairs:
        return Finding(f"needs trials with {_named(side)} and with {_named(rule.than)}{_in_brackets(left_out)}")
    if claim.arithmetic:
        hold = sum(sign * (a - b) > 0 for a, b in pairs.values())
        return Finding(f"{hold} of {len(pairs)}", SUPPORTED if hold == len(pairs) else CONTRADICTED, n=len(pairs))
    if all(a > 0 and b > 0 for a, b in pairs.values()):
        by = sign * math.log(rule.times)
        effects = [math.log(a / b) - by for a, b in pairs.values()]
        effect = mean_effect(effects)
        shown = [math.exp(end + by) for end in (effect.value, effect.low, effect.high)]
        beside = f" against {cell(math.exp(by))}" if by else ""
        says, visible = f"{cell(shown[0])} times{beside}", Visible((effect,), "{} times", by, sign)
    else:
        effects = [a - b for a, b in pairs.values()]
        effect = mean_effect(effects)
        shown = [effect.value, effect.low, effect.high]
        says, visible = f"difference {cell(effect.value)}", Visible((effect,), "a difference of {}", sign=sign)
    says = f"{says}, {wording.seeds(effect.n, what)}{_in_brackets(left_out)}"
    found = replace(_directed(effect, sign, says), value=shown[0], low=shown[1], high=shown[2], visible=visible)
    if claim.over == "networks":
        return found
    return replace(found, machines_p=blocks_differ_p(effects, [machine for _, machine in pairs]))


def _directed(effect: Effect, sign: int, says: str) -> Finding:
    """A finding of a test whose effect is claimed to have a sign."""
    claimed = sign * effect.value > 0
    found = Finding(says, NOT_SHOWN, effect.value, effect.low, effect.high, effect.n, claimed=claimed)
    if effect.n < FEWEST:
        return replace(found, says=f"{says}, and fewer than {FEWEST} show nothing")
    return replace(found, p=effect.p)


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


def _in_brackets(*notes: str) -> str:
    said = "; ".join(dict.fromkeys(filter(None, notes)))
    return f" ({said})" if said else ""


def _left_out(without: Trials, trials: Trials, claim: Claim) -> str:
    """Say in brackets which trials are there and take no part; "" if all do."""
    notes = []
    for why in dict.fromkeys(why_left_out(trial, claim.measure) for trial in without):
        own = [trial for trial in without if why_left_out(trial, claim.measure) == why]
        ids = {trial.run_id for trial in own}
        theirs = {_named(side): {t.run_id for t in trials if matches(t, side)} for side in _sides(claim.rule)}
        whole = [f", all with {name} among them," for name, runs in theirs.items() if runs and runs <= ids]
        notes.append(f"{len(own)} of {len(trials)} trials{''.join(whole)} {why}")
    return _in_brackets(f"{' and '.join(notes)}, and take no part" if notes else "")


def _sides(rule: Ratio | Bound | Extreme | Trend | Paired) -> list[Mapping[str, Any]]:
    """The two kinds of trial that a rule compares."""
    if isinstance(rule, Ratio):
        return [rule.ratio_of, rule.to]
    return [side for side in (rule.lower_for, rule.higher_for, rule.than) if side] if isinstance(rule, Paired) else []


def _pairs_of_seeds(
    sides: Sequence[Trials], values: Mapping[str, float], names: Sequence[str]
) -> tuple[dict[Any, tuple[float, float]], str]:
    """Per random seed the means of both sides over the kinds that both have, the same of every seed; and what is not.

    Returns:
        The means by random seed and machine, and which seeds and kinds take part, in words.
    """
    one, other = (_cells(side, values, names) for side in sides)
    both = {seed: {kind: math.nan for kind in one[seed] if kind in other[seed]} for seed in one if seed in other}
    runs = balanced({seed: kinds for seed, kinds in both.items() if kinds})
    pairs = {
        seed: (fmean(one[seed][kind] for kind in kinds), fmean(other[seed][kind] for kind in kinds))
        for seed, kinds in runs.values.items()
    }
    return pairs, runs.left_out


def _telling_apart(trials: Trials, quantity: str) -> tuple[str, ...]:
    """The quantity, and what else tells kinds of trials apart, except for random seeds."""
    kinds = [dict(kind) for kind in {trial.kind for trial in trials}]
    names = [name for name in kinds[0] if name != quantity]
    return (quantity, *(name for name in names if len({kind[name] for kind in kinds}) > 1))


def _cells(trials: Trials, values: Mapping[str, float], names: Sequence[str]) -> dict[Any, dict[Any, float]]:
    """Values by random seed, then by what the names tell apart, in the order of that."""
    found = cells(trials, values, lambda trial: tuple(fact(trial, name) for name in names))
    return {seed: dict(sorted(own.items(), key=lambda item: str(item[0]))) for seed, own in found.items()}


def _over_seeds(runs: Iterable[Mapping[Any, float]]) -> dict[Any, float]:
    """The mean over random seeds by kind."""
    kinds: dict[Any, list[float]] = {}
    for own in runs:
        for kind, value in own.items():
            kinds.setdefault(kind, []).append(value)
    return {kind: fmean(group) for kind, group in kinds.items()}


def _named(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value_text(value)}" for name, value in facts.items())
