"""The pages of the documentation as tests read them: code, tables, headings and links, each with its place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
RESULTS = sorted((ROOT / "results").glob("*/README.md"))

_FENCE = re.compile(r"```(\w*)")
_SPAN = re.compile(r"(`+)(.+?)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Piece:
    """Some text of a page.

    Attributes:
        page: The file.
        line: Its first line, from 1.
        text: The text.
    """

    page: Path
    line: int
    text: str

    def __str__(self) -> str:
        """Name the place."""
        return f"{self.page.relative_to(ROOT)}:{self.line}: {self.text}"


def prose(page: Path) -> list[Piece]:
    """Return the paragraphs, headings, list items and table rows of a page, each on one line; no blocks of code."""
    return [piece for kind, piece in _blocks(page) if kind == "prose"]


def shell_lines(page: Path) -> list[Piece]:
    """Return the commands in blocks of code, continued lines joined.

    In a block of kind `console` they are the lines after "$ ", and the rest is their output; a block that is Python is
    left out.
    """
    found = []
    for kind, block in _blocks(page):
        if kind == "prose" or _is_python(block.text):
            continue
        lines = block.text.split("\n")
        for number, line in enumerate(lines):
            if kind == "console" and not line.startswith("$ "):
                continue
            if number and lines[number - 1].endswith("\\"):
                continue
            whole = line
            for further in lines[number + 1 :]:
                if not whole.endswith("\\"):
                    break
                whole = whole[:-1] + further.strip()
            if whole.strip():
                found.append(Piece(page, block.line + number, whole.removeprefix("$ ").strip()))
    return found


def code_spans(page: Path) -> list[Piece]:
    """Return the code that stands within lines of prose."""
    return [
        Piece(page, piece.line, " ".join(span[2].split()))
        for piece in prose(page)
        for span in _SPAN.finditer(piece.text)
    ]


def links(page: Path) -> list[tuple[Piece, bool]]:
    """Return the targets of links and images, and whether each is an image; its line is that of its paragraph."""
    return [
        (Piece(page, piece.line, link[3]), bool(link[1]))
        for piece in prose(page)
        for link in _LINK.finditer(_SPAN.sub("", piece.text))
    ]


def images(page: Path) -> list[tuple[Piece, str]]:
    """Return the targets of images with their alternative texts."""
    return [
        (Piece(page, piece.line, link[3]), link[2])
        for piece in prose(page)
        for link in _LINK.finditer(piece.text)
        if link[1]
    ]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = (piece.text for piece in prose(page) if re.match(r"#{1,6} ", piece.text))
    return {
        re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower()).replace(" ", "-").replace("`", "")
        for heading in headings
    }


def tables(page: Path, section: str = "") -> list[list[list[Piece]]]:
    """Return the tables of a page, or of one section of it, as rows of cells, the heading row first."""
    found: list[list[list[Piece]]] = []
    heading, before = "", 0
    for piece in prose(page):
        if re.match(r"#{1,6} ", piece.text):
            heading = piece.text.lstrip("#").strip()
        if not piece.text.startswith("|") or (section and heading != section):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", piece.text.strip().strip("|"))]
        if piece.line != before + 1:
            found.append([])
        before = piece.line
        if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            found[-1].append([Piece(page, piece.line, cell) for cell in cells])
    return found


def names(cell: Piece) -> list[str]:
    """Return the code in a cell."""
    return [span[2] for span in _SPAN.finditer(cell.text)]


def first_column(page: Path, section: str) -> set[str]:
    """Return the code in the first column of the tables of a section, which must have one."""
    found = {name for table in tables(page, section) for row in table[1:] for name in names(row[0])}
    assert found, f"{page.name} has no table in its section {section!r}"
    return found


def _blocks(page: Path) -> Iterator[tuple[str, Piece]]:
    """Cut a page into prose, each paragraph on one line, and blocks of code of their kind."""
    lines = page.read_text().split("\n")
    paragraph: list[str] = []
    number = 0

    def prose_so_far() -> Iterator[tuple[str, Piece]]:
        if paragraph:
            yield "prose", Piece(page, number - len(paragraph) + 1, " ".join(line.strip() for line in paragraph))
            paragraph.clear()

    while number < len(lines):
        line = lines[number]
        if fence := _FENCE.match(line):
            yield from prose_so_far()
            end = next(i for i in range(number + 1, len(lines)) if lines[i].startswith("```"))
            yield fence[1] or "text", Piece(page, number + 2, "\n".join(lines[number + 1 : end]))
            number = end + 1
        elif line.startswith("    ") and not paragraph:
            end = number
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end]):
                end += 1
            yield "indented", Piece(page, number + 1, "\n".join(line[4:] for line in lines[number:end]).rstrip())
            number = end
        elif not line.strip() or line.startswith(("|", "#", "<!--")):
            yield from prose_so_far()
            if line.strip():
                yield "prose", Piece(page, number + 1, line)
            number += 1
        else:
            if re.match(r"\s*([-*] |\d+\. )", line):
                yield from prose_so_far()
            paragraph.append(line)
            number += 1
    yield from prose_so_far()


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return "import " in text
