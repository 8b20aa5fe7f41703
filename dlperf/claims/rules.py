"""How the trials of one setting test a claim's rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlperf.analysis.measures import Trials, fact, matches, measured, value_text
from dlperf.analysis.statistics import mean_of
from dlperf.claims.ledger import Bound, Claim, Extreme, Paired, Ratio, Trend
from dlperf.parameters import defining
from dlperf.tables import cell

_SIGNIFICANCE = 0.05
_FEWEST_TO_TEST = 5  # one-sided, Wilcoxon's smallest p of five pairs is 0.031


@dataclass(frozen=True)
class Finding:
    """What trials say of a claim.

    Attributes:
        holds: Whether they support it; None if there are too few kinds of trials to tell.
        says: How, in a few words.
        value: The number that was tested, for a table.
        low: Lower end of its 95 % interval; NaN where there is none.
        high: Upper end.
        n: Number of trials read.
    """

    holds: bool | None
    says: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0


def tested(claim: Claim, trials: Trials, closed_form: float | None) -> Finding:
    """Test a claim.

    Args:
        claim: The claim.
        trials: The trials it is about, all of one setting.
        closed_form: The value of its formula, if it names one.
    """
    values = measured(trials, claim.measure)
    known = [trial for trial in trials if trial.run_id in values]
    if not known:
        return Finding(None, f"no trial has {claim.measure}")
    rule = claim.rule
    if isinstance(rule, Ratio):
        return _ratio(rule, claim, known, values, closed_form)
    if isinstance(rule, Bound):
        mean = mean_of(list(values.values()))
        return Finding(*_within(rule, mean.mean, claim, closed_form), mean.mean, mean.low, mean.high, mean.n)
    if isinstance(rule, Extreme):
        return _extreme(rule, known, values)
    if isinstance(rule, Trend):
        return _trend(rule, known, values)
    return _paired(rule, known, values)


def _within(rule: Bound, value: float, claim: Claim, closed_form: float | None) -> tuple[bool, str]:
    reference = claim.published if rule.reference == "published" else closed_form
    assert reference is not None
    slack = rule.absolute + rule.relative * abs(reference)
    difference = value - reference
    if rule.equals:
        holds = abs(difference) <= slack * (1 + 1e-9)
    else:
        holds = difference >= -slack if rule.at_least else difference <= slack
    share = f" ({difference / reference:+.1%})" if reference and difference else ""
    return holds, f"{cell(value)} against {cell(reference)}{share}"


def _ratio(
    rule: Ratio, claim: Claim, trials: Trials, values: Mapping[str, float], closed_form: float | None
) -> Finding:
    sides = [[values[t.run_id] for t in trials if matches(t, side)] for side in (rule.ratio_of, rule.to)]
    if not all(sides):
        return Finding(None, f"needs trials with {_named(rule.ratio_of)} and with {_named(rule.to)}")
    ratio = float(np.mean(sides[0]) / np.mean(sides[1]))
    return Finding(*_within(rule, ratio, claim, closed_form), ratio, n=sum(map(len, sides)))


def _extreme(rule: Extreme, trials: Trials, values: Mapping[str, float]) -> Finding:
    means = {kind[0]: mean for kind, mean in _means(trials, values, rule.by).items()}
    wanted = rule.lowest if rule.lowest is not None else rule.highest
    if wanted not in means or len(means) < 2:
        return Finding(None, f"needs {rule.by}={wanted} and another")
    first = (min if rule.lowest is not None else max)(means, key=lambda name: means[name])
    others = f"of {len(means)}: {first} {cell(means[first])}"
    says = others if first == wanted else f"{others}, {wanted} {cell(means[wanted])}"
    return Finding(first == wanted, says, means[wanted], n=len(trials))


def _trend(rule: Trend, trials: Trials, values: Mapping[str, float]) -> Finding:
    quantity, alternative = rule.falls_with or rule.rises_with, "less" if rule.falls_with else "greater"
    # Random seeds of one kind add no points: counted as points they would make any trend significant.
    kinds = _means(trials, values, *_telling_apart(trials, quantity))
    x = [kind[0] for kind in kinds]
    if len(set(x)) < 3:
        return Finding(None, f"needs three values of {quantity}")
    from scipy import stats  # a second to import, which a start that compares nothing need not wait for

    tau = stats.kendalltau(x, list(kinds.values()), alternative=alternative)
    if len(x) < _FEWEST_TO_TEST:  # no order of so few is significant, so all have to be in order
        holds, how = abs(tau.statistic) == 1 and (tau.statistic < 0) == bool(rule.falls_with), ""
    else:
        holds, how = bool(tau.pvalue < _SIGNIFICANCE), f", p = {tau.pvalue:.2g}"
    shown = "" if holds else ": not shown"
    says = f"Kendall's tau {tau.statistic:.2f} over {len(x)}{how}{shown}"
    return Finding(holds, says, tau.statistic, n=len(trials))


def _paired(rule: Paired, trials: Trials, values: Mapping[str, float]) -> Finding:
    lower = rule.lower_for is not None
    side = rule.lower_for if rule.lower_for is not None else rule.higher_for
    assert side is not None
    names = (rule.for_every,) if rule.for_every else ()
    one, other = (_means([t for t in trials if matches(t, facts)], values, *names) for facts in (side, rule.than))
    pairs = [(one[kind], other[kind]) for kind in one if kind in other]
    if not pairs:
        return Finding(None, f"needs trials with {_named(side)} and with {_named(rule.than)}")
    differences = np.array([a - b for a, b in pairs])
    ratio = float(np.median([a / b for a, b in pairs])) if all(b for _, b in pairs) else math.nan
    count = int((differences < 0).sum() if lower else (differences > 0).sum())
    says = f"{count} of {len(pairs)} {'lower' if lower else 'higher'}, median ratio {ratio:.3g}"
    if len(pairs) < _FEWEST_TO_TEST:
        return Finding(count == len(pairs), says, ratio, n=len(trials))
    from scipy import stats

    p = stats.wilcoxon(differences, alternative="less" if lower else "greater").pvalue if differences.any() else 1.0
    holds = bool(p < _SIGNIFICANCE)
    return Finding(holds, f"{says}, p = {p:.2g}{'' if holds else ': not shown'}", ratio, n=len(trials))


def _telling_apart(trials: Trials, quantity: str) -> tuple[str, ...]:
    """The quantity, and what else tells kinds of trials apart, except for random seeds."""
    kinds = [defining(trial.parameters) for trial in trials]
    names = [name for name in kinds[0] if name not in ("random_seed", quantity)]
    return (quantity, *(name for name in names if len({kind[name] for kind in kinds}) > 1))


def _means(trials: Trials, values: Mapping[str, float], *names: str) -> dict[tuple[Any, ...], float]:
    groups: dict[tuple[Any, ...], list[float]] = {}
    for trial in trials:
        groups.setdefault(tuple(fact(trial, name) for name in names), []).append(values[trial.run_id])
    return {kind: float(np.mean(group)) for kind, group in sorted(groups.items(), key=lambda item: str(item[0]))}


def _named(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value_text(value)}" for name, value in facts.items())
