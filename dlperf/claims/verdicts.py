"""Verdicts: what the stored trials say of every claim."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dlperf.analysis.inference import LEVEL, holm
from dlperf.analysis.measures import (
    epoch_of,
    fact,
    is_of_learning,
    is_of_time,
    is_one_of,
    matches,
    needs_curves,
    value_text,
)
from dlperf.analysis.settings import DISTURBED, Setting, across_machines, differing
from dlperf.claims.closed_forms import closed_form
from dlperf.claims.findings import CONTRADICTED, NOT_SHOWN, SUPPORTED, Finding, compared, decided
from dlperf.claims.ledger import COMPUTED, Claim
from dlperf.claims.neighbours import neighbours
from dlperf.claims.rules import computed, finding_on
from dlperf.claims.spread import Spread
from dlperf.parameters import defining, files_named
from dlperf.trial import StoredTrial

if TYPE_CHECKING:
    import pandas as pd

NOT_COMPARABLE, NOT_MEASURED = "not comparable", "not measured"
OUTCOMES = (SUPPORTED, CONTRADICTED, NOT_SHOWN, NOT_COMPARABLE, NOT_MEASURED)
"""What a verdict can be."""
_DECIDED = (SUPPORTED, CONTRADICTED, NOT_SHOWN)
_COLUMNS = {
    **dict.fromkeys(("claim", "source"), str),
    **dict.fromkeys(("published", "closed_form", "reference", "reference_low", "reference_high"), float),
    **{"reference_n": int, "reference_verdict": str},
    **dict.fromkeys(("here", "low", "high"), float),
    **{"n": int, "verdict": str, "by": str, "reason": str, "place": str, "id": str},
}
SHORT_COLUMNS = ("claim", "published", "reference", "here", "verdict")
"""What a terminal shows of a verdict."""
_EMULATED = "dlperf.emulated"  # a tag: why a trial says nothing about as many real devices
_EMBEDDED = {"digits", "synthetic"}  # data sets of the demo, which no source used


@dataclass(frozen=True)
class Verdict:
    """A claim with what the trials say of it.

    Attributes:
        claim: The claim.
        closed_form: The value of its formula, if it names one.
        finding: What the trials say, or, where they do not compare, what they would say.
        verdict: One of OUTCOMES.
        reason: Why it does not compare, or was not measured; else the finding in words, and which trials say otherwise.
        facts: What the trials share that decided it: parameters, hardware, software, version and data, by name.
        reference: The verdict of the trials that come with dlperf, where it stands beside this one.
    """

    claim: Claim
    closed_form: float | None
    finding: Finding
    verdict: str
    reason: str
    facts: Mapping[str, str] = field(default_factory=dict)
    reference: Verdict | None = None


def verdicts(claims: Iterable[Claim], settings: Sequence[Setting[Any]], *, curves: bool = True) -> list[Verdict]:
    """Return the verdict on every claim.

    What claims say of losses and accuracies is tested over all machines of equal software, parameters and data, the
    machine being a block; what they say of times, and of networks, on each machine by itself.

    Claims that are tested are tested together: their p values are adjusted for their number (Holm 1979), those of each
    setting by themselves. So are published runs, which ours exclude or do not, as a family of their own.

    Args:
        claims: Claims about one problem.
        settings: Its trials by setting.
        curves: Read the epochs' curves; without them, the claims that need them are not measured.
    """
    together = across_machines(settings)
    questions = [_question(claim, together if _has_blocks(claim) else settings, curves=curves) for claim in claims]
    for setting in settings:
        asked = [question for question in questions if setting.number in question.findings]
        for question, finding in zip(asked, together_decided([q.findings[setting.number] for q in asked]), strict=True):
            question.findings[setting.number] = finding
    return [question.answered() for question in questions]


def together_decided(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings on claims about one problem in one setting, each adjusted for the others."""
    ps = [finding.p for finding in findings if finding.p is not None]
    adjusted = holm(ps)
    not_rejected = sum(p >= LEVEL for p in adjusted)
    excluded = [finding.excluded_p for finding in findings if finding.excluded_p is not None]
    tests, runs = iter(adjusted), iter(holm(excluded))
    return [
        decided(finding, next(tests), len(ps), not_rejected)
        if finding.p is not None
        else compared(finding, next(runs), len(excluded))
        if finding.excluded_p is not None
        else finding
        for finding in findings
    ]


def beside(judged: Sequence[Verdict], reference: Iterable[Verdict]) -> list[Verdict]:
    """Put the verdicts of the reference beside others on the same claims, and say why they differ where they do."""
    by_id = {verdict.claim.id: verdict for verdict in reference}
    return [_beside(verdict, by_id[verdict.claim.id]) if verdict.claim.id in by_id else verdict for verdict in judged]


def verdict_table(judged: Sequence[Verdict]) -> pd.DataFrame:
    """Lay out verdicts: the published and the closed-form number, the reference's and ours, and what follows.

    Columns: claim; source, whose it is; published; closed_form; reference, with its 95 % interval, number of
    independent values and verdict, if a reference stands beside; here, likewise; by, "arithmetic" or "experiment";
    reason; place, in the source; id.
    """
    import pandas as pd

    rows = []
    for verdict in judged:
        claim, finding, reference = verdict.claim, verdict.finding, verdict.reference
        there = reference.finding if reference else Finding("")
        rows.append(
            {
                **{"claim": claim.says, "source": claim.source},
                **{"published": claim.published, "closed_form": verdict.closed_form},
                **{"reference": there.value, "reference_low": there.low, "reference_high": there.high},
                **{"reference_n": there.n, "reference_verdict": reference.verdict if reference else ""},
                **{"here": finding.value, "low": finding.low, "high": finding.high, "n": finding.n},
                **{"verdict": verdict.verdict, "by": "arithmetic" if claim.arithmetic else "experiment"},
                **{"reason": verdict.reason, "place": claim.place, "id": claim.id},
            }
        )
    table = pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)
    if any(verdict.reference for verdict in judged):
        return table
    return table.drop(columns=[name for name in _COLUMNS if name.startswith("reference")])


def short_table(judged: Sequence[Verdict]) -> pd.DataFrame:
    """Lay out for a terminal the verdicts that trials led to, SHORT_COLUMNS first."""
    table = verdict_table([verdict for verdict in judged if verdict.verdict != NOT_MEASURED])
    names = (*SHORT_COLUMNS, "source", "low", "high", "closed_form", "reason")
    return table[[name for name in names if name in table]]


def counted(judged: Iterable[Verdict]) -> dict[str, int]:
    """Return the number of claims by verdict."""
    names = [verdict.verdict for verdict in judged]
    return {name: names.count(name) for name in OUTCOMES}


def in_words(judged: Iterable[Verdict]) -> str:
    """Say how many claims there are by verdict, and how many of those that were decided a count decides."""
    judged = list(judged)
    counted_ones = counted(verdict for verdict in judged if verdict.claim.arithmetic)
    parts = []
    for name, count in counted(judged).items():
        by = (
            f" ({counted_ones[name]} by arithmetic)" if name in (SUPPORTED, CONTRADICTED) and counted_ones[name] else ""
        )
        parts.append(f"{count} {name}{by}")
    return ", ".join(parts)


@dataclass
class _Question:
    """A claim, and what each setting says of it.

    Attributes:
        claim: The claim.
        formula: The value of its formula, if it names one.
        findings: By the number of the setting.
        instead: The verdict where no setting has an answer.
        settings: The settings that were asked, by number.
    """

    claim: Claim
    formula: float | None
    findings: dict[int, Finding]
    instead: Verdict
    settings: Mapping[int, Setting[Any]] = field(default_factory=dict)

    def answered(self) -> Verdict:
        """The answer of the setting with the most independent values, and which others say something else."""
        known = {number: found for number, found in self.findings.items() if found.outcome is not None}
        if not known:
            return self.instead
        number = max(known, key=lambda number: (known[number].n, -number))
        first = known[number]
        assert first.outcome is not None
        facts = self.settings[number].facts
        against = [
            f"setting {n}{_apart(self.settings[n].facts, facts)}, {other.outcome}: {other.says}"
            for n, other in known.items()
            if other.outcome != first.outcome
        ]
        reason = "; but ".join([first.says, *against])
        return Verdict(self.claim, self.formula, first, first.outcome, reason, facts)


def _beside(verdict: Verdict, reference: Verdict) -> Verdict:
    reason = verdict.reason
    if {verdict.verdict, reference.verdict} <= set(_DECIDED) and verdict.verdict != reference.verdict:
        apart = _apart(reference.facts, verdict.facts)
        reason = f"{reason}; but the reference{apart}, {reference.verdict}: {reference.finding.says}"
    return replace(verdict, reason=reason, reference=reference)


def _apart(facts: Mapping[str, str], others: Mapping[str, str]) -> str:
    """Say in brackets what some trials ran on, or with, where others did not; "" if nothing is known to differ."""
    names = [name for name in differing([facts, others]) if facts.get(name)]
    return f" ({', '.join(f'{name} {facts[name]}' for name in names)})" if names else ""


def _question(claim: Claim, settings: Sequence[Setting[Any]], *, curves: bool) -> _Question:
    formula = closed_form(claim)

    def not_measured(reason: str) -> Verdict:
        return Verdict(claim, formula, Finding(""), NOT_MEASURED, reason)

    if claim.measure == COMPUTED:
        assert formula is not None
        finding = computed(claim, formula)
        assert finding.outcome is not None
        return _Question(claim, formula, {}, Verdict(claim, formula, finding, finding.outcome, finding.says))
    if needs_curves(claim.measure) and not curves:
        return _Question(claim, formula, {}, not_measured("the epochs' curves are not read"))
    spoken_of = [(s, trials) for s in settings if (trials := [t for t in s.trials if matches(t, claim.where)])]
    if not spoken_of:
        return _Question(claim, formula, {}, not_measured("no such trial"))
    comparable = [(s, fit) for s, trials in spoken_of if (fit := [t for t in trials if not _unmet(claim, t)])]
    beside_of = {s.number: _beside_others(claim, trials) for s, trials in spoken_of}
    if comparable:
        # Where a parameter changes nothing, the same trials stand in several settings: one of them answers.
        once: dict[frozenset[str], tuple[Setting[Any], list[StoredTrial[Any]]]] = {}
        for s, fit in comparable:
            once.setdefault(frozenset(t.run_id for t in fit), (s, fit))
        lenders = partial(neighbours, claim.measure, settings=settings, unmet=partial(_unmet, claim))
        findings = {s.number: _finding(claim, fit, formula, partial(lenders, fit, s)) for s, fit in once.values()}
        findings = {number: replace(f, says=f.says + beside_of[number]) for number, f in findings.items()}
        asked = {s.number: _as_asked(s, fit) for s, fit in once.values()}
        return _Question(claim, formula, findings, not_measured(next(iter(findings.values())).says), asked)
    nearest = min((trials for _, trials in spoken_of), key=lambda trials: len(_reasons(claim, trials)))
    finding = finding_on(claim, nearest, formula)
    reason = "; ".join(_reasons(claim, nearest))
    return _Question(claim, formula, {}, Verdict(claim, formula, finding, NOT_COMPARABLE, reason))


def _as_asked(setting: Setting[Any], trials: Sequence[StoredTrial[Any]]) -> Setting[Any]:
    """Leave out the parameters that change nothing of any of these trials of the setting."""
    free = frozenset.intersection(*(trial.parameters.without_effect() for trial in trials))
    return replace(setting, parameters={n: v for n, v in setting.parameters.items() if n not in free})


def _beside_others(claim: Claim, trials: Sequence[StoredTrial[Any]]) -> str:
    """Say in brackets how many trials would compare, had no other programs run beside them."""
    disturbed = sum(_unmet(claim, trial) == [DISTURBED] for trial in trials)
    return f" ({disturbed} of {len(trials)} trials, beside which other programs ran, take no part)" if disturbed else ""


def _finding(
    claim: Claim,
    trials: Sequence[StoredTrial[Any]],
    formula: float | None,
    lenders: Callable[[], Sequence[Spread]],
) -> Finding:
    kinds = len({trial.kind for trial in trials})
    if kinds < claim.kinds:
        return Finding(f"{kinds} of {claim.kinds} different trials are there")
    finding = finding_on(claim, trials, formula, lenders)
    machines = dict.fromkeys(fact(trial, "hardware") for trial in trials)
    if len(machines) < 2:
        return finding
    if finding.machines_p >= LEVEL:
        return replace(finding, says=f"{finding.says} ({len(machines)} machines)")
    by_machine = {m: finding_on(claim, [t for t in trials if fact(t, "hardware") == m], formula) for m in machines}
    alone = {m: one for m, one in by_machine.items() if one.outcome is not None}
    differ = f"the {len(alone)} machines differ (p = {finding.machines_p:.2g})"
    # Of a test the direction counts: an effect that is larger on one machine is still there on both.
    is_tested = finding.p is not None
    if all(o.claimed == finding.claimed if is_tested else o.outcome == finding.outcome for o in alone.values()):
        return replace(finding, says=f"{finding.says} ({differ}, but not in what they say of it)")
    decided_alone = {m: one if one.p is None else decided(one, one.p) for m, one in alone.items()}
    shown = "; ".join(f"{machine}, {one.outcome}: {one.says}" for machine, one in decided_alone.items())
    says = f"{finding.says}; {differ}: {shown}"
    return replace(finding, outcome=NOT_SHOWN, says=says, p=None, excluded_p=None)


def _has_blocks(claim: Claim) -> bool:
    """Whether machines are blocks to a claim: it is about random seeds, and what they learn."""
    return claim.over == "random seeds" and is_of_learning(claim.measure)


def _unmet(claim: Claim, trial: StoredTrial[Any]) -> list[str]:
    """The conditions that a trial does not meet, what of it is the user's own, and what spoils its times."""
    free = trial.parameters.without_effect()
    unmet = [name for name, wanted in claim.needs.items() if not _met(name, fact(trial, name), wanted)]
    unmet = [name for name in unmet if name not in free]
    if "epochs" in unmet and _is_alike_so_far(claim, trial):
        unmet.remove("epochs")
    unmet += [name for name in own_files(trial) if name not in unmet]
    unmet += [_EMULATED] if trial.tags.get(_EMULATED) else []
    return [*unmet, DISTURBED] if is_of_time(claim.measure) and trial.tags.get(DISTURBED) else unmet


def own_files(trial: StoredTrial[Any]) -> list[str]:
    """Return the parameters that name data or a model of the user's own, or a model of keras.applications."""
    named = files_named(trial.parameters)
    model = str(getattr(trial.parameters, "model", ""))
    return named if "model" in named or ":" not in model else [*named, "model"]


def _is_alike_so_far(claim: Claim, trial: StoredTrial[Any]) -> bool:
    """Whether a claim on an early epoch can be read from a trial of other length, whose schedule is the same so far."""
    epoch, parameters = epoch_of(claim.measure), trial.parameters
    wanted = claim.needs["epochs"]
    if epoch is None or isinstance(wanted, list) or parameters.epochs < epoch:
        return False
    if not hasattr(parameters, "learning_rate_at"):
        return True
    as_claimed = parameters.model_copy(update={"epochs": wanted})
    return all(parameters.learning_rate_at(e) == as_claimed.learning_rate_at(e) for e in range(1, epoch + 1))


def _met(name: str, value: Any, wanted: Any) -> bool:
    return str(wanted) in str(value) if name == "hardware" else is_one_of(value, wanted)


def _reasons(claim: Claim, trials: Sequence[StoredTrial[Any]]) -> list[str]:
    """Why trials do not compare: the conditions that the nearest of them does not meet."""
    nearest = min(trials, key=lambda trial: len(_unmet(claim, trial)))
    reasons: list[str] = []
    for name in _unmet(claim, nearest):
        if name == _EMULATED:
            reasons.append(f"emulated ({nearest.tags[name]})")
            continue
        if name == DISTURBED:
            reasons.append(f"not alone on its machine ({nearest.tags[name]})")
            continue
        value = fact(nearest, name)
        if name == "dataset" and value in _EMBEDDED:
            reasons.insert(0, f"demo data ({value}, not {value_text(claim.needs[name])})")
        elif name in own_files(nearest):
            reasons.insert(0, f"{name}={defining(nearest.parameters)[name]}, which no source used")
        elif name == "hardware":
            reasons.append(f"other hardware ({value}, not {claim.needs[name]})")
        else:
            reasons.append(f"{name}={value_text(value)}, not {value_text(claim.needs[name])}")
    return reasons
