"""MLflow's own UI in a real browser: what a sweep's page opens with, its artifacts, and the view of its trials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from dlperf import entry_points
from dlperf.claims.verdicts import in_words
from dlperf.runner import page
from dlperf.terminal.where import PAGE
from dlperf.tracking import view
from dlperf.tracking.run import PARENT
from dlperf.tracking.store import Store
from tests.support.chromium import chromium
from tests.support.made_trials import log, made
from tests.support.served_desk import served

PROBLEM: Any = entry_points.load_problem("cutout")
SECONDS = 60

pytestmark = [pytest.mark.chromium, pytest.mark.slow]


@dataclass
class Sweep:
    """A sweep that was never trained, and a browser.

    Attributes:
        browser: The browser.
        experiment: The address of its experiment in the UI.
        run_id: Its run.
        trials: The names of its trials.
        sentence: What its table says.
    """

    browser: Any
    experiment: str
    run_id: str
    trials: list[str]
    sentence: str

    def open(self, path: str) -> None:
        self.browser.get("about:blank")  # the UI reads some of an address only when it starts
        self.browser.get(f"{self.experiment}{path}")

    def wait_for(self, script: str, *arguments: Any) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.browser, SECONDS).until(lambda browser: browser.execute_script(script, *arguments))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    folder = tmp_path_factory.mktemp("ui")
    with (
        chromium(1600, 1000) as browser,
        served(folder, f"sqlite:///{folder}/mlflow.db") as desk,
        pytest.MonkeyPatch.context() as environment,
    ):
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
            environment.delenv(name, raising=False)
        store = Store(desk.uri, entry_point=PROBLEM.name)
        store.offer_view(PROBLEM)
        parent = store.create(PROBLEM.name)
        with parent:
            parent.begin(PROBLEM, "cutout m=0,2", "sweep", {"m": "0,2", "random_seed": "0,1"}, {})
            trials = [made(PROBLEM.name, number) for number in range(6)]
            for trial in trials:
                trial.tags[PARENT] = parent.id
            stored = store.read_trials(PROBLEM, [log(store.client, trial, store.experiment_id) for trial in trials])
            summary, chapter = PROBLEM.summarize(stored), page.of(PROBLEM, stored)
            parent.summary(summary, in_words(chapter.verdicts), view.key(PROBLEM.name))
            page.log(parent, store, [chapter], "the trials of a sweep")
        yield Sweep(
            browser,
            f"{desk.uri}/#/experiments/{store.experiment_id}",
            parent.id,
            [trial.name for trial in trials],
            summary.sentences["cutout"],
        )


def test_a_sweeps_page_opens_with_its_sentence_its_verdicts_and_its_figure(sweep: Sweep) -> None:
    sweep.open(f"/runs/{sweep.run_id}")
    text = sweep.wait_for(
        "const text = document.body.innerText; return text.includes('Claims: ') ? text : null",
    )
    assert sweep.sentence in " ".join(text.split())
    width = sweep.wait_for(
        "const picture = document.querySelector('img[src*=\"plots/\"]');"
        "return picture && picture.complete ? picture.naturalWidth : null"
    )
    assert width > 300


def test_the_page_is_among_its_artifacts_and_shown(sweep: Sweep) -> None:
    sweep.open(f"/runs/{sweep.run_id}/artifacts/{PAGE}")
    sweep.wait_for(f"return document.body.innerText.includes('{PAGE}')")
    frame = sweep.wait_for("return document.querySelector('iframe')")
    sweep.browser.switch_to.frame(frame)
    try:
        assert sweep.wait_for("return document.querySelector('h1')?.innerText") == "What was found"
    finally:
        sweep.browser.switch_to.default_content()


def test_the_view_shows_the_trials_by_what_varies_and_what_is_compared(sweep: Sweep) -> None:
    """Its address is in the description of the sweep."""
    sweep.open(f"/runs/{sweep.run_id}")
    address = sweep.wait_for("return document.querySelector('a[href*=viewStateShareKey]')?.href")
    assert address.startswith(f"{sweep.experiment}/runs?viewStateShareKey=dlperf-cutout&")
    sweep.open(address.removeprefix(sweep.experiment))
    wanted = [*PROBLEM.varying, *PROBLEM.compared]
    shown = sweep.wait_for(
        "const headers = [...document.querySelectorAll('[role=columnheader][col-id]')]"
        ".filter(header => /^(params|metrics)\\./.test(header.getAttribute('col-id')))"
        ".sort((one, other) => one.getBoundingClientRect().x - other.getBoundingClientRect().x)"
        ".map(header => header.innerText.trim());"
        "return headers.length >= arguments[0] ? headers : null",
        len(wanted),
    )
    assert shown == wanted
    names = sweep.wait_for(
        "const names = [...document.querySelectorAll('[role=row] a[href*=\"/runs/\"]')].map(link => link.innerText);"
        "return names.length >= arguments[0] ? names : null",
        len(sweep.trials),
    )
    assert sorted(names) == sorted(sweep.trials)  # no sweep among them
