"""The ledger of claims is in order, and verdicts follow from trials: each rule borne out and not."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlperf import entry_points
from dlperf.accounting.mlp import networks
from dlperf.analysis import measures
from dlperf.analysis.settings import settings as sorted_out
from dlperf.claims import ledger, rules
from dlperf.claims.closed_forms import CLOSED_FORMS, closed_form
from dlperf.claims.ledger import Bound, Claim, Extreme, Paired, Ratio, Trend
from dlperf.claims.verdicts import (
    AGREES,
    DIFFERS,
    NOT_COMPARABLE,
    NOT_MEASURED,
    counted,
    short_table,
    verdict_table,
    verdicts,
)
from dlperf.entry_points import PROBLEMS
from dlperf.trial import StoredTrial
from tests.support.trials import stored

CLAIMS = ledger.claims()
FACTS = {"num_layers", "total_units", "num_params", "update_rule", "hardware", "epochs_run"}


def claim(**given: Any) -> Claim:
    return Claim.model_validate(
        {"id": "cutout/one", "problem": "cutout", "says": "it", "source": "notebook", "place": "here", "published": 2.0}
        | given
    )


def verdict(one: Claim, trials: list[StoredTrial[Any]], **options: Any) -> Any:
    found = sorted_out(entry_points.load_problem(one.problem), trials)
    (answer,) = verdicts([one], found, **options)
    return answer


def test_the_ledger_is_large_and_each_claim_has_its_own_name() -> None:
    assert len({each.id for each in CLAIMS}) == len(CLAIMS) >= 60
    for problem in PROBLEMS:
        assert len(ledger.claims(problem)) >= 12
    assert all(each.id.startswith(f"{each.problem}/") for each in CLAIMS)
    assert sum(each.published is None for each in CLAIMS) >= 10  # sentences


@pytest.mark.parametrize("problem", PROBLEMS)
def test_claims_speak_of_what_trials_have(problem: str) -> None:
    fields = entry_points.load_problem(problem).parameters.model_fields.keys()
    for each in ledger.claims(problem):
        rule = each.rule
        sides = (getattr(rule, name, None) for name in ("ratio_of", "to", "lower_for", "higher_for", "than"))
        names = {name for facts in (each.where, each.needs, *filter(None, sides)) for name in facts}
        names |= {getattr(rule, name, "") for name in ("by", "falls_with", "rises_with", "for_every")} - {""}
        assert names <= fields | FACTS, each.id
        assert each.closed_form in {"", "network_parameters", *CLOSED_FORMS}, each.id


def _with(one: Claim, value: float | None) -> StoredTrial[Any]:
    return stored(one.problem, metrics={one.measure: value})


def test_counts_by_formula_equal_the_published_ones_where_a_claim_says_exactly_so() -> None:
    """Of the notebook's and the papers' exact counts the formulas give all but those that are known to be wrong."""
    differing = {
        each.id
        for each in CLAIMS
        if each.closed_form
        and isinstance(each.rule, Bound)
        and each.rule.equals == "published"
        and abs((closed_form(each) or 0) - (each.published or 0))
        > each.rule.absolute + each.rule.relative * (each.published or 0)
    }
    assert "architectures/vgg19-memory" in differing
    assert len(differing) <= 8, differing
    network = {"where": {"units": "16,16"}, "closed_form": "network_parameters", "rule": {"equals": "closed_form"}}
    assert closed_form(claim(problem="approximators", measure="num_params", **network)) == 401
    assert CLOSED_FORMS["mlp_parameters"]() == 4_084_010


def test_a_claim_that_cannot_be_tested_is_refused() -> None:
    with pytest.raises(ValueError, match="compares with a published number"):
        claim(published=None, measure="test_error", rule={"equals": "published"})
    with pytest.raises(ValueError, match="compares with a closed form"):
        claim(measure="test_error", rule={"equals": "closed_form"})
    with pytest.raises(ValueError, match="rule"):
        claim(measure="test_error", rule={"equals": "published", "at_least": "published"})


@settings(max_examples=100)
@given(
    st.floats(-100, 100, allow_subnormal=False), st.floats(-100, 100, allow_subnormal=False),
    st.sampled_from(["equals", "at_least", "at_most"]), st.floats(0, 1), st.floats(0, 10),
)  # fmt: skip
def test_bounds(value: float, published: float, kind: str, relative: float, absolute: float) -> None:
    slack = relative * abs(published) + absolute
    if abs(abs(value - published) - slack) < 1e-6:
        return
    one = claim(
        published=published, measure="test_error", rule={kind: "published", "relative": relative, "absolute": absolute}
    )
    finding = rules.tested(one, [stored("cutout", metrics={"test_error": value})], None)
    expected = {
        "equals": published - slack <= value <= published + slack,
        "at_least": value >= published - slack,
        "at_most": value <= published + slack,
    }
    assert finding.holds == expected[kind]
    assert finding.value == value


def test_a_mean_over_random_seeds_has_an_interval() -> None:
    one = claim(measure="test_error", rule={"equals": "published", "absolute": 0.1})
    trials = [stored("cutout", 6 * seed, metrics={"test_error": 2.0 + seed / 100}) for seed in range(3)]
    finding = rules.tested(one, trials, None)
    assert (finding.holds, finding.n, finding.value) == (True, 3, pytest.approx(2.01))
    assert finding.low < 2.01 < finding.high


def of_optimizers(values: dict[str, float]) -> list[StoredTrial[Any]]:
    numbers = {"adagrad": 0, "rmsprop": 1, "nadam": 2, "adadelta": 3, "adam": 4}
    return [stored("optimizers", numbers[name], metrics={"train_loss": value}) for name, value in values.items()]


def test_the_lowest_and_the_highest() -> None:
    lowest = claim(problem="optimizers", measure="train_loss", rule={"lowest": "adagrad", "by": "optimizer"})
    highest = claim(problem="optimizers", measure="train_loss", rule={"highest": "adagrad", "by": "optimizer"})
    assert isinstance(lowest.rule, Extreme)
    trials = of_optimizers({"adagrad": 1.0, "adam": 2.0, "nadam": 3.0})
    assert (rules.tested(lowest, trials, None).holds, rules.tested(highest, trials, None).holds) == (True, False)
    assert rules.tested(lowest, of_optimizers({"adagrad": 1.0}), None).holds is None
    assert rules.tested(lowest, of_optimizers({"adam": 1.0, "nadam": 2.0}), None).holds is None


def of_networks(rmse: Any, seeds: int = 1) -> list[StoredTrial[Any]]:
    return [
        stored("approximators", 143 * seed + place, metrics={"test_rmse": rmse(place, units)})
        for seed in range(seeds)
        for place, units in enumerate(networks())
    ]


def test_trends() -> None:
    falls = claim(problem="approximators", measure="test_rmse", rule={"falls_with": "total_units"})
    rises = claim(problem="approximators", measure="test_rmse", rule={"rises_with": "total_units"})
    assert isinstance(falls.rule, Trend)
    falling = of_networks(lambda place, units: 300 - sum(units) / 10)
    assert (rules.tested(falls, falling, None).holds, rules.tested(rises, falling, None).holds) == (True, False)
    noise = of_networks(lambda place, units: (place * 7919) % 143)
    assert not rules.tested(falls, noise, None).holds
    assert "not shown" in rules.tested(falls, noise, None).says
    m = claim(measure="test_error", rule={"falls_with": "m"})
    few = [stored("cutout", number, metrics={"test_error": 1 / (number + 1)}) for number in range(3)]
    assert rules.tested(m, few, None).holds  # three in order
    assert not rules.tested(m, [*few[:2], stored("cutout", 2, metrics={"test_error": 5.0})], None).holds
    assert rules.tested(m, few[:2], None).holds is None


def test_random_seeds_are_no_further_networks() -> None:
    """The same figures three times say nothing new, so the tests must not grow more certain."""
    for rule in (
        {"falls_with": "total_units"},
        {"lower_for": {"num_layers": 3}, "than": {"num_layers": 2}, "for_every": "total_units"},
    ):
        one = claim(problem="approximators", measure="test_rmse", rule=rule)
        once, thrice = (
            rules.tested(one, of_networks(lambda place, units: 290 - place + 3 * (place % 2), n), None) for n in (1, 3)
        )
        assert (once.holds, once.says, once.value) == (thrice.holds, thrice.says, thrice.value)


def test_pairs() -> None:
    rule = {"lower_for": {"num_layers": 3}, "than": {"num_layers": 2}, "for_every": "total_units"}
    deeper = claim(problem="approximators", measure="test_rmse", rule=rule)
    assert isinstance(deeper.rule, Paired)
    finding = rules.tested(deeper, of_networks(lambda place, units: 240 - 60 * len(units)), None)
    assert (finding.holds, finding.value) == (True, pytest.approx(0.5))
    assert not rules.tested(deeper, of_networks(lambda place, units: 60 * len(units)), None).holds
    assert not rules.tested(deeper, of_networks(lambda place, units: 100), None).holds
    dropout = claim(
        problem="optimizers",
        measure="train_loss",
        rule={"higher_for": {"dropout": True}, "than": {"dropout": False}, "for_every": "optimizer"},
    )
    pair = [stored("optimizers", 0, metrics={"train_loss": 1.0}), stored("optimizers", 5, metrics={"train_loss": 2.0})]
    assert rules.tested(dropout, pair, None).holds
    assert rules.tested(dropout, pair[:1], None).holds is None


def test_ratios() -> None:
    rule = {"ratio_of": {"m": 4}, "to": {"m": 2}, "equals": "published", "relative": 0.1}
    one = claim(measure="seconds_per_epoch", rule=rule)
    assert isinstance(one.rule, Ratio)
    pair = [
        stored("cutout", 1, metrics={"train_seconds": 100.0}),
        stored("cutout", 2, metrics={"train_seconds": 210.0}),
    ]
    assert (rules.tested(one, pair, None).holds, rules.tested(one, pair, None).value) == (True, pytest.approx(2.1))
    assert rules.tested(one, pair[:1], None).holds is None
    slower = [pair[0], stored("cutout", 2, metrics={"train_seconds": 300.0})]
    assert not rules.tested(one, slower, None).holds


def test_measures_of_curves() -> None:
    """Seconds and epochs until a curve was first as good as the worst of the best: by hand."""
    fast = stored("cutout", 0, history={"validation_error": [0.5, 0.2, 0.1], "epoch_seconds": [1.0, 2.0, 3.0]})
    slow = stored("cutout", 1, history={"validation_error": [0.6, 0.5, 0.3], "epoch_seconds": [1.0, 1.0, 1.0]})
    trials = [fast, slow]
    assert measures.measured(trials, "validation_error@2") == {fast.run_id: 0.2, slow.run_id: 0.5}
    assert measures.measured(trials, "validation_error@4") == {}
    assert measures.measured(trials, "epochs_to_common(validation_error)") == {fast.run_id: 2.0, slow.run_id: 3.0}
    assert measures.measured(trials, "seconds_to_common(validation_error)") == {fast.run_id: 3.0, slow.run_id: 3.0}
    assert all(map(measures.needs_curves, ("validation_error@2", "epochs_to_common(validation_error)")))
    assert not measures.needs_curves("train_seconds")


def test_verdicts() -> None:
    given = {"where": {"m": 2}, "measure": "test_error", "rule": {"equals": "published", "absolute": 0.1}}
    one = claim(**given, needs={"dataset": "cifar10", "epochs": 100})
    assert verdict(one, []).verdict == NOT_MEASURED
    assert verdict(one, [stored("cutout", 0)]).verdict == NOT_MEASURED  # m=0
    right = stored("cutout", 1, metrics={"test_error": 2.05})
    assert verdict(one, [right]).verdict == AGREES
    assert verdict(one, [stored("cutout", 1, metrics={"test_error": 2.2})]).verdict == DIFFERS
    demo = stored("cutout", 1, metrics={"test_error": 2.0}, dataset="digits", epochs=5)
    answer = verdict(one, [demo])
    assert (answer.verdict, answer.reason) == (NOT_COMPARABLE, "demo data (digits, not cifar10); epochs=5, not 100")
    assert answer.finding.value == 2.0
    assert verdict(one, [demo, right]).verdict == AGREES  # what compares is judged by itself
    timed = claim(**given, needs={"hardware": "the notebook's GPU"})
    assert "other hardware (made CPU" in verdict(timed, [right]).reason
    assert verdict(claim(**given, kinds=2), [right]).reason == "1 of 2 different trials are there"
    curve = claim(**given | {"measure": "validation_error@1"})
    assert verdict(curve, [right], curves=False).verdict == NOT_MEASURED


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
    assert rules.tested(one, alike, None) == rules.tested(one, apart, None)


def test_emulated_trials_give_no_verdict() -> None:
    one = claim(id="scaling/one", problem="scaling", measure="step_seconds", rule={"at_most": "published"})
    trial = stored("scaling", 1, metrics={"step_seconds": 1.0})
    assert verdict(one, [trial]).verdict == AGREES
    emulated = stored("scaling", 1, {"dlperf.emulated": "4 workers on 2 cores"}, metrics={"step_seconds": 1.0})
    answer = verdict(one, [emulated])
    assert (answer.verdict, answer.reason) == (NOT_COMPARABLE, "emulated (4 workers on 2 cores)")


def test_settings_that_contradict_each_other_are_told() -> None:
    one = claim(measure="test_error", rule={"at_most": "published"})
    here = [stored("cutout", n, metrics={"test_error": 1.0}) for n in (1, 7)]
    elsewhere = stored("cutout", 13, {"dlperf.hardware": "another"}, metrics={"test_error": 3.0})
    answer = verdict(one, [*here, elsewhere])
    assert (answer.verdict, answer.finding.n, answer.finding.value) == (AGREES, 2, 1.0)
    assert answer.reason == "1 against 2 (-50.0%); but setting 2: 3 against 2 (+50.0%)"


def test_every_claim_gets_one_of_the_four_verdicts() -> None:
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
                assert re.search(r"=|demo data|other hardware|emulated", each.reason), each.reason
