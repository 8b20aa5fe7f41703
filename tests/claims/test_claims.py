"""The ledger of claims is in order, and each of its rules is borne out by trials, and not."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlperf import entry_points
from dlperf.accounting.mlp import networks
from dlperf.analysis import measures
from dlperf.analysis.settings import settings as sorted_out
from dlperf.claims import ledger, recurrences
from dlperf.claims.closed_forms import CLOSED_FORMS, closed_form
from dlperf.claims.findings import CONTRADICTED, NOT_SHOWN, SUPPORTED, decided
from dlperf.claims.ledger import Bound, Claim, Extreme, Paired, Ratio, Trend
from dlperf.claims.rules import finding_on
from dlperf.claims.verdicts import (
    verdicts,
)
from dlperf.entry_points import PROBLEMS
from dlperf.trial import StoredTrial
from tests.support.claims import claim, of_seeds
from tests.support.trials import stored

CLAIMS = ledger.claims()
FACTS = {"num_layers", "total_units", "num_params", "update_rule", "hardware", "epochs_run"}


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
        names |= {
            getattr(rule, name, "") for name in ("by", "falls_with", "rises_with", "levels_off_with", "for_every")
        } - {""}
        assert names <= fields | FACTS, each.id
        assert each.closed_form in {"", "network_parameters", *CLOSED_FORMS} or closed_form(each), each.id


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
        > each.rule.absolute + each.rule.relative * (each.published or 0) + each.rule.printed_to
    }
    assert {name.partition("/")[2] for name in differing} == {
        *("adadelta-has-momentum", "adam-variance", "nadam-is-rmsprop-nesterov", "nadam-old-mean"),
        *("rmsprop-denominator", "alexnet-input", "alexnet-norm1-output", "alexnet-norm2-output"),
        *("alexnet-bias-included", "alexnet-total-is-papers", "alexnet-fc6", "alexnet-fc7", "alexnet-fc8"),
    }
    network = {"where": {"units": "16,16"}, "closed_form": "network_parameters", "rule": {"equals": "closed_form"}}
    assert closed_form(claim(problem="approximators", measure="num_params", **network)) == 401
    assert CLOSED_FORMS["resnet44_trainable"]() == 662_826
    assert {name for each in CLAIMS if (name := each.closed_form) in CLOSED_FORMS} == CLOSED_FORMS.keys()


def test_a_claim_that_cannot_be_tested_is_refused() -> None:
    with pytest.raises(ValueError, match="compares with a published number"):
        claim(published=None, measure="test_error", rule={"equals": "published"})
    with pytest.raises(ValueError, match="compares with a closed form"):
        claim(measure="test_error", rule={"equals": "closed_form"})
    with pytest.raises(ValueError, match="printed_to is the whole tolerance"):
        claim(measure="test_error", rule={"equals": "published", "printed_to": 1, "absolute": 1})
    with pytest.raises(ValueError, match="no trial's"):
        claim(measure="computed", closed_form="networks", where={"m": 2}, rule={"equals": "published"})
    with pytest.raises(ValueError, match="rule"):
        claim(measure="test_error", rule={"equals": "published", "at_least": "published"})


@pytest.mark.parametrize(
    ("printed", "unit", "right", "wrong"),
    [
        (60e6, 1e6, [60_965_224, 59_000_001], [61_000_000]),
        (1.11e9, 1e7, [1_115_684_864], [1_125_000_000]),
        (3, 1, [2.807], [2]),
    ],
)
def test_a_printed_number_may_have_been_rounded_or_cut_off(
    printed: float, unit: float, right: list[float], wrong: list[float]
) -> None:
    one = claim(published=printed, measure="num_params", rule={"equals": "published", "printed_to": unit})
    for outcome_of, values in ((SUPPORTED, right), (CONTRADICTED, wrong)):
        for value in values:
            assert outcome(one, [_with(one, value)]) == outcome_of


def test_what_is_computed_needs_no_trial() -> None:
    judged = {v.claim.id: v for v in verdicts(ledger.claims("optimizers"), []) if v.claim.measure == "computed"}
    assert {name: v.verdict for name, v in judged.items()} == {
        "optimizers/adam-has-momentum": SUPPORTED,
        "optimizers/adadelta-has-momentum": CONTRADICTED,
        "optimizers/rmsprop-has-no-momentum": SUPPORTED,
        "optimizers/adam-variance": CONTRADICTED,
        "optimizers/nadam-is-rmsprop-nesterov": CONTRADICTED,
        "optimizers/rmsprop-denominator": CONTRADICTED,
        "optimizers/nadam-old-mean": CONTRADICTED,
    }
    assert all(v.claim.arithmetic for v in judged.values())
    row = next(each for each in CLAIMS if each.id == "architectures/vgg19-conv1-2-memory")
    assert closed_form(row) == 224 * 224 * 64
    (found,) = verdicts([row], [])
    assert (found.verdict, found.finding.value) == (SUPPORTED, 224 * 224 * 64)


def test_recurrences_come_to_what_algebra_says() -> None:
    """Each in closed form, of decaying averages; and of unpadded stacks, whose output lacks what is seen but one."""
    assert recurrences.squared_mean_over_mean_square() == pytest.approx(0.1 / 1.9, rel=1e-6)
    assert recurrences.old_mean_over_its_corrected_self() == pytest.approx(0.9 * 0.1 / 0.19)
    general = [each for each in CLAIMS if each.id.startswith(("architectures/stacks-", "architectures/equal-outputs"))]
    assert [answer.verdict for answer in verdicts(general, [])] == [SUPPORTED, SUPPORTED, SUPPORTED]


def outcome(one: Claim, trials: list[StoredTrial[Any]], **options: Any) -> str | None:
    """The outcome of a claim that is tested alone."""
    finding = finding_on(one, trials, **options)
    return decided(finding, finding.p).outcome if finding.p is not None else finding.outcome


@settings(max_examples=100)
@given(
    st.floats(-100, 100, allow_subnormal=False), st.floats(-100, 100, allow_subnormal=False),
    st.sampled_from(["equals", "at_least", "at_most"]), st.floats(0, 1), st.floats(0, 10),
)  # fmt: skip
def test_a_count_is_as_published_or_not(
    value: float, published: float, kind: str, relative: float, absolute: float
) -> None:
    slack = relative * abs(published) + absolute
    if abs(abs(value - published) - slack) < 1e-6:
        return
    rule = {kind: "published", "relative": relative, "absolute": absolute}
    one = claim(published=published, measure="num_params", rule=rule)
    finding = finding_on(one, [stored("cutout", metrics={"num_params": value})])
    expected = {
        "equals": published - slack <= value <= published + slack,
        "at_least": value >= published - slack,
        "at_most": value <= published + slack,
    }
    assert finding.outcome == (SUPPORTED if expected[kind] else CONTRADICTED)
    assert (finding.value, finding.p) == (value, None)


def test_a_published_run_is_judged_by_how_far_our_own_lie_apart() -> None:
    """Five values with mean 2 and standard deviation 0.1: a further one lies within 2.776 x 0.1 x sqrt(1.2) = 0.304."""
    step = 0.1 * (10 / 4) ** -0.5
    seeds = of_seeds([2 - 2 * step, 2 - step, 2.0, 2 + step, 2 + 2 * step])
    near = claim(published=2.2, measure="test_error", rule={"equals": "published", "absolute": 0.31})
    assert outcome(near, seeds) == SUPPORTED
    assert "a further run lies within 0.3041 of it" in finding_on(near, seeds).says
    narrow = claim(published=2.2, measure="test_error", rule={"equals": "published", "absolute": 0.30})
    assert outcome(narrow, seeds) == NOT_SHOWN
    far = claim(published=2.31, measure="test_error", rule={"equals": "published", "absolute": 5})
    assert outcome(far, seeds) == CONTRADICTED
    assert outcome(near, seeds[:1]) == NOT_SHOWN
    assert (outcome(near, of_seeds([2.2] * 4)), outcome(near, of_seeds([2.2] * 5))) == (NOT_SHOWN, SUPPORTED)


def test_bounds_of_measured_values() -> None:
    seeds = of_seeds([1.9, 2.0, 2.1, 2.0, 2.0])
    for published, kind, wanted in (
        (1.0, "at_least", SUPPORTED), (3.0, "at_least", CONTRADICTED), (2.0, "at_least", NOT_SHOWN),
        (3.0, "at_most", SUPPORTED), (1.0, "at_most", CONTRADICTED), (2.0, "at_most", NOT_SHOWN),
    ):  # fmt: skip
        assert outcome(claim(published=published, measure="test_error", rule={kind: "published"}), seeds) == wanted


def of_optimizers(values: dict[str, float], seeds: int = 5, noise: float = 0.01) -> list[StoredTrial[Any]]:
    numbers = {"adagrad": 0, "rmsprop": 1, "nadam": 2, "adadelta": 3, "adam": 4}
    draw = np.random.default_rng(0)
    return [
        stored("optimizers", numbers[name] + 10 * seed, metrics={"train_loss": value + noise * draw.normal()})
        for seed in range(seeds)
        for name, value in values.items()
    ]


def test_the_lowest_and_the_highest() -> None:
    lowest = claim(problem="optimizers", measure="train_loss", rule={"lowest": "adagrad", "by": "optimizer"})
    highest = claim(problem="optimizers", measure="train_loss", rule={"highest": "adagrad", "by": "optimizer"})
    assert isinstance(lowest.rule, Extreme)
    trials = of_optimizers({"adagrad": 1.0, "adam": 2.0, "nadam": 3.0})
    assert (outcome(lowest, trials), outcome(highest, trials)) == (SUPPORTED, CONTRADICTED)
    assert outcome(lowest, of_optimizers({"adagrad": 1.0, "adam": 1.001, "nadam": 3.0})) == NOT_SHOWN
    assert outcome(lowest, of_optimizers({"adagrad": 1.0, "adam": 2.0}, seeds=4)) == NOT_SHOWN
    assert (
        "4 random seeds, and fewer than 5 show nothing"
        in finding_on(lowest, of_optimizers({"adagrad": 1.0, "adam": 2.0}, seeds=4)).says
    )
    assert outcome(lowest, of_optimizers({"adagrad": 1.0})) is None
    assert outcome(lowest, of_optimizers({"adam": 1.0, "nadam": 2.0})) is None


def of_networks(rmse: Any, seeds: int = 1) -> list[StoredTrial[Any]]:
    return [
        stored("approximators", 143 * seed + place, metrics={"test_rmse": rmse(place, units)})
        for seed in range(seeds)
        for place, units in enumerate(networks())
    ]


def test_trends_over_networks() -> None:
    falls = claim(problem="approximators", measure="test_rmse", rule={"falls_with": "total_units"})
    rises = claim(problem="approximators", measure="test_rmse", rule={"rises_with": "total_units"})
    assert isinstance(falls.rule, Trend)
    falling = of_networks(lambda place, units: 300 - sum(units) / 10)
    assert (outcome(falls, falling), outcome(rises, falling)) == (SUPPORTED, CONTRADICTED)
    assert finding_on(falls, falling).value == pytest.approx(-0.1)
    noise = of_networks(lambda place, units: (place * 7919) % 143)
    assert outcome(falls, noise) == NOT_SHOWN
    assert re.search(r"; a slope of -0\.\d+ could have been seen$", decided(finding_on(falls, noise), 0.5).says)
    assert " could have been seen" not in decided(finding_on(falls, falling), 0.01).says


def test_levelling_off_is_a_curve_and_no_slope() -> None:
    levels = claim(problem="approximators", measure="test_rmse", rule={"levels_off_with": "total_units"})
    convex = of_networks(lambda place, units: 100 + 30 * (1 - sum(units) / 512) ** 2 + (place * 7919) % 7)
    straight = of_networks(lambda place, units: 300 - sum(units) / 10 + (place * 7919) % 7)
    concave = of_networks(lambda place, units: 100 - 30 * (1 - sum(units) / 512) ** 2 + (place * 7919) % 7)
    assert [outcome(levels, trials) for trials in (convex, straight, concave)] == [SUPPORTED, NOT_SHOWN, CONTRADICTED]
    assert "curvature" in finding_on(levels, convex).says


def test_trends_over_random_seeds() -> None:
    m = claim(measure="test_error", rule={"falls_with": "m"})
    draw = np.random.default_rng(0)

    def trials(slope: float, seeds: int) -> list[StoredTrial[Any]]:
        values = {(n, s): 1 + slope * n + 0.01 * draw.normal() for n in range(4) for s in range(seeds)}
        return [stored("cutout", n + 6 * s, metrics={"test_error": value}) for (n, s), value in values.items()]

    assert outcome(m, trials(-0.1, 5)) == SUPPORTED
    assert outcome(m, trials(0.1, 5)) == CONTRADICTED
    assert outcome(m, trials(0.0, 5)) == NOT_SHOWN
    assert outcome(m, trials(-0.1, 4)) == NOT_SHOWN
    assert outcome(m, [stored("cutout", n, metrics={"test_error": 1.0}) for n in range(2)]) is None


def test_random_seeds_are_no_further_networks() -> None:
    """The same figures three times say nothing new, so the tests must not grow more certain."""
    for rule in (
        {"falls_with": "total_units"},
        {"lower_for": {"num_layers": 3}, "than": {"num_layers": 2}, "for_every": "total_units"},
    ):
        one = claim(problem="approximators", measure="test_rmse", rule=rule)
        once, thrice = (
            finding_on(one, of_networks(lambda place, units: 290 - place + 3 * (place % 2), n)) for n in (1, 3)
        )
        assert once == thrice


def test_pairs() -> None:
    rule = {"lower_for": {"num_layers": 3}, "than": {"num_layers": 2}, "for_every": "total_units"}
    deeper = claim(problem="approximators", measure="test_rmse", rule=rule)
    assert isinstance(deeper.rule, Paired)
    halved = of_networks(lambda place, units: 240 - 60 * len(units))
    assert (outcome(deeper, halved), finding_on(deeper, halved).value) == (SUPPORTED, pytest.approx(0.5))
    assert outcome(deeper, of_networks(lambda place, units: 60 * len(units))) == CONTRADICTED
    assert outcome(deeper, of_networks(lambda place, units: 100)) == NOT_SHOWN
    dropout = claim(
        problem="optimizers",
        measure="train_loss",
        rule={"higher_for": {"dropout": True}, "than": {"dropout": False}, "for_every": "optimizer"},
    )

    def pairs(seeds: int) -> list[StoredTrial[Any]]:
        return [
            stored("optimizers", 5 * dropped + 10 * seed, metrics={"train_loss": 1.0 + dropped + 0.01 * seed})
            for seed in range(seeds)
            for dropped in (0, 1)
        ]

    assert (outcome(dropout, pairs(5)), outcome(dropout, pairs(4))) == (SUPPORTED, NOT_SHOWN)
    assert outcome(dropout, pairs(1)[:1]) is None


def test_ratios() -> None:
    rule = {"ratio_of": {"m": 4}, "to": {"m": 2}, "equals": "published", "relative": 0.1}
    one = claim(measure="seconds_per_epoch", rule=rule)
    assert isinstance(one.rule, Ratio)

    def timed(factor: float, seeds: int = 5) -> list[StoredTrial[Any]]:
        seconds = [(place, seed, 100 * (1 + 0.01 * seed)) for place in (1, 2) for seed in range(seeds)]
        return [
            stored(
                "cutout", place + 6 * seed, metrics={"train_seconds": (factor + seed / 100 if place == 2 else 1) * s}
            )
            for place, seed, s in seconds
        ]

    assert outcome(one, timed(2.05)) == SUPPORTED
    assert finding_on(one, timed(2.05)).value == pytest.approx(2.07)
    assert outcome(one, timed(3.0)) == CONTRADICTED
    assert outcome(one, timed(2.18)) == NOT_SHOWN
    assert outcome(one, timed(2.05, seeds=4)) == NOT_SHOWN
    assert outcome(one, timed(2.05)[:5]) is None


def test_tests_that_are_made_together_are_adjusted_for_their_number() -> None:
    """Alone each is shown (p below 0.05); of three together, by Holm, only what has a p below 0.05 / 3."""
    names = ("adagrad", "nadam", "adadelta")
    rules = [{"lower_for": {"optimizer": name}, "than": {"optimizer": "adam"}} for name in names]
    claims = [
        claim(id=f"optimizers/{name}", problem="optimizers", measure="train_loss", rule=rule)
        for name, rule in zip(names, rules, strict=True)
    ]
    trials = of_optimizers({"adagrad": 0.98, "nadam": 0.98, "adadelta": 0.5, "adam": 1.0}, noise=0.012)
    alone = [finding_on(one, trials).p for one in claims]
    found = verdicts(claims, sorted_out(entry_points.load_problem("optimizers"), trials))
    ordered = sorted(p or 0 for p in alone)
    for place, one in enumerate(found):
        rank = ordered.index(alone[place] or 0)
        shown = all(p * (3 - r) < 0.05 for r, p in enumerate(ordered[: rank + 1]))
        assert one.verdict == (SUPPORTED if shown else NOT_SHOWN)
    assert found[2].verdict == SUPPORTED


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
