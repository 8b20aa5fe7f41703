"""A figure as SVG that lives in a page: its text is text, and its colours are the page's, light or dark."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import numpy as np

from dlperf.tables import cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = {
    **{"#0173b2": ("#0173b2", "#5ab4f0"), "#de8f05": ("#a66a00", "#f0b04a"), "#029e73": ("#02805d", "#3fd0a5")},
    **{"#d55e00": ("#c25500", "#ff9451"), "#cc78bc": ("#a84f97", "#e0a0d4"), "#ca9161": ("#95602f", "#d9ab83")},
    **{"#fbafe4": ("#b0578f", "#fbafe4"), "#949494": ("#6f6f6f", "#b0b0b0"), "#ece133": ("#857c00", "#ece133")},
    "#56b4e9": ("#2680b5", "#7cc9f2"),
}
"""Seaborn's palette `colorblind`, as figures draw it, by what a light and a dark page show instead: each has a contrast
of at least 3 to 1 there, as WCAG 2.1 asks of graphics (success criterion 1.4.11)."""

_PAPER = ("#ffffff",)
_INK = ("#000000", "#262626")
_FAINT = ("#cccccc", "#b0b0b0", "#d3d3d3")


def svg(figure: Figure, name: str) -> str:
    """Write a figure as an SVG element, the same every time.

    Args:
        figure: The figure; it stays as it is.
        name: Unique in the page: the element's identifiers follow from it.

    Returns:
        The element, labelled with what the figure shows.
    """
    import matplotlib

    content = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(
            content,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    text = content.getvalue().decode()
    return _for_page(text[text.index("<svg") :], name, in_words(figure))


def palette_css() -> tuple[str, str]:
    """Return the declarations of the palette's CSS variables, for light and for dark pages."""
    light, dark = (
        "".join(f"--c{place}:{shades[page]};" for place, shades in enumerate(PALETTE.values())) for page in (0, 1)
    )
    return light, dark


def in_words(figure: Figure) -> str:
    """Say what a figure shows: titles, axes, and where each of its lines begins and ends."""
    suptitle = figure.get_suptitle()
    parts = [suptitle] if suptitle else []
    for axes in figure.axes:
        title = axes.get_title().replace("\n", ", ")
        along = " against ".join(filter(None, (axes.get_ylabel(), axes.get_xlabel())))
        named = ": ".join(filter(None, (title, along if along != title else "")))
        lines = _lines_in_words(axes)
        parts.append(": ".join(filter(None, (named, lines))))
    return "; ".join(dict.fromkeys(filter(None, parts))) or "a figure"


def _lines_in_words(axes: Axes) -> str:
    said = []
    for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
        # A legend of its own, as seaborn makes it, has handles that are not the lines that are drawn, or are empty.
        colour = getattr(handle, "get_color", lambda: None)()
        alike = [line for line in axes.lines if line.get_label() == label or line.get_color() == colour]
        curves = [curve for line in alike if len(curve := np.asarray(line.get_ydata(), float)) > 1]
        y = curves[0] if curves else np.empty(0)
        ends = f" from {cell(float(y[0]))} to {cell(float(y[-1]))}" if len(y) > 1 else ""
        said.append(f"{label}{ends}")
    return ", ".join(dict.fromkeys(said))


def _for_page(text: str, name: str, alternative: str) -> str:
    from markupsafe import escape

    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    for place, colour in enumerate(PALETTE):
        text = text.replace(colour, f"var(--c{place})")
    for colour in _INK:
        text = text.replace(colour, "currentColor")
    for colour in _PAPER:
        text = text.replace(colour, "var(--paper)")
    for colour in _FAINT:
        text = text.replace(colour, "var(--faint)")
    # Text without a colour of its own is black, and so are the marks of the axes.
    text = re.sub(r"font: ([^;'\"]*?)px [^;\"]*?(?=[;\"])", r"font: \1px system-ui, sans-serif", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{name}-", text)
    text = re.sub(r"\s*\n\s*", "\n", text)
    opening = re.match(r"<svg[^>]*>", text)
    assert opening is not None
    box = re.search(r'viewBox="([^"]*)"', opening.group())
    assert box is not None
    head = f'<svg viewBox="{box.group(1)}" role="img" aria-label="{escape(alternative)}" fill="currentColor">'
    return head + text[opening.end() :]
