"""The README stays short, links lead somewhere, pictures say what they show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dlperf.entry_points import PROBLEMS
from tests.docs.pages import DOCS, PAGES, RESULTS, ROOT, anchors, images, links, prose

CONTRIBUTING = ROOT / "CONTRIBUTING.md"
MOST_LINES = {ROOT / "README.md": 120}
MOST_LINES_OF_A_PAGE = 150


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_a_page_can_be_read_in_one_go(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert len(lines) <= MOST_LINES.get(page, MOST_LINES_OF_A_PAGE)


@pytest.mark.parametrize("page", [*PAGES, CONTRIBUTING, *RESULTS], ids=page_name)
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    broken = []
    for link, _ in links(page):
        target, _, anchor = link.text.partition("#")
        if "://" in target:
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(str(link))
    assert not broken


@pytest.mark.parametrize("page", [*PAGES, CONTRIBUTING, *RESULTS], ids=page_name)
def test_pictures_say_in_words_what_they_show(page: Path) -> None:
    silent = [str(image) for image, alternative in images(page) if len(alternative) < 4]
    assert not silent


@pytest.mark.parametrize("page", [*PAGES, CONTRIBUTING, *RESULTS], ids=page_name)
def test_nothing_is_left_to_be_filled_in(page: Path) -> None:
    """Comments are there only around what `make results` writes."""
    rest = re.sub(r"<!-- results: \w+ -->\n[^<]+\n<!-- end of results -->\n", "", page.read_text())
    assert "<!--" not in rest


def test_every_page_of_docs_is_in_its_index_and_named_in_the_readme() -> None:
    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    index = {link.text.partition("#")[0] for link, _ in links(DOCS / "README.md")}
    readme = {link.text.partition("#")[0].removeprefix("docs/") for link, _ in links(ROOT / "README.md")}
    assert pages <= index
    assert pages <= readme


def test_the_readme_shows_one_figure() -> None:
    assert len(images(ROOT / "README.md")) == 1


def test_every_problem_page_has_the_same_sections() -> None:
    """One who has read one page knows where to look on the next."""
    for problem in PROBLEMS:
        headings = [piece.text for piece in prose(DOCS / f"{problem}.md") if piece.text.startswith("## ")]
        wanted = ["## Commands", "## Parameters", "## What is measured", "## Result", "## Sources"]
        assert [heading for heading in headings if heading != "## Protocols"] == wanted, problem
