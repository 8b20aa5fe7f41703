"""The page as HTML: one file that needs no network and says nothing of when it was made."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from dlperf import __version__, tables
from dlperf.analysis.wording import seeds
from dlperf.claims.findings import CONTRADICTED, SUPPORTED
from dlperf.claims.verdicts import Verdict, counted, in_words, verdict_table
from dlperf.page.answers import Answered
from dlperf.page.chapter import Chapter, measured_ones
from dlperf.page.svg import palette_css, svg
from dlperf.problem import Summary

_FIRST_ROWS = 12
"""Of a longer table only these are seen before somebody asks for all."""
_WIDE = 1.8
"""Times its height: a figure as wide as that is one of several panels."""
_Drawn = set[tuple[str, int, str]]
"""Figures that a page has: whether they are of trials here or of the reference, the setting's number, the name."""
_CLAIM_COLUMNS = (
    "claim",
    "source",
    "published",
    "closed_form",
    "reference",
    "here",
    "low",
    "high",
    "verdict",
    "reason",
)


@dataclass(frozen=True)
class Shown:
    """A figure in a page.

    Attributes:
        caption: What it is.
        svg: The element.
        is_wide: Whether it stands alone in its row.
    """

    caption: str
    svg: Markup
    is_wide: bool


@dataclass
class _Part:
    """A question as the template has it."""

    anchor: str
    asks: str
    sentence: str
    others: list[str]
    longer: str
    reference: str
    command: str
    figures: list[Shown]
    explanation: Markup
    numbers: pd.DataFrame | None
    reference_numbers: pd.DataFrame | None
    claims: pd.DataFrame | None
    unmeasured: pd.DataFrame | None
    counts: str


@dataclass
class _Problem:
    """A chapter as the template has it."""

    name: str
    title: str
    trials: int
    in_several: int
    has_reference: bool
    left_out: Sequence[str]
    findings: list[_Part]
    counts: dict[str, int]
    counted: str
    parts: list[_Part]
    overview: pd.DataFrame | None
    settings: list[dict[str, Any]]
    runs: list[tuple[str, str, str]] = field(default_factory=list)


def write(path: Path, chapters: Sequence[Chapter], *, by: str, links: str = "", figures: bool = True) -> None:
    """Write the page.

    Args:
        path: The file.
        chapters: The problems.
        by: What answers the questions of the assignment, as the end of that sentence.
        links: The tracking server's address, which runs are linked to; "" where it has no pages.
        figures: Draw figures, and make the tables that read curves.
    """
    problems = [_problem(chapter, links, figures=figures) for chapter in chapters]
    light, dark = palette_css()
    judged = [verdict for chapter in chapters for verdict in chapter.verdicts]
    text = _environment().get_template("page.html.j2").render(
        problems=problems, by=by, counted=_in_words(judged), light=Markup(light), dark=Markup(dark), version=__version__
    )  # fmt: skip
    path.write_text(text, encoding="utf-8")


def _problem(chapter: Chapter, links: str, *, figures: bool) -> _Problem:
    name = chapter.problem.name
    drawn: _Drawn = set()
    stands_in = Counter(trial.run_id for section in chapter.settings for trial in section.setting.trials)
    parts = [_part(chapter, answered, drawn, figures=figures) for answered in chapter.answers]
    parts = [
        part
        for part in parts
        if part.sentence or part.reference or part.claims is not None or part.unmeasured is not None
    ]
    return _Problem(
        name=name,
        title=chapter.problem.summary,
        trials=len(chapter.trials),
        in_several=sum(count > 1 for count in stands_in.values()),
        has_reference=bool(chapter.reference),
        left_out=chapter.left_out,
        findings=[part for part in parts if part.sentence or part.reference],
        counts=counted(chapter.verdicts),
        counted=_in_words(chapter.verdicts),
        parts=parts,
        overview=chapter.overview,
        settings=[_setting(chapter, number, drawn, figures=figures) for number in range(len(chapter.settings))],
        runs=chapter.runs(links),
    )


def _part(chapter: Chapter, answered: Answered, drawn: _Drawn, *, figures: bool) -> _Part:
    question, answer, reference = answered.question, answered.answer, answered.reference
    measured = measured_ones(answered.verdicts)
    rest = [verdict for verdict in answered.verdicts if verdict not in measured]
    shown: list[Shown] = []
    if figures and (answer or reference):
        for name in question.figures:
            shown += _figures(chapter, answered, name, drawn)
    return _Part(
        anchor=question.name.replace("/", "-"),
        asks=question.asks,
        sentence=answer.sentence if answer else "",
        others=answered.others,
        longer=answered.longer,
        reference=reference.sentence if reference else "",
        command=answer.command if answer else "",
        figures=shown,
        explanation=explanation(question.name),
        numbers=answer.table if answer else None,
        reference_numbers=reference.table if reference else None,
        claims=_claims(measured) if measured else None,
        unmeasured=_unmeasured(rest) if rest else None,
        counts=_in_words(answered.verdicts),
    )


def _figures(chapter: Chapter, answered: Answered, name: str, drawn: _Drawn) -> list[Shown]:
    """Draw a figure of the setting that answers, unless it is drawn, and that of the reference beside it."""
    shown = []
    for whose, setting, summaries in (
        ("here", answered.setting, {part.setting.number: part.summary for part in chapter.settings}),
        ("reference", answered.reference_setting, chapter.reference),
    ):
        if setting is None or name not in summaries[setting.number].figures or (whose, setting.number, name) in drawn:
            continue
        drawn.add((whose, setting.number, name))
        caption = [name.replace("_", " "), whose if chapter.reference else ""]
        caption += [f"setting {setting.number}"] if len(summaries) > 1 else []
        prefix = f"{chapter.problem.name}-{whose}-{setting.number}"
        shown.append(_shown(summaries[setting.number], name, ", ".join(filter(None, caption)), prefix))
    return shown


def _shown(summary: Summary, name: str, caption: str, prefix: str) -> Shown:
    figure = summary.figures[name]
    width, height = figure.get_size_inches()
    return Shown(caption, Markup(svg(figure, f"{prefix}-{name}")), is_wide=width > _WIDE * height)


def _setting(chapter: Chapter, place: int, drawn: _Drawn, *, figures: bool) -> dict[str, Any]:
    """Everything else that there is of a setting."""
    section = chapter.settings[place]
    number = section.setting.number
    names = [name for name in section.summary.figures if figures and ("here", number, name) not in drawn]
    return {
        "number": number,
        "facts": section.facts,
        "figures": [
            _shown(section.summary, name, name.replace("_", " "), f"{chapter.problem.name}-{number}") for name in names
        ],
        "tables": {**section.summary.all_tables(curves=figures), **section.tables},
    }


def _in_words(judged: Sequence[Verdict]) -> str:
    """Count verdicts, without those that there are none of."""
    return ", ".join(part for part in in_words(judged).split(", ") if not part.startswith("0 "))


def _claims(judged: Sequence[Verdict]) -> pd.DataFrame:
    table = verdict_table(judged)
    return table[[name for name in _CLAIM_COLUMNS if name in table and not _is_empty(table, name)]]


def _unmeasured(judged: Sequence[Verdict]) -> pd.DataFrame:
    return pd.DataFrame(
        {"claim": v.claim.says, "source": v.claim.source, "published": v.claim.published, "why not": v.reason}
        for v in judged
    )


def _is_empty(table: pd.DataFrame, name: str) -> bool:
    return bool(table[name].isna().all())


def explanation(question: str) -> Markup:
    """Return the explanation of a question, by its name."""
    return Markup(_environment().get_template(f"explanations/{question.replace('/', '-')}.html.j2").render())


def _environment() -> jinja2.Environment:
    folder = resources.files("dlperf.page").joinpath("templates")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "table": _table,
        "of": seeds,
        "words": lambda name: str(name).replace("_", " "),
        "long": lambda frame: len(frame) > tables.READABLE_ROWS,
    }
    return environment


def _table(frame: pd.DataFrame, label: str) -> Markup:
    """Write a data frame as an HTML table whose cells carry their numbers for scripts."""
    numeric = [tables.is_number(frame, column) for column in frame.columns]
    head = "".join(map(_heading, map(str, frame.columns), numeric))
    body = "".join(
        f"<tr{' hidden' if place >= _FIRST_ROWS else ''}>{''.join(map(_cell, row, numeric))}</tr>"
        for place, row in enumerate(frame.itertuples(index=False, name=None))
    )
    return Markup(
        f'<div class="table" tabindex="0" role="region" aria-label="{html.escape(label)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _heading(column: str, number: bool) -> str:
    kind = " class=number" if number else ""
    return f'<th scope="col"{kind}><button type="button">{html.escape(column.replace("_", " "))}</button></th>'


def _cell(value: Any, number: bool) -> str:
    text = html.escape(tables.cell(value))
    if number:
        order = "" if pd.isna(value) else f' data-value="{float(value)!r}"'
        return f"<td class=number{order}>{text}</td>"
    return f'<td class="{text}">{text}</td>' if text in (SUPPORTED, CONTRADICTED) else f"<td>{text}</td>"
