"""What answers a question: for each the setting that says most about it, and beside it what other settings say."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dlperf.analysis.contest import listed
from dlperf.analysis.inference import FEWEST
from dlperf.analysis.settings import Setting, differing
from dlperf.claims.verdicts import OUTCOMES, Verdict
from dlperf.problem import Answer, Problem, Question

_MOST_OTHERS = 3
_Answers = list[tuple[Setting[Any], Answer]]


@dataclass
class Answered:
    """A question of the assignment.

    Attributes:
        question: The question.
        answer: What the trials of the deciding setting say, which the sentence begins with where others say something
            else; None where no trial is about it.
        verdicts: On the claims about it, those that something decided first.
        setting: The deciding setting; None where no trial answers.
        others: What other settings say, each sentence with its setting; beyond the first, which settings do.
        longer: The one of these that is of the longest training on as many examples, where it is longer than the
            deciding one.
        reference: What the trials that come with dlperf say, where that is something else.
        reference_setting: The setting of these that decides; None where none of them answers.
    """

    question: Question
    answer: Answer | None
    verdicts: list[Verdict]
    setting: Setting[Any] | None = None
    others: list[str] = field(default_factory=list)
    longer: str = ""
    reference: Answer | None = None
    reference_setting: Setting[Any] | None = None


def answers(
    problem: Problem[Any],
    settings: Sequence[Setting[Any]],
    judged: Sequence[Verdict],
    reference: Sequence[Setting[Any]] = (),
) -> list[Answered]:
    """Answer the questions of a problem.

    Args:
        problem: The problem.
        settings: The settings of its trials.
        judged: The verdicts on its claims.
        reference: The settings of the trials that come with dlperf.
    """
    questions = problem.questions()
    about: dict[str, list[Verdict]] = {question.name: [] for question in questions}
    for verdict in judged:
        if name := _question_about(verdict.claim.id, questions):
            about[name].append(verdict)
    for own in about.values():
        own.sort(key=lambda verdict: OUTCOMES.index(verdict.verdict))
    return [_answered(question, about[question.name], settings, reference) for question in questions]


def _answered(
    question: Question, judged: list[Verdict], settings: Sequence[Setting[Any]], reference: Sequence[Setting[Any]]
) -> Answered:
    found = _by_weight(question, settings)
    said = found[0][1] if found else None if settings else question.answer([])
    made = Answered(question, said, judged)
    if said and found:
        made.setting = found[0][0]
        # The same trials may stand in several settings, and say the same in each: the first of them speaks.
        once: dict[str, tuple[Setting[Any], Answer]] = {}
        for setting, answer in found:
            once.setdefault(answer.sentence, (setting, answer))
        _, *others = once.values()
        if others or len(found) < len(settings):
            made.answer = _labelled(said, _label(made.setting, settings))
        made.others = [
            _labelled(answer, _label(setting, settings)).sentence for setting, answer in others[:_MOST_OTHERS]
        ]
        on_as_many = [one for one in others if _examples(one[0]) >= _examples(made.setting)]
        longest = max(on_as_many, key=lambda one: _epochs(one[0]), default=None)
        if longest and _epochs(longest[0]) > _epochs(made.setting):
            made.longer = _labelled(longest[1], _label(longest[0], settings)).sentence
        if further := sorted(setting.number for setting, _ in others[_MOST_OTHERS:]):
            which, say = ("Setting", "says") if len(further) == 1 else ("Settings", "say")
            made.others.append(f"{which} {listed(list(map(str, further)))} {say} something else too.")
    beside = _by_weight(question, reference)
    if made.setting:  # of the reference rather what was asked alike
        here = made.setting
        beside.sort(key=lambda one: one[0].parameters != here.parameters)
    if beside:
        made.reference_setting, says = beside[0]
        compared = [made.setting, made.reference_setting] if made.setting else reference
        if not (said and said.sentence == says.sentence):
            differences = _differences(made.reference_setting, compared, circumstances=False)
            made.reference = _labelled(says, f"With {differences}" if differences else "")
    return made


def _by_weight(question: Question, settings: Iterable[Setting[Any]]) -> _Answers:
    """Return what settings say: the comparison on most values first, then on most data, then the longest.

    Values too few to show anything count as one: 5 epochs with three seeds do not stand above 200 with one.
    """
    found = [(setting, answer) for setting in settings if (answer := question.answer(setting.trials))]
    values = {
        setting.number: answer.values if answer.values >= FEWEST else min(answer.values, 1) for setting, answer in found
    }
    return sorted(found, key=lambda one: (-values[one[0].number], -_examples(one[0]), -_epochs(one[0]), one[0].number))


def _examples(setting: Setting[Any]) -> float:
    """How many examples are trained on: of 0, which is all, more than of any number."""
    return max(getattr(trial.parameters, "train_examples", 0) or math.inf for trial in setting.trials)


def _epochs(setting: Setting[Any]) -> float:
    return max(trial.metrics.get("epochs_run", 0.0) for trial in setting.trials)


def _label(setting: Setting[Any], settings: Sequence[Setting[Any]]) -> str:
    facts = _differences(setting, settings, circumstances=True)
    return f"Setting {setting.number}" + (f" ({facts})" if facts else "")


def _differences(setting: Setting[Any], settings: Sequence[Setting[Any]], *, circumstances: bool) -> str:
    """Return in what a setting differs from others: parameters; where it differs in none of these, circumstances."""
    facts = differing(one.parameters for one in settings)
    if not facts and circumstances:
        facts = differing(one.circumstances for one in settings)
    return ", ".join(_in_words(name, setting.facts[name]) for name in facts if name in setting.facts)


def _in_words(name: str, value: str) -> str:
    if name == "train_examples" and value == "0":
        return "all examples"
    return f"{name} by default" if value == "default" else f"{name}={value}"


def _labelled(answer: Answer, label: str) -> Answer:
    return replace(answer, sentence=f"{label}: {answer.sentence}") if label else answer


def _question_about(claim: str, questions: Sequence[Question]) -> str:
    """The question that a claim stands below: the one whose pattern says most of it; "" if none does."""
    matching = [
        (len(pattern), question.name)
        for question in questions
        for pattern in question.claims
        if fnmatch.fnmatchcase(claim, pattern)
    ]
    return max(matching, key=lambda match: match[0])[1] if matching else ""
