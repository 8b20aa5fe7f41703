"""Verdicts: what the stored trials say of every claim."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlperf.analysis.measures import fact, is_one_of, matches, needs_curves, value_text
from dlperf.analysis.settings import Setting
from dlperf.claims.closed_forms import closed_form
from dlperf.claims.ledger import Claim
from dlperf.claims.rules import Finding, tested
from dlperf.parameters import defining
from dlperf.tables import cell
from dlperf.trial import StoredTrial

if TYPE_CHECKING:
    import pandas as pd

AGREES, DIFFERS, NOT_COMPARABLE, NOT_MEASURED = "agrees", "differs", "not comparable", "not measured yet"
_COLUMNS = [
    "claim",
    "notebook",
    "paper",
    "closed_form",
    "here",
    "low",
    "high",
    "n",
    "verdict",
    "reason",
    "source",
    "id",
]
_EMULATED = "dlperf.emulated"  # a tag: why a trial says nothing about as many real devices
_EMBEDDED = {"digits", "synthetic"}  # data sets of the demo, which no source used


@dataclass(frozen=True)
class Verdict:
    """A claim with what the trials say of it.

    Attributes:
        claim: The claim.
        closed_form: The value of its formula, if it names one.
        finding: What the trials say, or, where they do not compare, what they would say.
        verdict: AGREES, DIFFERS, NOT_COMPARABLE or NOT_MEASURED.
        reason: Why it does not compare, or was not measured; else the finding in words.
    """

    claim: Claim
    closed_form: float | None
    finding: Finding
    verdict: str
    reason: str


def verdicts(claims: Iterable[Claim], settings: Sequence[Setting[Any]], *, curves: bool = True) -> list[Verdict]:
    """Return the verdict on every claim.

    Args:
        claims: Claims about one problem.
        settings: Its trials by setting.
        curves: Read the epochs' curves; without them, the claims that need them are not measured.
    """
    return [_verdict(claim, settings, curves=curves) for claim in claims]


def verdict_table(judged: Sequence[Verdict]) -> pd.DataFrame:
    """Lay out verdicts: the published and the closed-form number beside ours, and what follows."""
    import pandas as pd

    rows = [
        {
            "claim": verdict.claim.says,
            "notebook": verdict.claim.published if verdict.claim.source == "notebook" else None,
            "paper": verdict.claim.published if verdict.claim.source != "notebook" else None,
            "closed_form": verdict.closed_form,
            "here": verdict.finding.value,
            "low": verdict.finding.low,
            "high": verdict.finding.high,
            "n": verdict.finding.n,
            "verdict": verdict.verdict,
            "reason": verdict.reason,
            "source": f"{verdict.claim.source}: {verdict.claim.place}",
            "id": verdict.claim.id,
        }
        for verdict in judged
    ]
    numbers = dict.fromkeys(("notebook", "paper", "closed_form", "here", "low", "high"), float)
    return pd.DataFrame(rows, columns=_COLUMNS).astype(numbers)


def short_table(judged: Sequence[Verdict]) -> pd.DataFrame:
    """Lay out for a terminal the verdicts that trials led to: numbers, verdict and, unless they agree, why."""
    table = verdict_table([verdict for verdict in judged if verdict.verdict != NOT_MEASURED])
    with_reason = table["verdict"].isin([NOT_COMPARABLE, DIFFERS])
    table["verdict"] = table["verdict"].where(~with_reason, table["verdict"] + ": " + table["reason"])
    intervals = zip(table["here"], table["low"], table["high"], strict=True)
    table["here"] = [
        cell(here) + (f" ({cell(low)} to {cell(high)})" if low == low else "")  # one value has no interval
        for here, low, high in intervals
    ]
    table["source"] = [source.partition(":")[0] for source in table["source"]]
    return table[["claim", "source", "notebook", "paper", "closed_form", "here", "verdict"]]


def counted(judged: Iterable[Verdict]) -> dict[str, int]:
    """Return the number of claims by verdict."""
    names = [verdict.verdict for verdict in judged]
    return {name: names.count(name) for name in (AGREES, DIFFERS, NOT_COMPARABLE, NOT_MEASURED)}


def _verdict(claim: Claim, settings: Sequence[Setting[Any]], *, curves: bool) -> Verdict:
    formula = closed_form(claim)
    nothing = Finding(None, "")
    if needs_curves(claim.measure) and not curves:
        return Verdict(claim, formula, nothing, NOT_MEASURED, "the epochs' curves are not read")
    spoken_of = [(s.number, trials) for s in settings if (trials := [t for t in s.trials if matches(t, claim.where)])]
    if not spoken_of:
        return Verdict(claim, formula, nothing, NOT_MEASURED, "no such trial")
    comparable = [
        (number, fit) for number, trials in spoken_of if (fit := [t for t in trials if not _unmet(claim.needs, t)])
    ]
    findings = {number: _finding(claim, trials, formula) for number, trials in comparable}
    decided = {number: finding for number, finding in findings.items() if finding.holds is not None}
    if decided:
        first = next(iter(decided.values()))  # from the setting with the most trials
        against = [f"setting {n}: {finding.says}" for n, finding in decided.items() if finding.holds != first.holds]
        reason = "; but ".join([first.says, *against])
        return Verdict(claim, formula, first, AGREES if first.holds else DIFFERS, reason)
    if findings:
        return Verdict(claim, formula, nothing, NOT_MEASURED, next(iter(findings.values())).says)
    nearest = min((trials for _, trials in spoken_of), key=lambda trials: len(_reasons(claim.needs, trials)))
    finding = tested(claim, nearest, formula)
    return Verdict(claim, formula, finding, NOT_COMPARABLE, "; ".join(_reasons(claim.needs, nearest)))


def _finding(claim: Claim, trials: Sequence[StoredTrial[Any]], formula: float | None) -> Finding:
    kinds = _kinds(trials)
    if kinds < claim.kinds:
        return Finding(None, f"{kinds} of {claim.kinds} different trials are there")
    return tested(claim, trials, formula)


def _kinds(trials: Sequence[StoredTrial[Any]]) -> int:
    return len({tuple((k, v) for k, v in defining(t.parameters).items() if k != "random_seed") for t in trials})


def _unmet(needs: Mapping[str, Any], trial: StoredTrial[Any]) -> list[str]:
    unmet = [name for name, wanted in needs.items() if not _met(name, fact(trial, name), wanted)]
    return [*unmet, _EMULATED] if trial.tags.get(_EMULATED) else unmet


def _met(name: str, value: Any, wanted: Any) -> bool:
    return str(wanted) in str(value) if name == "hardware" else is_one_of(value, wanted)


def _reasons(needs: Mapping[str, Any], trials: Sequence[StoredTrial[Any]]) -> list[str]:
    """Why trials do not compare: the conditions that the nearest of them does not meet."""
    nearest = min(trials, key=lambda trial: len(_unmet(needs, trial)))
    reasons: list[str] = []
    for name in _unmet(needs, nearest):
        if name == _EMULATED:
            reasons.append(f"emulated ({nearest.tags[name]})")
            continue
        value = fact(nearest, name)
        if name == "dataset" and value in _EMBEDDED:
            reasons.insert(0, f"demo data ({value}, not {value_text(needs[name])})")
        elif name == "hardware":
            reasons.append(f"other hardware ({value}, not {needs[name]})")
        else:
            reasons.append(f"{name}={value_text(value)}, not {value_text(needs[name])}")
    return reasons
