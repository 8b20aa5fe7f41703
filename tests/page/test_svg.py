"""Figures in a page: text is text, colours are those of the page and can be told from it."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import matplotlib.colors
import pytest
from matplotlib.figure import Figure

from dlperf.page.svg import PALETTE, in_words, palette_css, svg


def figure() -> Figure:
    drawn = Figure()
    axes = drawn.subplots()
    axes.plot([1, 2, 3], [3.0, 2.0, 1.5], label="a <b>", color="#0173b2")
    axes.set(title="loss & error", xlabel="epoch", ylabel="loss")
    axes.legend()
    return drawn


def test_it_is_xml_with_text_and_a_label() -> None:
    text = svg(figure(), "problem-loss")
    root = ElementTree.fromstring(text.replace("xlink:href", "href"))
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "loss & error: loss against epoch: a <b> from 3 to 1.5"
    assert "epoch" in {node.text for node in root.iter() if node.tag.endswith("text")}
    assert "var(--c0)" in text
    assert "currentColor" in text
    names = [node.attrib["id"] for node in root.iter() if "id" in node.attrib]
    assert names
    assert all(name.startswith("problem-loss-") for name in names)
    pointed = re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text)
    assert set(pointed) <= set(names)


def test_equal_figures_are_equal_bytes_and_stay_as_they_are() -> None:
    drawn = figure()
    assert svg(drawn, "one") == svg(drawn, "one") == svg(figure(), "one")


def test_a_figure_without_anything_has_words() -> None:
    assert in_words(Figure()) == "a figure"


def luminance(colour: str) -> float:
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in matplotlib.colors.to_rgb(colour)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize(("page", "paper"), [(0, "#ffffff"), (1, "#17191c")])
def test_the_palette_stands_out_from_the_page(page: int, paper: str) -> None:
    """WCAG 2.1, success criterion 1.4.11: 3 to 1."""
    shades = [shades[page] for shades in PALETTE.values()]
    assert min(contrast(shade, paper) for shade in shades) >= 3
    assert len(set(shades)) == len(shades)
    css = palette_css()[page]
    assert all(f"--c{place}:{shade};" in css for place, shade in enumerate(shades))
    assert all(a != b for a, b in itertools.pairwise(shades))
