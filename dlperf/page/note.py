"""What a page says at its top, as the description of a run in MLflow's UI."""

from __future__ import annotations

import html
from collections.abc import Sequence

from dlperf.claims.verdicts import in_words
from dlperf.page.chapter import Chapter


def note(chapters: Sequence[Chapter]) -> str:
    """Return a paragraph per problem, in Markdown: the verdicts on its claims, and its questions with their answers."""
    lines = []
    for chapter in chapters:
        lines.append(f"\n**{chapter.problem.name}**: {in_words(chapter.verdicts)}\n")
        lines += [
            f"- {html.escape(f'{answered.question.asks} {answered.answer.sentence}', quote=False)}"
            for answered in chapter.answers
            if answered.answer
        ]
    return "\n".join(lines).strip()
