"""Successive halving, and what the trials of a sweep recommend."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from dlperf.errors import BadInput
from dlperf.parameters import parse
from dlperf.problems.optimizers.choice import choice_table, recommendation
from dlperf.problems.optimizers.parameters import OptimizersParameters
from dlperf.problems.optimizers.problem import PROBLEM, summarize, verify
from dlperf.problems.optimizers.search import rungs
from dlperf.trial import StoredTrial
from tests.problems.optimizers.test_optimizers import stored

CORRECTED = {"protocol": "corrected", "dropout": "false", "dataset": "digits"}


@pytest.mark.parametrize("count", range(2, 18))
def test_halving_keeps_its_budget_and_ends_with_two(count: int) -> None:
    for budget in (count * math.ceil(math.log2(count)), 100, 1000):
        if budget < count * math.ceil(math.log2(count)):
            continue
        rounds = rungs(count, budget)
        assert sum(rates * epochs for rates, epochs in rounds) <= budget
        assert (rounds[0][0], rounds[-1][0]) == (count, 2)
        assert all(one[1] <= other[1] for one, other in itertools.pairwise(rounds))


def play(loss: Any, **given: str) -> tuple[list[list[OptimizersParameters]], list[OptimizersParameters]]:
    """Run a sweep's rounds with made results: the trials of each round, and the final ones."""
    asked = parse(OptimizersParameters, {**CORRECTED, **given}).trials
    finished: list[StoredTrial[OptimizersParameters]] = []
    names: set[str] = set()
    rounds: list[list[OptimizersParameters]] = []
    while new := [t for t in PROBLEM.next_trials(asked, finished) if PROBLEM.trial_name(t) not in names]:
        rounds.append(new)
        names |= {PROBLEM.trial_name(t) for t in new}
        finished += [stored(t, cross_entropy=loss(t)) for t in new if loss(t) is not None]
    return rounds, [t.parameters for t in finished if t.parameters.stage == "final"]


def test_the_better_half_goes_on_and_the_last_one_is_trained_with_all_seeds() -> None:
    rates = "0.1,0.03,0.01,0.003,0.001"
    given = {"optimizer": "adam,nadam", "learning_rate": rates, "random_seed": "4,5", "search": "halving"}
    best = {"adam": 0.01, "nadam": 0.1}
    rounds, final = play(
        lambda t: abs(math.log(t.learning_rate / best[t.optimizer])) / t.epochs, **given, search_budget="60"
    )
    adam = [[(t.rung, t.learning_rate, t.epochs) for t in r if t.optimizer == "adam"] for r in rounds]
    assert adam[0] == [(0, rate, 4) for rate in (0.1, 0.03, 0.01, 0.003, 0.001)]
    assert sorted(adam[1]) == [(1, 0.003, 6), (1, 0.01, 6), (1, 0.03, 6)]
    assert {rate for _, rate, _ in adam[2]} < {0.003, 0.01, 0.03}
    assert [(t.optimizer, t.learning_rate, t.random_seed) for t in final] == [
        (name, rate, seed) for seed in (4, 5) for name, rate in best.items()
    ]
    assert {t.random_seed for r in rounds[:-1] for t in r} == {4}


def test_a_rate_that_failed_does_not_go_on() -> None:
    given = {"optimizer": "adam", "learning_rate": "10,0.01,0.001", "search": "halving", "search_budget": "20"}
    rounds, final = play(lambda t: None if t.learning_rate == 10 else t.learning_rate, **given)
    assert all(t.learning_rate != 10 for r in rounds[1:] for t in r)
    assert [t.learning_rate for t in final] == [0.001]
    assert not play(lambda t: None, **given)[1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"protocol": "notebook"}, "search=halving: needs protocol=corrected"),
        ({"search_budget": "14"}, "search_budget=14: must be at least 15, an epoch for each of 5 learning rates"),
    ],
)
def test_halving_that_cannot_be_done(given: dict[str, str], words: str) -> None:
    asked = {**CORRECTED, "optimizer": "adam", "search": "halving", **given}
    with pytest.raises(BadInput, match=words):
        verify(parse(OptimizersParameters, asked).trials)


def sweep(losses: dict[str, list[float]]) -> list[StoredTrial[OptimizersParameters]]:
    return [
        stored(
            OptimizersParameters.resolve(
                {"protocol": "corrected", "optimizer": name, "dropout": False, "random_seed": seed}
            ),
            cross_entropy=loss,
        )
        for name, values in losses.items()
        for seed, loss in enumerate(values)
    ]


def test_a_recommendation_says_how_sure_it_is_and_what_would_settle_it() -> None:
    unsure = sweep({"adam": [1.0, 1.2, 1.1], "nadam": [1.1, 1.25, 1.12]})
    said = recommendation(unsure)
    assert said.startswith("Adam is the best by final validation cross-entropy with a probability of ")
    assert "before nadam (" in said
    assert "more seeds of both would settle it" in said
    sure = recommendation(sweep({"adam": [1.0, 1.01, 1.02], "nadam": [2.0, 2.01, 2.02]}))
    assert "more seeds" not in sure
    assert recommendation(sweep({"adam": [1.0], "nadam": [2.0]})) == (
        "Nothing is recommended: one random seed does not say how sure a choice is."
    )
    assert recommendation(sweep({"adam": [1.0, 2.0]})) == ""


def test_the_table_says_what_the_search_has_cost() -> None:
    trained = sweep({"adam": [1.0, 1.2, 1.1], "nadam": [1.1, 1.25, 1.12]})
    searched = [stored(trained[0].parameters.searching(rung=rung)) for rung in (0, 1)]
    table = choice_table(trained, searched).set_index("optimizer")
    assert table.loc["adam", "search_trials"] == 2
    assert table.loc["adam", "search_epochs"] == 4
    assert table.loc["adam", "search_seconds"] == pytest.approx(4.0)
    assert table.loc["nadam", "search_trials"] == 0
    assert table["probability_of_best"].sum() == pytest.approx(1.0)
    assert (table["low"] < table["validation_cross_entropy"]).all()
    summary = summarize([*trained, *searched])
    assert "choice" in summary.shown_tables()
    assert summary.sentences["choice"] == recommendation(trained)
