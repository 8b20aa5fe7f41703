"""The report: one HTML page that needs no network, and the same in Markdown, made from the tracking store alone.

It says nothing of when it was made: one store gives the same report every time, to the byte.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from dlperf import tables
from dlperf.analysis.settings import Setting
from dlperf.claims.rules import CONTRADICTED, SUPPORTED
from dlperf.claims.verdicts import in_words, verdict_table
from dlperf.comparison.files import Page
from dlperf.comparison.sections import Section


@dataclass(frozen=True)
class _Run:
    name: str
    run_id: str
    link: str


def write(folder: Path, sections: Sequence[Section], pages: Mapping[str, Sequence[Page]], uri: str) -> None:
    """Write report.html and report.md.

    Args:
        folder: Where to; the figures that the Markdown shows lie in it.
        sections: The problems.
        pages: The pages of every problem's settings, by problem.
        uri: The tracking server, which run links lead to where it has pages.
    """
    shown = [_problem(section, pages.get(section.problem.name, ()), uri) for section in sections]
    total = in_words(verdict for section in sections for verdict in section.verdicts)
    for name in ("report.html", "report.md"):
        template = _templates().get_template(f"{name}.j2")
        (folder / name).write_text(template.render(problems=shown, counted=total, readable=tables.READABLE_ROWS))


def _problem(section: Section, pages: Sequence[Page], uri: str) -> dict[str, Any]:
    trials = sorted(section.search.trials, key=lambda trial: (trial.started, trial.run_id))
    return {
        "name": section.problem.name,
        "question": section.problem.summary,
        "trials": len(trials),
        "left_out": section.left_out,
        "overview": section.overview,
        "settings": [
            {"number": part.setting.number, "facts": _facts(part.setting), "page": page}
            for part, page in zip(section.settings, pages, strict=True)
        ],
        "verdicts": verdict_table(section.verdicts) if section.verdicts else None,
        "counted": in_words(section.verdicts),
        "runs": [
            _Run(trial.tags.get("mlflow.runName", trial.run_id), trial.run_id, _link(uri, trial.run_id))
            for trial in trials
        ],
    }


def _facts(setting: Setting[Any]) -> dict[str, str]:
    return {name: value for name, value in setting.facts.items() if value not in ("", "default", "0", "unknown")}


def _link(uri: str, run_id: str) -> str:
    """Return the run's page; MLflow finds the experiment itself."""
    return f"{uri}/#/runs/{run_id}" if uri.startswith("http") else ""


def _templates() -> jinja2.Environment:
    folder = resources.files("dlperf.comparison").joinpath("templates")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text()),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "table": _table,
        "markdown": tables.markdown,
        "picture": lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}",
        "plain": lambda text: html.escape(str(text)).replace("[", "\\["),
        "words": lambda name: str(name).replace("_", " "),
    }
    return environment


def _table(frame: pd.DataFrame) -> Any:
    """Write a data frame as an HTML table whose cells carry their numbers for scripts."""
    numeric = [tables.is_number(frame, column) for column in frame.columns]
    head = "".join(map(_heading, map(str, frame.columns), numeric))
    rows = ("".join(map(_cell, row, numeric)) for row in frame.itertuples(index=False, name=None))
    body = "".join(f"<tr>{cells}</tr>" for cells in rows)
    return Markup(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def _heading(column: str, number: bool) -> str:
    kind = " class=number" if number else ""
    return f'<th scope="col"{kind}><button>{html.escape(column.replace("_", " "))}</button></th>'


def _cell(value: Any, number: bool) -> str:
    text = html.escape(tables.cell(value))
    if number:
        order = "" if pd.isna(value) else f' data-value="{float(value)!r}"'
        return f"<td class=number{order}>{text}</td>"
    return f'<td class="{text}">{text}</td>' if text in (SUPPORTED, CONTRADICTED) else f"<td>{text}</td>"
