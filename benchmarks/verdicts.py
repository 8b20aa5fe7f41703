"""`python -m benchmarks.verdicts`, 15 minutes on 2 cores: how often verdicts on made trials are right.

1,000 sets of trials, made in memory with five random seeds each: without any effect, with the published effects, and
with these reversed. Without effect at most 5 % of the sets may have any claim supported, of those that are tested; with
the published effects at least 80 % of the claims have to be supported and none contradicted, reversed at least 80 %
contradicted. Each claim's measure is drawn apart: a published factor, else a difference of a tenth in the claimed
direction; noise of 2 % from trial to trial and of 1 % that all trials of a random seed share. Published single runs are
put beside ours in sets of their own, in which each is one more run of the same kind: at most 5 % of the sets may have
any contradicted. Written to results/compare as verdicts.json after every 50 sets of a problem; `--resume`
goes on from what stands there, with `--sets 250 --resume` up to 250 sets, and comes to the same figures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.record import Record, add_output, at_least
from dlperf.accounting.mlp import networks, num_params
from dlperf.analysis.balance import balanced
from dlperf.analysis.measures import Trials, cells, fact, matches
from dlperf.claims import ledger
from dlperf.claims.findings import CONTRADICTED, NOT_SHOWN, SUPPORTED
from dlperf.claims.ledger import Bound, Claim, Extreme, Paired, Ratio, Trend
from dlperf.claims.rules import finding_on
from dlperf.claims.verdicts import together_decided
from dlperf.entry_points import PROBLEMS, load_problem
from dlperf.trial import StoredTrial

SEEDS = 5
NOISE, SHARED_NOISE = 0.02, 0.01
EFFECT = 0.1
SCENARIOS = {"without effect": 0, "published effects": 1, "reversed effects": -1}
"""By name the sign of the effects in the sets that claims are tested on."""
PUBLISHED_RUNS = "every published run true"
"""The scenario of the sets that published single runs are put beside; not of a problem without any."""
_MEASURE = "made"
_SLICE = 50


def kinds(problem: str) -> list[dict[str, Any]]:
    """The kinds of trial that the claims on a problem are about."""
    if problem == "optimizers":
        rules = ("adagrad", "rmsprop", "nadam", "adadelta", "adam")
        return [{"optimizer": rule, "dropout": dropout} for rule in rules for dropout in (False, True)]
    if problem == "cutout":
        return [{"m": m} for m in (0, 1, 2, 4, 8, 16, 32)]
    if problem == "approximators":
        return [{"units": ",".join(map(str, units))} for units in networks()]
    if problem == "scaling":
        many = [{"workers": n, "strategy": "multi_worker"} for n in (1, 2, 4, 8, 16)]
        reduced = [
            {"workers": n, "strategy": "mirrored", "all_reduce": way}
            for n in (2, 4, 8)
            for way in ("default", "nccl", "hierarchical_copy", "reduction_to_one_device")
        ]
        ways = [{"workers": 2, "strategy": "multi_worker", "collective": way} for way in ("ring", "nccl")]
        return [{"mode": mode, **kind} for mode in ("strong", "weak") for kind in (*many, *reduced, *ways)]
    return []


def trials(problem: str, seeds: int = SEEDS) -> list[StoredTrial[Any]]:
    """A trial of every kind and random seed, without any metric."""
    declared = load_problem(problem).parameters
    made = []
    for kind in kinds(problem):
        units = tuple(map(int, kind["units"].split(","))) if "units" in kind else ()
        logged = {"num_layers": len(units), "total_units": sum(units), "num_params": num_params(units)} if units else {}
        resolved = declared.resolve(_plain(kind))
        for seed in range(seeds):
            run = f"{sorted(kind.items())}-{seed}"
            known = resolved.model_copy(update={**kind, "random_seed": seed})  # which checks nothing
            made.append(StoredTrial(run, known, {k: str(v) for k, v in logged.items()}, {}, {}, {}))
    return made


def _plain(kind: Mapping[str, Any]) -> dict[str, Any]:
    """What `resolve` takes on this machine, whose cores and devices are fewer; the rest is set afterwards."""
    return {name: value for name, value in kind.items() if name in ("optimizer", "dropout", "m", "units")}


def tested_claims(problem: str) -> list[Claim]:
    """The claims that are tested, and not counted or set beside a prediction."""
    return [
        claim.model_copy(update={"measure": _MEASURE})
        for claim in ledger.claims(problem)
        if not isinstance(claim.rule, Bound) or isinstance(claim.rule, Ratio)
        if not claim.arithmetic
    ]


def published_runs(problem: str) -> list[Claim]:
    """The claims that put a published single run beside ours."""
    return [
        claim.model_copy(update={"measure": _MEASURE})
        for claim in ledger.claims(problem)
        if isinstance(claim.rule, Bound) and not isinstance(claim.rule, Ratio) and claim.rule.reference == "published"
        if not claim.arithmetic
    ]


def means(claim: Claim, about: Trials, sign: int) -> dict[str, float]:
    """The mean of every trial, without effect (0), as claimed (1) or reversed (-1)."""
    rule = claim.rule
    if not sign:
        return {trial.run_id: 1.0 for trial in about}
    if isinstance(rule, Trend):
        quantity = rule.quantity
        if rule.levels_off_with:
            most = max(fact(t, quantity) for t in about)
            return {t.run_id: 1 + 2 * sign * EFFECT * (1 - fact(t, quantity) / most) ** 2 for t in about}
        steps = {value: n for n, value in enumerate(sorted({fact(t, quantity) for t in about}))}
        slope = sign * (-EFFECT if rule.falls_with else EFFECT)
        return {t.run_id: 1 + slope * steps[fact(t, quantity)] / max(1, len(steps) - 1) * 2 for t in about}
    if isinstance(rule, Paired):
        side = rule.lower_for or rule.higher_for or {}
        factor = rule.times * (1 + EFFECT)
        lower = (rule.lower_for is not None) == (sign > 0)
        return {t.run_id: (1 / factor if lower else factor) if matches(t, side) else 1.0 for t in about}
    if isinstance(rule, Extreme):
        wanted = rule.lowest if rule.lowest is not None else rule.highest
        lower = (rule.lowest is not None) == (sign > 0)
        return {t.run_id: 1 + (-EFFECT if lower else EFFECT) * (fact(t, rule.by) == wanted) for t in about}
    assert isinstance(rule, Ratio)
    published = claim.published or 1.0
    low, high = published * (1 - rule.relative) - rule.absolute, published * (1 + rule.relative) + rule.absolute
    factor = published if sign > 0 else high + (high - low) if low <= 1 <= high else 1 / published
    return {t.run_id: factor if matches(t, rule.ratio_of) else 1.0 for t in about}


def drawn(about: Trials, centres: Mapping[str, float], rng: np.random.Generator) -> list[StoredTrial[Any]]:
    """The trials with a measured value each."""
    shared = 1 + SHARED_NOISE * rng.normal(size=SEEDS + 1)
    own = 1 + NOISE * rng.normal(size=len(about))
    return [
        _with(trial, centres[trial.run_id] * shared[trial.parameters.random_seed] * noise)
        for trial, noise in zip(about, own, strict=True)
    ]


def _with(trial: StoredTrial[Any], value: float) -> StoredTrial[Any]:
    made = replace(trial, metrics={_MEASURE: value})
    made.__dict__["kind"] = trial.kind  # which is found once, and not anew for each of millions
    return made


def outcomes(
    claims: Sequence[Claim],
    about: Mapping[str, Trials],
    centres: Mapping[str, Mapping[str, float]],
    rng: np.random.Generator,
) -> list[str]:
    """The verdicts on one set of trials, tested together."""
    findings = [finding_on(claim, drawn(about[claim.id], centres[claim.id], rng)) for claim in claims]
    return [finding.outcome or NOT_SHOWN for finding in together_decided(findings)]


def outcomes_of_runs(claims: Sequence[Claim], about: Mapping[str, Trials], rng: np.random.Generator) -> list[str]:
    """The verdicts on published runs, each of which is one more of the same kind as ours."""
    findings = []
    for claim in claims:
        assert claim.published is not None
        runs = drawn(about[claim.id], dict.fromkeys((t.run_id for t in about[claim.id]), claim.published), rng)
        values = balanced(cells(runs, {t.run_id: t.metrics[_MEASURE] for t in runs})).means()
        (further,) = (value for (seed, _), value in values.items() if seed == SEEDS)
        ours = [trial for trial in runs if trial.parameters.random_seed < SEEDS]
        findings.append(finding_on(claim.model_copy(update={"published": further}), ours))
    return [finding.outcome or NOT_SHOWN for finding in together_decided(findings)]


def measured(
    problem: str, sets: int, random_seed: int, so_far: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """How often the claims on a problem are supported and contradicted, a row per scenario.

    Args:
        problem: Its name.
        sets: Number of sets in all.
        random_seed: Of the made trials; each set is drawn by its number.
        so_far: The rows of the first sets, which are not made again.
    """
    made, claims = trials(problem), tested_claims(problem)
    wheres = {claim.id: _of_kinds(claim.where, made) for claim in claims}
    about = {claim.id: [t for t in made if matches(t, wheres[claim.id])] for claim in claims}
    first = {c.id: drawn(about[c.id], means(c, about[c.id], 1), np.random.default_rng(0)) for c in claims}
    claims = [claim for claim in claims if finding_on(claim, first[claim.id]).p is not None]
    rows_so_far = {row["scenario"]: row for row in so_far}
    rows = []
    for scenario, sign in SCENARIOS.items():
        asked = claims if sign else [claim for claim in claims if not _is_true_without_effect(claim)]
        centres = {claim.id: means(claim, about[claim.id], sign) for claim in asked}
        judge = partial(outcomes, asked, about, centres)
        seed = [random_seed, PROBLEMS.index(problem), sign + 1]
        shares = _shares(judge, len(asked), sets, seed, rows_so_far.get(scenario))
        rows.append({"problem": problem, "claims": len(asked), "scenario": scenario, "sets": sets, **shares})
    if published := published_runs(problem):
        with_further = trials(problem, SEEDS + 1)
        wheres = {claim.id: _of_kinds(claim.where, with_further) for claim in published}
        theirs = {claim.id: [t for t in with_further if matches(t, wheres[claim.id])] for claim in published}
        published = [claim for claim in published if theirs[claim.id]]
        judge = partial(outcomes_of_runs, published, theirs)
        seed = [random_seed, PROBLEMS.index(problem), len(SCENARIOS)]
        shares = _shares(judge, len(published), sets, seed, rows_so_far.get(PUBLISHED_RUNS))
        named = {"problem": problem, "claims": len(published), "scenario": PUBLISHED_RUNS}
        rows.append({**named, "sets": sets, **shares})
    return rows


def _shares(
    judge: Callable[[np.random.Generator], list[str]],
    claims: int,
    sets: int,
    seed: Sequence[int],
    so_far: Mapping[str, Any] | None,
) -> dict[str, float]:
    """The shares of claims, and of sets with any, that are supported and contradicted.

    Args:
        judge: Gives the verdicts on a set, drawn from a generator.
        claims: How many verdicts those are.
        sets: Number of sets in all.
        seed: Of the generators, with the number of the set behind it.
        so_far: The shares of the first sets, and how many they are.
    """
    begun = so_far["sets"] if so_far else 0
    found = [judge(np.random.default_rng([*seed, number])) for number in range(begun, sets)]
    shares: dict[str, float] = {}
    for name in (SUPPORTED, CONTRADICTED):
        shares[f"claims_{name}"] = sum(answers.count(name) for answers in found) / claims
        shares[f"sets_with_any_{name}"] = sum(name in answers for answers in found)
    if so_far:
        shares = {name: count + so_far[name] * begun for name, count in shares.items()}
    return {name: round(count / sets, 6) for name, count in shares.items()}


def _is_true_without_effect(claim: Claim) -> bool:
    """Whether a claim says that two kinds are alike, within its margin."""
    rule = claim.rule
    if not isinstance(rule, Ratio):
        return False
    published = claim.published or 1.0
    return abs(published - 1) <= rule.absolute + rule.relative * published


def _of_kinds(where: Mapping[str, Any], made: Trials) -> dict[str, Any]:
    """The conditions that tell kinds of made trials apart."""
    return {name: wanted for name, wanted in where.items() if len({str(fact(t, name)) for t in made}) > 1}


def main() -> int:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=at_least(1), default=1000, help="sets of trials per scenario (default 1000)")
    parser.add_argument("--random_seed", type=at_least(0), default=0, help="of the made trials (default 0)")
    parser.add_argument("--resume", action="store_true", help="go on from the figures that are there")
    add_output(parser, "results/compare")
    given = parser.parse_args()
    file = given.output / "verdicts.json"
    record = Record(file, random_seed=given.random_seed)
    if given.resume and file.exists():
        there = json.loads(file.read_text())
        if there["environment"].get("random_seed") != given.random_seed:
            parser.error(f"--resume: {file} has the sets of another random seed")
        with_runs = [rows for name, rows in there["figures"].items() if published_runs(name)]
        if any(PUBLISHED_RUNS not in {row["scenario"] for row in rows} for rows in with_runs):
            parser.error(f"--resume: {file} is of an earlier version, which made no sets of published runs")
        record.figures |= there["figures"]
    for problem in filter(tested_claims, PROBLEMS):
        begun = record.figures[problem][0]["sets"] if problem in record.figures else 0
        for sets in (*range(begun + _SLICE, given.sets, _SLICE), given.sets):
            if sets > begun:
                so_far = record.figures.get(problem, ())
                record.measure(problem, partial(measured, problem, sets, given.random_seed, so_far))
    return record.end()


if __name__ == "__main__":
    sys.exit(main())
