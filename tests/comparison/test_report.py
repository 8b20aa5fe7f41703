"""The report in a real browser: no errors, nothing fetched, tables that sort, figures with words for them."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlperf.cli import entry_point
from tests.support.made_trials import log, made

MISSING = [program for program in ("chromium", "chromedriver") if not shutil.which(program)]
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--window-size=1200,900"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import mlflow

    folder = tmp_path_factory.mktemp("report")
    uri = f"sqlite:///{folder}/mlflow.db"
    counts = {"optimizers": 10, "scaling": 10, "architectures": 3, "cutout": 12, "approximators": 40}
    with contextlib.chdir(folder):  # where MLflow puts the artifacts of such a store
        client = mlflow.MlflowClient(uri)
        for problem, count in counts.items():
            for number in range(count):
                log(client, made(problem, number))
        assert entry_point("compare", ["--tracking_uri", uri, "--output", str(folder / "out")]) == 0
    return folder / "out" / "report.html"


@pytest.fixture(scope="module")
def browser(report: Path) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(shutil.which("chromedriver"))))
    try:
        driver.get(report.as_uri())
        yield driver
    finally:
        driver.quit()


pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)} on PATH"),
]


def test_no_console_errors_and_no_request_but_for_the_page(browser: Any, report: Path) -> None:
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert report.as_uri() in asked
    assert all(url == report.as_uri() or url.startswith("data:") for url in asked), asked


def test_figures_are_there_and_say_what_they_show(browser: Any) -> None:
    pictures = browser.find_elements("css selector", "img")
    assert len(pictures) >= 10
    assert all(picture.get_attribute("alt") and len(picture.get_attribute("alt")) > 10 for picture in pictures)
    browser.execute_script("for (const picture of document.images) picture.loading = 'eager'")
    loaded = browser.execute_async_script(
        "const done = arguments[0], pictures = [...document.images];"
        "Promise.all(pictures.map(i => i.decode())).then(() => done(pictures.map(i => i.naturalWidth)))"
    )
    assert all(width > 100 for width in loaded)


def click_column(browser: Any, table: Any, name: str) -> list[str]:
    """Click on a column's name; return its cells as they then stand."""
    headers = table.find_elements("css selector", "th button")
    place = next(place for place, header in enumerate(headers) if header.text.startswith(name))
    browser.execute_script("arguments[0].click()", headers[place])
    script = "return [...arguments[0].tBodies[0].rows].map(row => row.children[arguments[1]].textContent)"
    return list(browser.execute_script(script, table, place))


def test_tables_sort_by_a_click(browser: Any) -> None:
    """Numbers as numbers, up and then down; what is missing last."""
    networks = browser.find_element("css selector", "#approximators h4 + .wide table")
    for downwards in (False, True):
        values = [float(text.replace(",", "")) for text in click_column(browser, networks, "num params")]
        assert values == sorted(values, reverse=downwards)
        assert len(set(values)) > 10
    assert networks.find_elements("css selector", "th[aria-sort=descending]")
    names = click_column(browser, networks, "units")
    assert names[0] == "16"
    claims = browser.find_element("css selector", "#cutout h3 + p + .wide table")
    shown = click_column(browser, claims, "here")
    known = [text for text in shown if text != "-"]
    assert 0 < len(known) < len(shown)
    assert shown[: len(known)] == known


def test_it_fits_a_phone(browser: Any) -> None:
    browser.set_window_size(500, 900)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    )
    try:
        scroll, width = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert scroll <= width == 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
