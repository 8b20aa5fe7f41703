"""The page that ends a sweep, or the demo: its own trials beside those that come with dlperf."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlperf.page import html
from dlperf.page.chapter import Chapter, chapter
from dlperf.problem import Problem
from dlperf.terminal.where import PAGE
from dlperf.tracking.reference import reference_trials
from dlperf.tracking.run import Run
from dlperf.tracking.store import Store
from dlperf.trial import StoredTrial


def of(problem: Problem[Any], trials: Sequence[StoredTrial[Any]]) -> Chapter:
    """Compare trials with each other, with the reference and with what was published."""
    return chapter(problem, trials, reference=reference_trials(problem.name))


def log(run: Run, store: Store, chapters: Sequence[Chapter], by: str) -> None:
    """Log the page of a run; `by` says what answers the questions."""
    with tempfile.TemporaryDirectory(prefix="dlperf-page-") as folder:
        html.write(Path(folder) / PAGE, chapters, by=by, links=store.uri if store.uri.startswith("http") else "")
        run.files(Path(folder))


def trials_of(store: Store, problem: Problem[Any], run: Run) -> list[StoredTrial[Any]]:
    """Read the trials of a run that has finished: itself, or those below it."""
    children = store.children(run).values()
    return store.read_trials(problem, [child.id for child in children or [run] if child.finished])
