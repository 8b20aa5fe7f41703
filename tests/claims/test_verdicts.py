"""Verdicts on claims by the trials of several settings: which decide, which do not compare, and what is said of it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from dlperf import entry_points
from dlperf.analysis.settings import settings as sorted_out
from dlperf.claims import ledger
from dlperf.claims.findings import CONTRADICTED, NOT_SHOWN, SUPPORTED
from dlperf.claims.rules import finding_on
from dlperf.claims.verdicts import (
    NOT_COMPARABLE,
    NOT_MEASURED,
    beside,
    counted,
    short_table,
    verdict_table,
    verdicts,
)
from dlperf.entry_points import PROBLEMS
from dlperf.trial import StoredTrial
from tests.support.claims import claim, of_seeds, verdict
from tests.support.trials import stored


def test_verdicts() -> None:
    given = {"where": {"m": 2}, "measure": "test_error", "rule": {"equals": "published", "absolute": 0.1}}
    one = claim(**given, needs={"dataset": "cifar10", "epochs": 100})
    assert verdict(one, []).verdict == NOT_MEASURED
    assert verdict(one, [stored("cutout", 0)]).verdict == NOT_MEASURED  # m=0
    right = of_seeds([2.02, 2.05, 2.03])
    assert verdict(one, right).verdict == SUPPORTED
    assert verdict(one, right[:1]).verdict == NOT_SHOWN
    assert verdict(one, of_seeds([2.2, 2.21, 2.22])).verdict == CONTRADICTED
    demo = stored("cutout", 1, metrics={"test_error": 2.0}, dataset="digits", epochs=5)
    answer = verdict(one, [demo])
    assert (answer.verdict, answer.reason) == (NOT_COMPARABLE, "demo data (digits, not cifar10); epochs=5, not 100")
    assert answer.finding.value == 2.0
    assert verdict(one, [demo, *right]).verdict == SUPPORTED  # what compares is judged by itself
    timed = claim(**given, needs={"hardware": "the notebook's GPU"})
    assert "other hardware (made CPU" in verdict(timed, right).reason
    other = claim(**given, needs={"data_digest": "another"})
    assert verdict(other, right).reason == "data_digest=0123456789abcdef, not another"
    assert verdict(claim(**given, kinds=2), right).reason == "1 of 2 different trials are there"
    curve = claim(**given | {"measure": "validation_error@1"})
    assert verdict(curve, right, curves=False).verdict == NOT_MEASURED


def test_a_claim_on_an_early_epoch_takes_longer_and_shorter_trials() -> None:
    """With cutout the notebook keeps the learning rate; the corrected schedule moves with the number of epochs."""
    one = claim(measure="validation_error@2", needs={"epochs": 100}, rule={"equals": "published", "absolute": 9})
    history = {"validation_error": [0.6, 2.0, 0.5], "epoch_seconds": [1.0] * 3}

    def trials(**given: Any) -> list[StoredTrial[Any]]:
        return [stored("cutout", 6 * seed + 1, history=history, **given) for seed in range(5)]

    assert verdict(one, trials(epochs=20)).verdict == SUPPORTED
    assert verdict(one, trials(epochs=1)).verdict == NOT_COMPARABLE
    dropped = trials(epochs=2, protocol="corrected")  # its second epoch has a tenth of the rate
    assert verdict(one, dropped).verdict == NOT_COMPARABLE


def test_operational_parameters_are_no_further_points() -> None:
    """Trials that differ in where their data lie, or how many ran side by side, are one kind."""
    one = claim(measure="test_error", rule={"falls_with": "m"})
    values = [0.3, 0.2, 0.25]
    alike = [stored("cutout", n + 6 * s, metrics={"test_error": values[n]}) for n in range(3) for s in range(4)]
    apart = [
        stored("cutout", n + 6 * s, metrics={"test_error": values[n]}, data_dir=f"/{s}")
        for n in range(3)
        for s in range(4)
    ]
    assert finding_on(one, alike) == finding_on(one, apart)


def test_times_beside_other_programs_decide_nothing_and_what_was_learned_does() -> None:
    tags = {"dlperf.disturbed": "other programs had 40% of the cores' time, and none was free"}
    numbers = [1 + 6 * seed for seed in range(5)]
    beside = [stored("cutout", n, tags, metrics={"test_error": 1.0 + n / 100}) for n in numbers]
    time = claim(where={"m": 2}, measure="fit_seconds_per_epoch", rule={"at_most": "published"})
    answer = verdict(time, beside)
    assert (answer.verdict, answer.reason) == (
        NOT_COMPARABLE,
        "not alone on its machine (other programs had 40% of the cores' time, and none was free)",
    )
    alone = [stored("cutout", n, random_seed=100 + n) for n in numbers]
    assert verdict(time, [*beside, *alone]).finding.n == len(alone)
    error = claim(where={"m": 2}, measure="test_error", rule={"at_most": "published"})
    assert verdict(error, beside).verdict == SUPPORTED


def test_emulated_trials_give_no_verdict() -> None:
    one = claim(id="scaling/one", problem="scaling", measure="step_seconds", rule={"at_most": "published"})
    trials = [stored("scaling", 1 + 10 * seed, metrics={"step_seconds": 1.0 + seed / 100}) for seed in range(5)]
    assert verdict(one, trials).verdict == SUPPORTED
    emulated = stored("scaling", 1, {"dlperf.emulated": "4 workers on 2 cores"}, metrics={"step_seconds": 1.0})
    answer = verdict(one, [emulated])
    assert (answer.verdict, answer.reason) == (NOT_COMPARABLE, "emulated (4 workers on 2 cores)")


def test_settings_that_contradict_each_other_are_told() -> None:
    """The setting with the most random seeds decides, not the one with the most trials."""
    one = claim(where={"m": 2}, measure="test_error", rule={"at_most": "published"})
    another = {"dlperf.software": "another"}
    here = [stored("cutout", n, metrics={"test_error": 3.0 + n / 100}) for n in (1, 7)]
    crowd = [stored("cutout", 6 * seed + place) for seed in range(2) for place in (0, 2, 3, 4, 5)]
    elsewhere = [stored("cutout", n, another, metrics={"test_error": 1.0 + n / 1000}) for n in (1, 7, 13)]
    answer = verdict(one, [*here, *crowd, *elsewhere])
    assert (answer.verdict, answer.finding.n, answer.finding.value) == (SUPPORTED, 3, pytest.approx(1.007))
    assert "; but setting 1 (software python 3.11), contradicted: 3.04 against 2 (+52.0%)" in answer.reason


def test_the_reference_stands_beside_and_why_it_says_otherwise_is_told() -> None:
    one = claim(where={"m": 2}, measure="test_error", rule={"at_most": "published"})
    here, there = verdict(one, of_seeds([1.0, 1.01, 1.02])), verdict(one, of_seeds([3.0, 3.01, 3.02]))
    there = replace(there, facts={**there.facts, "hardware": "another CPU, AVX2"})
    (both,) = beside([here], [there])
    assert both.reason == f"{here.reason}; but the reference (hardware another CPU, AVX2), contradicted: {there.reason}"
    assert beside([here], [here])[0].reason == here.reason
    assert beside([here], []) == [here]
    row = verdict_table([both]).iloc[0]
    assert (row["published"], row["here"], row["reference"]) == (2.0, pytest.approx(1.01), pytest.approx(3.01))
    assert row["reference_low"] < row["reference"] < row["reference_high"]
    assert (row["verdict"], row["reference_verdict"], row["reference_n"]) == (SUPPORTED, CONTRADICTED, 3)
    assert not [name for name in verdict_table([here]) if name.startswith("reference")]
    (unmeasured,) = beside([verdict(one, [])], [there])
    assert (unmeasured.reason, verdict_table([unmeasured]).iloc[0]["reference_verdict"]) == (
        "no such trial",
        CONTRADICTED,
    )


def test_machines_are_blocks_of_what_is_learned() -> None:
    """Neither has five random seeds; together they have, unless a pair would be of two machines. Times stay apart."""
    slower = {"dlperf.hardware": "another"}

    def trials(measure: str, paired: bool) -> list[StoredTrial[Any]]:
        return [
            stored("cutout", m + 6 * seed, tags, metrics={measure: 0.3 - 0.1 * m + shift + seed / 1000})
            for seed in range(6)
            for m in (0, 1)
            for tags, shift in [(slower, 0.05) if (seed + (0 if paired else m)) % 2 else ({}, 0.0)]
        ]

    rule = {"lower_for": {"m": 2}, "than": {"m": 0}}
    learned = claim(published=None, measure="test_error", rule=rule)
    answer = verdict(learned, trials("test_error", paired=True))
    assert (answer.verdict, answer.finding.n) == (SUPPORTED, 6)
    assert "the 2 machines differ" in answer.reason  # by how much; neither says the opposite
    assert verdict(learned, trials("test_error", paired=False)).verdict == NOT_MEASURED  # no pair on one machine
    timed = claim(published=None, measure="train_seconds", rule=rule)
    answer = verdict(timed, trials("train_seconds", paired=True))
    assert (answer.verdict, answer.finding.n) == (NOT_SHOWN, 3)


def test_machines_that_differ_do_not_pass_for_one() -> None:
    """Within each machine runs are alike; a further one may be on either, so the published value is not excluded."""
    one = claim(where={"m": 2}, measure="test_error", rule={"equals": "published", "absolute": 0.1})
    values = {0: 1.0, 1: 1.01, 2: 1.02, 3: 3.0, 4: 3.01, 5: 3.02}
    trials = [
        stored(
            "cutout", 1 + 6 * seed, {"dlperf.hardware": "another"} if seed > 2 else {}, metrics={"test_error": value}
        )
        for seed, value in values.items()
    ]
    assert verdict(one, trials).verdict == NOT_SHOWN


def test_every_claim_gets_one_of_the_five_verdicts() -> None:
    for problem in PROBLEMS:
        trials = [stored(problem, number) for number in range(150)]
        trials += [stored(problem, number, {"dlperf.hardware": "another"}) for number in range(3)]
        trials = [replace(trial, run_id=str(place)) for place, trial in enumerate(trials)]
        found = verdicts(ledger.claims(problem), sorted_out(entry_points.load_problem(problem), trials))
        assert [each.claim.id for each in found] == [each.id for each in ledger.claims(problem)]
        assert sum(counted(found).values()) == len(found)
        assert len(verdict_table(found)) == len(found)
        assert len(short_table(found)) == len(found) - counted(found)[NOT_MEASURED]
        assert all(each.reason and each.finding.n <= 150 for each in found)
        for each in found:
            if each.verdict == NOT_COMPARABLE:
                assert re.search(r"=|demo data|other hardware|emulated|not alone", each.reason), each.reason
