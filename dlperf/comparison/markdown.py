"""The comparison in Markdown, for where no browser is: questions with answers, tables, and pictures beside it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from dlperf import tables
from dlperf.claims.verdicts import in_words, verdict_table
from dlperf.comparison.files import Page
from dlperf.page.chapter import Chapter


def write(path: Path, chapters: Sequence[Chapter], pages: Mapping[str, Sequence[Page]], links: str) -> None:
    """Write the file.

    Args:
        path: The file; the figures that it shows lie beside it.
        chapters: The problems.
        pages: The pages of every problem's settings, by problem.
        links: The tracking server's address, which runs are linked to; "" where it has no pages.
    """
    shown = [_problem(chapter, pages.get(chapter.problem.name, ()), links) for chapter in chapters]
    total = in_words(verdict for chapter in chapters for verdict in chapter.verdicts)
    template = _environment().get_template("report.md.j2")
    path.write_text(template.render(problems=shown, counted=total, readable=tables.READABLE_ROWS))


def _problem(chapter: Chapter, pages: Sequence[Page], links: str) -> dict[str, Any]:
    return {
        "name": chapter.problem.name,
        "question": chapter.problem.summary,
        "trials": len(chapter.trials),
        "answers": [answered for answered in chapter.answers if answered.answer or answered.reference],
        "left_out": chapter.left_out,
        "overview": chapter.overview,
        "settings": list(zip(chapter.settings, pages, strict=True)),
        "verdicts": verdict_table(chapter.verdicts) if chapter.verdicts else None,
        "runs": chapter.runs(links),
    }


def _environment() -> jinja2.Environment:
    folder = resources.files("dlperf.comparison").joinpath("templates")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "markdown": tables.markdown,
        "plain": lambda text: html.escape(str(text)).replace("[", "\\["),
        "words": lambda name: str(name).replace("_", " "),
    }
    return environment
