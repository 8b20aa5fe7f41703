"""The comparison's files: tables as CSV, Markdown and LaTeX, figures as PNG, in a folder per problem."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dlperf import tables
from dlperf.claims.verdicts import verdict_table
from dlperf.page.chapter import Chapter
from dlperf.page.svg import in_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass
class Picture:
    """A figure as the report shows it.

    Attributes:
        title: Its name, for people.
        path: Where its file lies in the folder.
        alt: What it shows, in words.
        png: The file's content.
    """

    title: str
    path: str
    alt: str
    png: bytes


@dataclass
class Page:
    """What was written for one setting.

    Attributes:
        tables: Tables by title.
        pictures: Figures.
    """

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)


def write(folder: Path, chapters: Sequence[Chapter], *, figures: bool) -> dict[str, list[Page]]:
    """Write tables and figures of every problem.

    Args:
        folder: Where to; the files of a problem lie in a folder of its name, of its further settings below that.
        chapters: The problems.
        figures: Draw figures, and make the tables that read curves.

    Returns:
        The pages of every problem's settings, by problem.
    """
    pages: dict[str, list[Page]] = {}
    for chapter in chapters:
        name = chapter.problem.name
        _table(folder / name / "tables", "claims", verdict_table(chapter.verdicts))
        if chapter.overview is not None:
            _table(folder / name / "tables", "settings", chapter.overview)
        for part in chapter.settings:
            place = name if part.setting.number == 1 else f"{name}/setting_{part.setting.number}"
            page = Page()
            made = part.summary.all_tables(curves=figures)
            for title, table in {**made, **part.tables}.items():
                _table(folder / place / "tables", title, table)
                page.tables[title] = table
            for title in part.summary.figures if figures else ():
                page.pictures.append(_picture(folder, f"{place}/plots/{title}.png", part.summary.figures[title]))
            pages.setdefault(name, []).append(page)
    return pages


def _table(folder: Path, name: str, table: pd.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for ending, text in tables.files(table).items():
        (folder / f"{name}.{ending}").write_text(text)


def _picture(folder: Path, path: str, figure: Figure) -> Picture:
    content = io.BytesIO()
    # Without the version of the software that drew it, a file depends only on what it shows.
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content.getvalue())
    title = Path(path).stem.replace("_", " ")
    return Picture(title, path, in_words(figure), content.getvalue())
