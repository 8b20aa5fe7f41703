"""The assignment's questions: answered by every problem's trials, with no number that stands in no table."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any

import pytest

from dlperf import entry_points
from dlperf.claims.ledger import claims
from dlperf.entry_points import PROBLEMS
from dlperf.page import html
from dlperf.page.answers import Answered
from dlperf.page.chapter import chapter
from dlperf.page.html import explanation
from dlperf.tables import cell
from dlperf.tracking.reference import reference_trials
from tests.support.trials import stored

COUNTS = {"optimizers": 50, "scaling": 10, "cutout": 30, "approximators": 143}
NUMBER = re.compile(r"(?<![\w.])[\d,]*\d(?:\.\d+)?(?![\d%])")
# What a sentence says besides its table's numbers: versions, percentages of intervals, sizes of filters.
FIXED = {"2.3", "3", "1", "5", "13", "256"}


def trials_of(problem: str) -> Any:
    if problem == "architectures":
        return reference_trials(problem)
    return [stored(problem, number) for number in range(COUNTS[problem])]


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_question_of_a_whole_sweep_has_an_answer(name: str) -> None:
    problem: Any = entry_points.load_problem(name)
    made = chapter(problem, trials_of(name))
    answered = {each.question.name: each.answer for each in made.answers}
    without = [question for question, answer in answered.items() if answer is None]
    assert set(without) <= {"scaling/reduction", "architectures/any-model"}
    for question, answer in answered.items():
        if answer is None:
            continue
        assert answer.sentence.endswith(".")
        assert answer.table is not None
        shown = {cell(value).removeprefix("-") for column in answer.table for value in answer.table[column]}
        shown |= {str(len(answer.table)), *NUMBER.findall(" ".join(map(str, answer.table.to_numpy().ravel())))}
        if name != "architectures":  # shares of closed forms are computed in the sentence
            missing = set(NUMBER.findall(answer.sentence)) - shown - FIXED - {"20", "40.75", "6"}
            assert not missing, (question, missing, answer.sentence)


def test_a_single_trial_answers_without_a_comparative() -> None:
    made = chapter(entry_points.load_problem("optimizers"), [stored("optimizers", number) for number in range(10)])
    said = {each.question.name: each.answer for each in made.answers}
    for question in ("optimizers/training-loss", "optimizers/test-accuracy"):
        answer = said[question]
        assert answer
        assert answer.sentence.startswith("Not shown: ")
        assert answer.command.endswith("-P random_seed=0,1,2,3,4")


def test_every_pattern_of_claims_matches_one_and_every_claim_stands_below_a_question() -> None:
    for name in PROBLEMS:
        names = [claim.id for claim in claims(name)]
        patterns = [p for question in entry_points.load_problem(name).questions() for p in question.claims]
        assert all(fnmatch.filter(names, pattern) for pattern in patterns), name
        homeless = [claim for claim in names if not any(fnmatch.fnmatchcase(claim, p) for p in patterns)]
        assert not homeless, homeless


def test_every_question_has_an_explanation() -> None:
    for name in PROBLEMS:
        for question in entry_points.load_problem(name).questions():
            assert len(explanation(question.name)) > 200


def test_what_needs_no_trial_is_answered_without_one() -> None:
    for name in PROBLEMS:
        answered = {each.question.name for each in chapter(entry_points.load_problem(name), []).answers if each.answer}
        assert answered == ({"optimizers/update-rules"} if name == "optimizers" else set())


def test_a_problem_without_trials_has_questions_and_claims_alone() -> None:
    made = chapter(entry_points.load_problem("cutout"), [])
    assert not made.settings
    assert all(each.answer is None for each in made.answers)
    assert sum(len(each.verdicts) for each in made.answers) == len(claims("cutout"))


def answered_by(trials: Any, question: str, reference: Any = ()) -> Answered:
    made = chapter(entry_points.load_problem("optimizers"), trials, reference=reference)
    (found,) = [each for each in made.answers if each.question.name == f"optimizers/{question}"]
    return found


def test_the_longest_training_answers_and_says_which_it_is() -> None:
    """Not the setting with most trials: after 10 epochs another method may be first than after 200."""
    short = [stored("optimizers", number, epochs=10, length=10) for number in range(10)]
    long = [stored("optimizers", number, epochs=200, length=40) for number in range(5)]
    found = answered_by([*short, *long], "training-loss")
    assert found.answer
    assert found.answer.sentence.startswith("Setting 2 (epochs=200): Not shown: the training loss was ")
    assert "epochs" not in found.answer.command  # 200 is what the protocol has
    assert [other.partition(": ")[0] for other in found.others] == ["Setting 1 (epochs=10)"]

    many = [stored("optimizers", number, epochs=10 * (1 + number // 5), length=10) for number in range(60)]
    listed = [other.partition(": ")[0] for other in answered_by([*many, *long], "training-loss").others]
    assert listed[3:] == ["Settings 8, 10 and 12 say something else too."]

    with_dropout = answered_by([*short, *long], "dropout")  # which one setting alone has
    assert with_dropout.answer
    assert with_dropout.answer.sentence.startswith("Setting 1 (epochs=10): ")
    assert with_dropout.others == []

    rules = answered_by([*short, *long], "update-rules")  # which are the same in both
    assert rules.answer
    assert rules.answer.sentence.startswith("All of them divide")


def test_more_random_seeds_answer_before_longer_training() -> None:
    short = [stored("optimizers", number, epochs=10, length=10) for number in range(50)]
    long = [stored("optimizers", number, epochs=200, length=40) for number in range(5)]
    found = answered_by([*short, *long], "training-loss")
    assert found.answer
    assert found.answer.sentence.startswith("Setting 1 (epochs=10): AdaGrad has the lowest")
    assert found.longer.startswith("Setting 2 (epochs=200): Not shown: the training loss was ")
    assert found.longer in found.others

    few = [trial for trial in short if trial.parameters.random_seed < 4]  # which can show no more than one
    found = answered_by([*few, *long], "training-loss")
    assert found.answer
    assert found.answer.sentence.startswith("Setting 2 (epochs=200): Not shown")
    assert found.longer == ""

    alone = [stored("optimizers", 10 * seed, epochs=200, length=40) for seed in range(6)]  # compare nothing
    found = answered_by([*short[:10], *alone], "training-loss")
    assert found.answer
    assert found.answer.sentence.startswith("Setting 1 (epochs=10): Not shown")


def test_the_same_trials_in_two_settings_say_it_once() -> None:
    """Without dropout, which dropout the others have makes no difference."""
    short = [stored("optimizers", number, epochs=10, length=10) for number in range(50)]
    without = [stored("optimizers", number, epochs=200, length=40) for number in range(5)]
    each = [stored("optimizers", number, epochs=200, length=40) for number in (5, 6)]
    given = {"dropout_after": "last", "metrics": {"train_loss": 9.0}}
    last = [stored("optimizers", number, epochs=200, length=40, **given) for number in (5, 6)]
    found = answered_by([*short, *without, *each, *last], "training-loss")
    assert [other.partition(" (")[0] for other in found.others] == ["Setting 2"]
    assert found.longer == found.others[0]
    assert len(answered_by([*short, *without, *each, *last], "dropout").others) == 2


def test_the_page_says_what_was_trained_longer_and_which_trials_stand_in_several_settings(tmp_path: Path) -> None:
    short = [stored("optimizers", number, epochs=10, length=10) for number in range(50)]
    long = [stored("optimizers", number, epochs=200, length=40) for number in range(10)]
    last = [stored("optimizers", number, epochs=200, length=40, dropout_after="last") for number in range(5, 10)]
    made = chapter(entry_points.load_problem("optimizers"), [*short, *long, *last])
    html.write(tmp_path / "report.html", [made], by="these runs", figures=False)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<span class="longer">Setting 2 (dropout_after by default, epochs=200): Not shown: ' in text
    assert "65 finished trials in 3 settings, which are never averaged (5 trials in several of them: " in text
    html.write(tmp_path / "report.html", [chapter(made.problem, long)], by="these runs", figures=False)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'class="longer"' not in text
    assert "in several of them" not in text


def test_the_reference_answers_with_trials_asked_for_alike() -> None:
    short = [stored("optimizers", number, epochs=10, length=10) for number in range(10)]
    long = [stored("optimizers", number, epochs=200, length=40) for number in range(5)]
    found = answered_by(short[:5], "training-loss", [*short, *long])
    assert found.answer
    assert found.answer.sentence.startswith("Not shown")  # there is one setting here
    assert found.reference is None  # it says the same
    found = answered_by([stored("optimizers", 0, epochs=20)], "training-loss", [*short, *long])
    assert found.reference
    assert found.reference.sentence.startswith("With epochs=200: Not shown")


def test_five_optimizers_with_one_random_seed_are_one_draw() -> None:
    found = answered_by([stored("optimizers", number) for number in range(10)], "dropout")
    assert found.answer
    assert "the mean training loss of AdaGrad, RMSProp, Nadam, AdaDelta and Adam was 1." in found.answer.sentence
    assert found.answer.sentence.count("to tell takes 5 random seeds, and there is 1") == 2
    # More seeds of AdaGrad alone are not averaged with one of all five: what keeps most values compares.
    for more, methods, seeds in ((3, "AdaGrad, RMSProp, Nadam, AdaDelta and Adam", 1), (6, "AdaGrad", 7)):
        alone = [stored("optimizers", 10 * seed + place) for seed in range(1, more + 1) for place in (0, 5)]
        found = answered_by([*(stored("optimizers", number) for number in range(10)), *alone], "dropout")
        assert found.answer
        assert f"training loss of {methods} " in found.answer.sentence
        assert found.answer.values == seeds
    unpaired = [stored("optimizers", number) for number in (0, 6)]  # AdaGrad without, RMSProp with dropout
    assert answered_by(unpaired, "dropout").answer is None


@pytest.mark.parametrize(
    ("name", "question", "by_time"),
    [
        ("optimizers", "dropout", "time of an epoch"),
        ("cutout", "copies", "equal seconds|An epoch of"),
        ("approximators", "time", "training time"),
    ],
)
def test_times_of_trials_beside_other_programs_answer_nothing(name: str, question: str, by_time: str) -> None:
    problem: Any = entry_points.load_problem(name)

    def answer(tags: dict[str, str]) -> str:
        trials = [stored(name, number, tags=tags) for number in range(COUNTS[name])]
        (found,) = [each for each in chapter(problem, trials).answers if each.question.name == f"{name}/{question}"]
        return found.answer.sentence if found.answer else ""

    assert re.search(by_time, answer({}))
    assert not re.search(by_time, answer({"dlperf.disturbed": "a game was played"}))


def test_a_rate_that_was_chosen_with_dropout_is_that_of_the_method_with_dropout() -> None:
    rates = {0: 0.003, 1: 3e-05, 5: 0.01, 6: 0.0001}  # of AdaGrad and RMSProp without dropout, and with it
    trials = [stored("optimizers", place, protocol="corrected", learning_rate=rate) for place, rate in rates.items()]
    found = answered_by(trials, "dropout")
    assert found.answer
    assert "the mean training loss of AdaGrad and RMSProp was" in found.answer.sentence


def test_all_of_the_data_answer_before_longer_training_on_a_part() -> None:
    whole = [stored("optimizers", number, epochs=200, length=20) for number in range(5)]
    part = [stored("optimizers", number, epochs=300, length=30, train_examples=2560) for number in range(5)]
    found = answered_by([*part, *whole], "training-loss")
    assert found.answer
    assert "all examples" in found.answer.sentence.partition(": ")[0]
