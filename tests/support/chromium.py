"""A headless Chromium, for tests of what a user sees."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

MISSING = [program for program in ("chromium", "chromedriver") if not shutil.which(program)]
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@contextmanager
def chromium(width: int = 1200, height: int = 900) -> Iterator[Any]:
    """Start a browser with a window of this size, in pixels, for the block; skip the test where there is none."""
    if MISSING:
        pytest.skip(f"needs {' and '.join(MISSING)} on PATH")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(shutil.which("chromedriver"))))
    driver.set_script_timeout(120)  # axe takes its time where other tests run beside
    try:
        yield driver
    finally:
        driver.quit()
