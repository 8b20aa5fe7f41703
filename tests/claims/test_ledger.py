"""What the ledger asks: nothing twice, under the conditions of its source, and what can be counted without a trial."""

from __future__ import annotations

from typing import Any

import pytest

from dlperf.accounting.mlp import networks
from dlperf.analysis import measures
from dlperf.claims import ledger
from dlperf.claims.ledger import Bound, Claim
from dlperf.claims.rules import SUPPORTED
from dlperf.claims.verdicts import NOT_COMPARABLE, verdicts
from dlperf.trial import StoredTrial
from tests.support.claims import claim, verdict
from tests.support.trials import stored

CLAIMS = ledger.claims()


def _networks_of(one: Claim) -> frozenset[tuple[int, ...]]:
    """The networks of problem 5 that a claim is about."""
    having = {
        units: {"units": ",".join(map(str, units)), "total_units": sum(units), "num_layers": len(units)}
        for units in networks()
    }
    return frozenset(
        units
        for units, facts in having.items()
        if all(measures.is_one_of(facts[name], wanted) for name, wanted in one.where.items())
    )


def _asked(one: Claim) -> tuple[Any, ...]:
    """What a claim asks, its tolerance and words left out: alike for two that the same trials decide alike."""
    rule = one.rule.model_dump(exclude={"relative", "absolute", "printed_to"})
    which = _networks_of(one) if one.problem == "approximators" else repr(sorted(one.where.items()))
    return one.problem, one.measure, one.published, one.closed_form, repr(rule), repr(sorted(one.needs.items())), which


def test_no_two_claims_ask_the_same() -> None:
    """A mean over the only network of its kind is that network's own figure, which the notebook prints twice."""
    asked: dict[tuple[Any, ...], list[str]] = {}
    for each in CLAIMS:
        asked.setdefault(_asked(each), []).append(each.id)
    assert [names for names in asked.values() if len(names) > 1] == []
    needs = {"batch_norm": "between"}
    alone = {"problem": "approximators", "measure": "best_validation_rmse", "rule": {"equals": "published"}}
    twice = [claim(**alone, needs=needs, where=w) for w in ({"units": "16,16"}, {"total_units": 32, "num_layers": 2})]
    assert _asked(twice[0]) == _asked(twice[1])


def test_means_over_networks_name_how_many_there_are() -> None:
    for each in ledger.claims("approximators"):
        if each.id.startswith("approximators/mean-"):
            assert each.kinds == len(_networks_of(each)), each.id


def test_what_follows_from_the_size_of_cifar10_is_compared_at_that_size() -> None:
    """An epoch is 50,000 images and the evaluation 10,000: with fewer images the evaluation weighs more."""
    for each in (*ledger.claims("cutout"), *ledger.claims("optimizers")):
        if isinstance(each.rule, Bound) and each.source != "assignment" and not each.arithmetic:
            assert {"dataset": "cifar10", "train_examples": 0}.items() <= each.needs.items(), each.id
    ratio = next(each for each in CLAIMS if each.id == "cutout/time-ratio-8-2")

    def timed(images: int, **given: Any) -> list[StoredTrial[Any]]:
        """Trials of five random seeds whose evaluation takes a third of the time that training takes per image."""
        return [
            stored("cutout", place + 6 * seed, metrics={"train_seconds": 3.0 * m * images / 1000 * (1 + seed / 1000),
                "evaluation_seconds": 10.0}, epochs=1, **given)
            for place, m in ((1, 2), (3, 8)) for seed in range(5)
        ]  # fmt: skip

    reduced = verdict(ratio, timed(5_000, train_examples=5_000))
    assert (reduced.verdict, reduced.reason) == (NOT_COMPARABLE, "train_examples=5000, not 0")
    assert reduced.finding.value == pytest.approx((8 * 15 + 10) / (2 * 15 + 10), rel=0.01)
    whole = verdict(ratio, timed(50_000))
    assert (whole.verdict, whole.finding.value) == (SUPPORTED, pytest.approx((8 * 150 + 10) / (2 * 150 + 10), rel=0.01))


def test_times_beside_the_notebooks_are_of_trials_that_ran_one_at_a_time() -> None:
    """As the notebook's did: side by side they share cores and memory, and have fewer threads each."""
    timed = [e for e in (*ledger.claims("cutout"), *ledger.claims("optimizers")) if "seconds" in e.measure]
    assert all({"processes": 1, "engine": "local"}.items() <= each.needs.items() for each in timed)
    slowest = next(each for each in timed if each.id == "optimizers/nadam-slowest")

    def trials(**given: Any) -> list[StoredTrial[Any]]:
        return [
            stored("optimizers", n + 10 * s, metrics={"train_seconds": seconds + s / 100}, dataset="cifar10", **given)
            for n, seconds in enumerate((7.0, 6.9, 8.4, 7.9, 8.2)) for s in range(5)
        ]  # fmt: skip

    assert verdict(slowest, trials()).verdict == SUPPORTED
    assert verdict(slowest, trials(processes=2)).reason == "processes=2, not 1"
    assert verdict(slowest, trials(engine="ray")).reason == "engine=ray, not local"


def test_sizes_of_networks_are_counted_without_a_trial() -> None:
    """Of ResNets: those of the notebook's own summary, and the table of He et al. within its last digit."""
    sizes = {"parameters-notebook": 665_994, "parameters-20": 269_722, "parameters-44": 658_586}
    judged = [v for v in verdicts(ledger.claims("cutout"), []) if v.claim.id.startswith("cutout/parameters-")]
    assert {(v.verdict, v.reason.partition(" ")[0] != "no") for v in judged} == {(SUPPORTED, True)}
    assert len(judged) == 13
    found = {v.claim.id.partition("/")[2]: v.finding.value for v in judged}
    assert {name: found[name] for name in sizes} == sizes
    for name, value in (("stack-3x3-field", 7), ("stack-3x3-weights", 27), ("single-7x7-weights", 49)):
        (answer,) = verdicts([each for each in CLAIMS if each.id == f"architectures/{name}"], [])
        assert (answer.verdict, answer.finding.value) == (SUPPORTED, value)


def test_deeper_networks_have_more_parameters_in_the_mean_over_all_of_a_depth() -> None:
    """673, 10,734.44 and 15,153; at equal units three layers have fewer than two for half of the totals."""
    claims = [each for each in CLAIMS if each.id.startswith("approximators/more-parameters-")]
    assert [(v.verdict, v.finding.value) for v in verdicts(claims, [])] == [
        (SUPPORTED, pytest.approx(10_734.44 / 673)),
        (SUPPORTED, pytest.approx(15_153 / 10_734.44)),
    ]
