"""What trials may say beside each other: borrowed spreads, unbalanced seeds, machines that differ, many claims."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from dlperf import entry_points
from dlperf.accounting.mlp import networks
from dlperf.analysis.inference import LEVEL, mean_effect
from dlperf.analysis.settings import settings as sorted_out
from dlperf.claims import ledger
from dlperf.claims.findings import CONTRADICTED, NOT_SHOWN, SUPPORTED, Finding, Visible, decided
from dlperf.claims.ledger import Claim
from dlperf.claims.rules import finding_on
from dlperf.claims.verdicts import NOT_MEASURED, Verdict, together_decided, verdicts
from dlperf.trial import StoredTrial
from tests.support.trials import stored

NUMBERS = {"adagrad": 0, "rmsprop": 1, "nadam": 2, "adadelta": 3, "adam": 4}


def claim(**given: Any) -> Claim:
    return Claim.model_validate(
        {"id": "cutout/one", "problem": "cutout", "says": "it", "source": "notebook", "place": "here"} | given
    )


def judged(claims: list[Claim], trials: list[StoredTrial[Any]]) -> list[Verdict]:
    return verdicts(claims, sorted_out(entry_points.load_problem(claims[0].problem), trials))


def losses(order: tuple[str, ...] = tuple(NUMBERS)) -> list[StoredTrial[Any]]:
    """AdaGrad hardly varies and RMSProp does, five random seeds each; AdaDelta has one; started in this order."""
    draw = np.random.default_rng(0)
    means = {"adagrad": (1.6, 0.0006), "rmsprop": (1.967, 0.01), "adam": (1.881, 0.01)}
    values = {(name, seed): mean + sd * draw.normal() for name, (mean, sd) in means.items() for seed in range(5)}
    values["adadelta", 0] = 4.7
    made = [
        stored("optimizers", NUMBERS[name] + 10 * seed, metrics={"train_loss": value})
        for (name, seed), value in values.items()
    ]
    return [replace(t, started=order.index(t.parameters.optimizer) * 10 + t.parameters.random_seed) for t in made]


def final_loss(published: float, slack: float = 0.2) -> Claim:
    return claim(
        **{"id": "optimizers/one", "problem": "optimizers", "where": {"optimizer": "adadelta"}},
        needs={"epochs": 200, "train_examples": 0},
        **{"measure": "train_loss", "published": published, "rule": {"equals": "published", "absolute": slack}},
    )


def test_a_borrowed_spread_is_the_widest_of_the_nearest_whatever_was_started_first() -> None:
    said = set()
    for order in permutations(["adagrad", "rmsprop", "adam", "adadelta"]):
        (answer,) = judged([final_loss(4.689)], losses(order))
        said.add((answer.verdict, answer.reason))
    ((verdict, reason),) = said
    assert verdict == SUPPORTED
    assert "(spread of optimizer=rmsprop, the widest of 3 as near)" in reason


def test_a_borrowed_spread_is_that_of_one_run_beside_one_and_grows_with_the_loss() -> None:
    """By hand: 2.776 standard deviations of RMSProp, times the root of two, times 4.7 over RMSProp's mean."""
    values = [t.metrics["train_loss"] for t in losses() if t.parameters.optimizer == "rmsprop"]
    half = 2.7764 * np.std(values, ddof=1) * 2**0.5 * 4.7 / np.mean(values)
    assert judged([final_loss(4.7 + 0.99 * half)], losses())[0].verdict == SUPPORTED
    assert judged([final_loss(4.7 + 1.01 * half)], losses())[0].verdict == NOT_SHOWN
    assert judged([final_loss(4.7, 0.99 * half)], losses())[0].verdict == NOT_SHOWN  # wider than the margin


def test_a_borrowed_spread_contradicts_nothing() -> None:
    (answer,) = judged([final_loss(9.0)], losses())
    assert answer.verdict == NOT_SHOWN
    assert "a borrowed spread contradicts nothing" in answer.reason


def test_one_seed_without_any_neighbour_tells_nothing() -> None:
    alone = [trial for trial in losses() if trial.parameters.optimizer == "adadelta"]
    assert "one random seed does not tell" in judged([final_loss(4.7)], alone)[0].reason


def adadelta(epochs: int = 10, apart: float = 0.01, **tags: str) -> list[StoredTrial[Any]]:
    """AdaDelta's loss after so many epochs, of five random seeds."""
    return [
        stored("optimizers", 3 + 10 * seed, tags=tags, epochs=epochs, metrics={"train_loss": 24.0 + apart * seed})
        for seed in range(5)
    ]


def alone() -> list[StoredTrial[Any]]:
    return [trial for trial in losses() if trial.parameters.optimizer == "adadelta"]


def test_a_spread_is_borrowed_from_a_neighbouring_setting_too() -> None:
    """By hand: 2.776 standard deviations of 0.0158, times the root of two, the loss being lower than the others'."""
    half = 2.7764 * 0.01 * 2.5**0.5 * 2**0.5
    (near,) = judged([final_loss(4.7 + 0.99 * half)], alone() + adadelta())
    (far,) = judged([final_loss(4.7 + 1.01 * half)], alone() + adadelta())
    assert (near.verdict, far.verdict) == (SUPPORTED, NOT_SHOWN)
    assert "(spread of epochs=10)" in near.reason


def test_a_spread_of_the_setting_goes_before_those_of_others_and_the_nearest_epochs_before_further_ones() -> None:
    wide = adadelta(100, apart=1)
    (answer,) = judged([final_loss(4.689)], losses() + wide)
    assert "(spread of optimizer=rmsprop, the widest of 3 as near)" in answer.reason
    (answer,) = judged([final_loss(4.7)], alone() + adadelta(1) + adadelta(150) + wide + adadelta(20))
    assert "(spread of epochs=150)" in answer.reason


def test_lenders_that_are_called_alike_all_count() -> None:
    """A mean over two kinds borrows the wider of their spreads after other epochs, whichever is looked at last."""
    one = claim(
        **{"id": "optimizers/one", "problem": "optimizers", "where": {"optimizer": ["adagrad", "rmsprop"]}, "kinds": 2},
        **{"needs": {"epochs": 200, "dropout": False}, "measure": "train_loss", "published": 2.0},
        rule={"equals": "published", "absolute": 0.5},
    )
    ours = [stored("optimizers", number, metrics={"train_loss": 2.0}) for number in (0, 1)]
    said = set()
    for wide in (0, 1):
        others = [
            stored("optimizers", n + 10 * s, epochs=10, metrics={"train_loss": 3 + s * (0.1 if n == wide else 0.001)})
            for n in (0, 1)
            for s in range(5)
        ]
        (answer,) = judged([one], ours + others)
        said.add(answer.reason)
    assert len(said) == 1
    assert "the widest of 2 as near" in said.pop()


def test_no_other_difference_than_that_of_epochs_lends_from_another_setting() -> None:
    given = {"train_examples": 1000}
    less_data = [stored("optimizers", 3 + 10 * n, **given, metrics={"train_loss": 5 + n}) for n in range(5)]
    (answer,) = judged([final_loss(4.7)], alone() + less_data)
    assert "one random seed does not tell" in answer.reason


@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ({"dlperf.hardware": "another"}, "(spread of epochs=10, hardware=another)"),  # learning hardly depends on it
        ({"dlperf.data_digest": "other"}, ""),
        ({"dlperf.software": "other"}, ""),
        ({"dlperf.version": "other"}, ""),
        ({"dlperf.archive": "other"}, ""),
        ({"dlperf.model_digest": "other"}, ""),
        ({"dlperf.emulated": "two logical devices on one core"}, ""),
    ],
)
def test_only_what_was_learned_from_the_same_data_lends_its_spread(tags: dict[str, str], named: str) -> None:
    (answer,) = judged([final_loss(4.7)], alone() + adadelta(**tags))
    assert answer.verdict == (SUPPORTED if named else NOT_SHOWN)
    assert (named or "one random seed does not tell") in answer.reason


@pytest.mark.parametrize(
    ("tags", "given"),
    [
        ({}, {}),
        ({"dlperf.disturbed": "a load of 3"}, {}),
        ({"dlperf.hardware": "another machine"}, {}),
        ({}, {"processes": 2}),
    ],
)
def test_the_spread_of_a_time_is_that_of_quiet_runs_on_the_same_machine(
    tags: dict[str, str], given: dict[str, int]
) -> None:
    time = claim(
        **{"id": "optimizers/one", "problem": "optimizers", "where": {"optimizer": "adadelta"}, "published": 10.0},
        **{"measure": "seconds_per_epoch", "needs": {"epochs": 200, "processes": 1}},
        rule={"equals": "published", "relative": 0.2},
    )
    one = stored("optimizers", 3, metrics={"train_seconds": 2000.0, "epochs_run": 200.0})
    times = [{"train_seconds": 100.0 + n, "epochs_run": 10.0} for n in range(5)]
    others = [
        stored("optimizers", 3 + 10 * n, tags=tags, epochs=10, metrics=took, **given) for n, took in enumerate(times)
    ]
    (answer,) = judged([time], [one, *others])
    lends = not tags and not given
    assert answer.verdict == (SUPPORTED if lends else NOT_SHOWN)
    assert ("(spread of epochs=10)" in answer.reason) == lends


def test_trials_of_two_settings_borrow_from_either() -> None:
    """Which setting comes first must not decide: the kind that differs least is in the one of fewer trials."""
    one = claim(where={"m": 0}, measure="test_error", published=0.5, rule={"equals": "published", "absolute": 0.1})
    baseline = stored("cutout", 0, metrics={"test_error": 0.5})
    of_default = [stored("cutout", number) for number in (1, 2, 3, 4, 5)]
    longer = {"cutout_length": 16}
    with_length = [stored("cutout", 1 + 6 * s, **longer, metrics={"test_error": 0.5 + s / 1000}) for s in range(3)]
    (answer,) = judged([one], [baseline, *of_default, *with_length])
    assert answer.verdict == SUPPORTED
    assert "cutout_length=16" not in answer.reason
    assert "(spread of " in answer.reason


def test_trials_that_stand_in_two_settings_answer_once() -> None:
    """The baseline without cutout, beside two lengths: its only setting is not said to differ in them."""
    one = claim(where={"m": 0}, measure="test_error", published=0.5, rule={"equals": "published", "absolute": 0.1})
    baseline = [stored("cutout", 6 * seed, metrics={"test_error": 0.5 + 0.001 * seed}) for seed in range(5)]
    longer = [stored("cutout", number, cutout_length=16) for number in (1, 2)]
    (answer,) = judged([one], [*baseline, stored("cutout", 1), *longer])
    assert answer.verdict == SUPPORTED
    assert "setting" not in answer.reason
    assert "cutout_length" not in answer.facts
    assert "depth" in answer.facts


def of_networks(seeds_of: dict[str, int], value: Any) -> list[StoredTrial[Any]]:
    made = []
    for place, units in enumerate(networks()):
        name = ",".join(map(str, units))
        for seed in range(seeds_of.get(name, 0)):
            metrics = {"best_validation_rmse": value(name, seed)}
            made.append(stored("approximators", 143 * seed + place, metrics=metrics))
    return made


@pytest.mark.parametrize("missing", ["32,64", "64,32"])
def test_a_seed_that_lacks_a_network_is_no_mean_over_networks(missing: str) -> None:
    """Two networks, of RMSE 100 and 200, whose mean was published: the fifth seed has one of them."""
    one = claim(
        **{"id": "approximators/one", "problem": "approximators", "where": {"total_units": 96, "num_layers": 2}},
        **{"measure": "best_validation_rmse", "published": 150.0, "kinds": 2},
        rule={"equals": "published", "relative": 0.1},
    )
    centre = {"32,64": 100, "64,32": 200}
    whole = of_networks({"32,64": 5, "64,32": 5}, lambda name, seed: centre[name] + seed)
    cut = of_networks({"32,64": 5, "64,32": 5, missing: 4}, lambda name, seed: centre[name] + seed)
    (all_there,), (less,) = judged([one], whole), judged([one], cut)
    assert (all_there.verdict, all_there.finding.n, less.verdict, less.finding.n) == (SUPPORTED, 5, SUPPORTED, 4)
    assert less.finding.value == pytest.approx(151.5)
    assert "(4 of 5 random seeds compare, which have all 2 kinds of trial)" in less.reason


def test_networks_are_averaged_over_the_same_seeds() -> None:
    """The fifth seed, which is easier by half, was run with small networks only: that is no trend."""
    trend = claim(
        **{"id": "approximators/one", "problem": "approximators", "where": {"num_layers": 2}},
        **{"measure": "best_validation_rmse", "rule": {"rises_with": "total_units"}},
    )
    names = [",".join(map(str, units)) for units in networks() if len(units) == 2]
    some = {name: 5 if sum(map(int, name.split(","))) < 200 else 4 for name in names}
    draw = np.random.default_rng(0)
    noise = {name: draw.normal() for name in names}
    trials = of_networks(some, lambda name, seed: 100 + noise[name] - 50 * (seed == 4))
    assert finding_on(trend, trials).p == finding_on(trend, [t for t in trials if t.parameters.random_seed < 4]).p
    assert "4 of 5 random seeds compare" in finding_on(trend, trials).says


def test_pairs_and_slopes_of_seeds_are_over_the_same_kinds() -> None:
    """Seed 5 has other copies than the rest; alone it would turn a slope, and a mean of pairs."""
    m = dict.fromkeys(range(5), (0, 1, 2, 3)) | {5: (1, 2, 4)}
    made = [
        stored("cutout", place + 6 * seed, metrics={"test_error": 0.5 - 0.01 * place + 0.001 * seed + (seed == 5)})
        for seed, places in m.items()
        for place in places
    ]
    found = finding_on(claim(measure="test_error", rule={"falls_with": "m"}), made)
    assert (found.n, "5 of 6 random seeds compare, which have 4 of 5 kinds of trial" in found.says) == (5, True)


def on_machine(sign: int, name: str, seeds: range) -> list[StoredTrial[Any]]:
    draw = np.random.default_rng(seeds.start)
    return [
        stored(
            **{"problem": "optimizers", "number": number + 10 * seed, "tags": {"dlperf.hardware": name}},
            metrics={"train_loss": 2 + 0.01 * draw.normal() - 0.3 * sign * (number == 0)},
        )
        for seed in seeds
        for number in range(5)
    ]


LOWEST = claim(
    **{"id": "optimizers/one", "problem": "optimizers", "measure": "train_loss"},
    rule={"lowest": "adagrad", "by": "optimizer"},
)
LOWER = LOWEST.model_copy(
    update={"rule": ledger.Paired(lower_for={"optimizer": "adagrad"}, than={"optimizer": "adam"})}
)
AS_PUBLISHED = LOWEST.model_copy(
    update={
        "where": {"optimizer": "adagrad"},
        "published": 1.7,
        "rule": ledger.Bound(equals="published", absolute=5),
    }
)


@pytest.mark.parametrize("one", [LOWEST, LOWER, AS_PUBLISHED])
def test_machines_that_disagree_are_named_with_what_each_shows(one: Claim) -> None:
    a, b = on_machine(1, "machine A", range(5)), on_machine(-1, "machine B", range(5, 10))
    assert [judged([one], trials)[0].verdict for trials in (a, b)] == [SUPPORTED, CONTRADICTED]
    (answer,) = judged([one], [*a, *b])
    assert answer.verdict == NOT_SHOWN
    assert "the 2 machines differ (p = " in answer.reason
    assert "machine A, supported: " in answer.reason
    assert "machine B, contradicted: " in answer.reason


@pytest.mark.parametrize("one", [LOWEST, LOWER])
def test_machines_that_agree_or_differ_in_size_alone_are_taken_together(one: Claim) -> None:
    a, b = on_machine(1, "machine A", range(5)), on_machine(1, "machine B", range(5, 10))
    (answer,) = judged([one], [*a, *b])
    assert (answer.verdict, "differ" in answer.reason) == (SUPPORTED, False)
    (answer,) = judged([one], [*on_machine(3, "machine A", range(5)), *b])
    assert (answer.verdict, "but not in what they say of it" in answer.reason) == (SUPPORTED, True)


def test_a_row_says_where_it_would_be_shown_alone() -> None:
    test = Finding("an effect", NOT_SHOWN, n=5, p=0.03, claimed=True)
    rest = [replace(test, p=0.5)] * 9
    first, *_ = together_decided([test, *rest])
    assert first.outcome == NOT_SHOWN
    assert first.says == "an effect, p = 0.3 among 10 tests; alone it would be shown (p = 0.03)"
    assert decided(test, 0.03).outcome == SUPPORTED


def test_what_could_have_been_seen_is_meant_among_the_tests_that_show_nothing() -> None:
    """Three of five are shown, so the fourth has to pass LEVEL / 2."""
    effect = mean_effect([0.1, -0.2, 0.3, 0.0, -0.1])
    test = Finding("it", NOT_SHOWN, n=5, p=effect.p, visible=Visible((effect,), "a step of {}"))
    found = together_decided([test, test, *[replace(test, p=1e-9, claimed=True)] * 3])
    wanted = effect.detectable(LEVEL / 2)
    assert found[0].says.endswith(f"; a step of {wanted:.4g} could have been seen")
    never = Visible((replace(effect, n=6, df=0, places=(1.0, 2, 3, 4, 5, 6)),))
    assert never.in_words(LEVEL / 20) == "with 6 values nothing could have been seen"


def test_the_lowest_of_five_is_seen_four_times_in_five() -> None:
    """It has to be lower than each of four others, which are drawn with it."""
    draw, power = np.random.default_rng(0), 1 - 0.2 / 4
    size = mean_effect([-(2**0.5), 0.0, 2**0.5, 1.0, -1.0])
    step = (
        size.detectable(LEVEL, power) / (size.error * 5**0.5) * 2**0.5
    )  # differences of two have a spread of root two
    seen = 0
    for _ in range(1000):
        own, others = draw.normal(size=5), draw.normal(step, 1, size=(4, 5))
        seen += all(mean_effect(list(own - theirs)).p < LEVEL for theirs in others)
    assert seen / 1000 >= 0.8


def test_published_runs_are_excluded_together() -> None:
    """44 published runs, each one more of ours: one in twenty lies outside its interval, and hardly a set has one."""
    draw, with_any, alone = np.random.default_rng(0), 0, 0
    claims = [
        claim(id=f"cutout/n{n}", measure="test_error", published=1.0, rule={"equals": "published", "absolute": 9})
        for n in range(44)
    ]
    ours = [stored("cutout", 1 + 6 * seed) for seed in range(5)]
    for _ in range(60):
        findings = []
        for one in claims:
            values = draw.normal(10, 1, 6)
            trials = [replace(t, metrics={"test_error": v}) for t, v in zip(ours, values, strict=False)]
            findings.append(finding_on(one.model_copy(update={"published": float(values[5])}), trials))
        alone += sum(finding.outcome == CONTRADICTED for finding in findings)
        with_any += any(finding.outcome == CONTRADICTED for finding in together_decided(findings))
    assert alone / 60 / 44 == pytest.approx(0.05, abs=0.01)
    assert with_any <= 6  # of 60 at 5 %: more in one case of 25


def test_a_run_that_is_excluded_alone_says_among_how_many_it_is_not() -> None:
    seeds = [stored("cutout", 1 + 6 * seed, metrics={"test_error": 2 + 0.1 * (seed - 2)}) for seed in range(5)]
    near = claim(measure="test_error", published=2.6, rule={"equals": "published", "absolute": 1})
    far = near.model_copy(update={"id": "cutout/two", "published": 9.0})
    assert judged([near], seeds)[0].verdict == CONTRADICTED
    rest = [near.model_copy(update={"id": f"cutout/{n}", "published": 2.0}) for n in "abcdef"]
    first, second, *_ = judged([near, far, *rest], seeds)
    assert (first.verdict, second.verdict) == (NOT_SHOWN, CONTRADICTED)
    assert " among 8 published runs; alone it would be excluded (p = " in first.reason


def test_trials_that_are_there_and_take_no_part_are_named() -> None:
    """One layer learned no more than the mean."""
    faster = claim(
        **{"id": "approximators/one", "problem": "approximators", "measure": "epochs_to_common(validation_rmse)"},
        rule={"lower_for": {"num_layers": 2}, "than": {"num_layers": 1}, "for_every": "total_units"},
    )
    trials = [
        replace(trial, metrics=trial.metrics | {"r_squared": 0.1 if len(units) == 1 else 0.9})
        for place, units in enumerate(networks())
        if len(units) < 3
        for trial in [stored("approximators", place)]
    ]
    (answer,) = judged([faster], trials)
    assert answer.verdict == NOT_MEASURED
    assert answer.reason == (
        "needs trials with num_layers=2 and with num_layers=1 (6 of 31 trials, all with num_layers=1 among them, "
        "explain less than 50% of the variance of their targets, and take no part)"
    )
