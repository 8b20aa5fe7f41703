"""The page in a real browser: quiet and legible, nothing fetched, tables that sort, filter and are copied."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlperf.cli import entry_point
from tests.support.chromium import chromium
from tests.support.made_trials import log, made, new_store

MOST_BYTES = 3_000_000


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    counts = {"optimizers": 10, "scaling": 10, "architectures": 3, "cutout": 12, "approximators": 40}
    with new_store(folder) as (uri, client):
        for problem, count in counts.items():
            for number in range(count):
                log(client, made(problem, number))
        assert entry_point("compare", ["--tracking_uri", uri, "--output", str(folder / "out")]) == 0
    return folder / "out" / "report.html"


def test_it_is_one_small_file(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert len(text.encode()) < MOST_BYTES
    assert not re.search(r'(src|href)="(?!#|data:)', text), "a page without a network names nothing outside itself"
    assert "<text" in text, "text in figures is text"


@pytest.fixture(scope="module")
def browser(report: Path) -> Iterator[Any]:
    with chromium() as driver:
        driver.get(report.as_uri())
        yield driver


@pytest.mark.chromium
class TestInChromium:
    def test_no_console_message_and_no_request_but_for_the_page(self, browser: Any, report: Path) -> None:
        assert browser.get_log("browser") == []
        messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
        asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        assert report.as_uri() in asked
        assert all(url == report.as_uri() or url.startswith("data:") for url in asked), asked

    def test_figures_say_what_is_seen(self, browser: Any) -> None:
        labels = browser.execute_script(
            "return [...document.querySelectorAll('figure svg[role=img]')].map(svg => svg.getAttribute('aria-label'))"
        )
        assert len(labels) >= 10
        assert all(len(label) > 20 for label in labels), labels
        curves = next(label for label in labels if label.startswith("training loss (penalty included)"))
        assert re.search(r"adagrad from [\d.]+ to [\d.]+", curves)

    def test_every_answer_is_at_the_top_and_leads_to_its_question(self, browser: Any) -> None:
        links = browser.find_elements("css selector", "nav a.asks")
        assert len(links) >= 8
        for link in links:
            target = link.get_attribute("href").partition("#")[2]
            assert browser.find_elements("css selector", f"article#{target} .answer")

    def test_tables_sort_by_a_click(self, browser: Any) -> None:
        """Numbers as numbers, up and then down; what is missing last; all rows or the first twelve."""
        region = browser.find_element("css selector", '[aria-label^="approximators, setting 1: networks"]')
        for downwards in (False, True):
            values = [float(text.replace(",", "")) for text in click_column(browser, region, "num params")]
            assert values == sorted(values, reverse=downwards)
            assert len(set(values)) > 10
        assert region.find_elements("css selector", "th[aria-sort=descending]")
        shown = "return [...arguments[0].querySelectorAll('tbody tr')].filter(row => !row.hidden).length"
        assert browser.execute_script(shown, region) == 12
        tools = "return arguments[0].previousElementSibling"
        more, filtering = (
            browser.execute_script(f"{tools}.querySelector(arguments[1])", region, what) for what in ("button", "input")
        )
        browser.execute_script("arguments[0].click()", more)
        assert browser.execute_script(shown, region) == 40
        browser.execute_script(
            "arguments[0].value = '16,16'; arguments[0].dispatchEvent(new Event('input'))", filtering
        )
        assert 0 < browser.execute_script(shown, region) < 40

    def test_a_table_is_copied_as_csv(self, browser: Any) -> None:
        """What is copied has all rows, hidden or not, and numbers in full."""
        copied = browser.execute_async_script(
            "const done = arguments[0];"
            "navigator.clipboard.writeText = text => { done(text); return Promise.resolve(); };"
            "const region = document.querySelector('[aria-label^=\"approximators, setting 1: networks\"]');"
            "[...region.previousElementSibling.querySelectorAll('button')].at(-1).click()"
        )
        header, *rows = copied.splitlines()
        assert header.startswith("units,random seed,")
        assert len(rows) == 40
        assert any(row.startswith('"16,16"') for row in rows)

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_no_fault(self, browser: Any, report: Path, scheme: str) -> None:
        """Contrast, landmarks, names: WCAG 2.1 A and AA and axe's good practice, with the questions' folds open.

        Of one problem: axe takes minutes over thousands of cells that are made alike.
        """
        from axe_core_python.selenium import Axe

        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        browser.execute_script(
            "for (const section of document.querySelectorAll('section:not(#optimizers, #method)')) section.remove();"
            "for (const fold of document.querySelectorAll('article details')) fold.open = true"
        )
        try:
            # test_svg.py has the contrast of the figures' colours.
            violations = Axe().run(browser, {"exclude": [["figure svg"]]})["violations"]
        finally:
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
            browser.get(report.as_uri())
        faults = {fault["id"]: [node["html"][:200] for node in fault["nodes"][:3]] for fault in violations}
        assert not faults, faults

    @pytest.mark.parametrize(("width", "media"), [(390, ""), (700, "print")])
    def test_it_fits_a_phone_and_a_sheet(self, browser: Any, width: int, media: str) -> None:
        metrics = {"width": width, "height": 844, "deviceScaleFactor": 2, "mobile": width == 390}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media})
        try:
            scroll, inner = browser.execute_script(
                "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            )
            assert scroll <= inner <= width
        finally:
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
            browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def click_column(browser: Any, region: Any, name: str) -> list[str]:
    """Click on a column's name; return its cells as they then stand."""
    headers = region.find_elements("css selector", "th button")
    texts = [browser.execute_script("return arguments[0].textContent", header) for header in headers]
    place = next(place for place, text in enumerate(texts) if text.startswith(name))
    browser.execute_script("arguments[0].click()", headers[place])
    script = "return [...arguments[0].querySelectorAll('tbody tr')].map(row => row.children[arguments[1]].textContent)"
    return list(browser.execute_script(script, region, place))
