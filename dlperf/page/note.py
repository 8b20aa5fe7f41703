"""What a page says at its top, as the description of a run in MLflow's UI."""

from __future__ import annotations

import html
from collections.abc import Sequence

from dlperf.claims.verdicts import in_words
from dlperf.page.chapter import Chapter


def note(chapters: Sequence[Chapter]) -> str:
    """Return the verdicts on the claims of every problem, and then its questions with their answers, in Markdown."""
    verdicts = [f"- **{chapter.problem.name}**: {in_words(chapter.verdicts)}" for chapter in chapters]
    answers = [
        f"- {html.escape(f'{answered.question.asks} {answered.answer.sentence}', quote=False)}"
        for chapter in chapters
        for answered in chapter.answers
        if answered.answer
    ]
    return "\n".join([*verdicts, "", *answers])
