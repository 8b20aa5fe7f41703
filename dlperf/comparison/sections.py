"""What a comparison hands to the page of every problem, and the names that a user may give it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlperf.errors import BadInput
from dlperf.page import groups
from dlperf.page.chapter import Chapter, Reading, chapter
from dlperf.problem import Problem
from dlperf.tracking.query import SearchResult
from dlperf.trial import StoredTrial

if TYPE_CHECKING:
    from dlperf.comparison.parameters import CompareParameters

# Beside the metrics that runs have: one is derived, and a target may never have been reached.
_ALWAYS = ("seconds_per_epoch", *groups.TO_TARGET)


def section(
    problem: Problem[Any],
    search: SearchResult[Any],
    asked: Sequence[CompareParameters],
    reference: Sequence[StoredTrial[Any]] = (),
    reference_archive: str = "",
) -> Chapter:
    """Compare the stored trials of a problem; `chapter` says what the reference is."""
    first = asked[0]
    reading = Reading(
        names_in(first.group_by),
        names_in(first.metric),
        list(dict.fromkeys(parameters.patience for parameters in asked)),
        first.curves,
    )
    return chapter(
        problem,
        search.trials,
        reading=reading,
        left_out=left_out(search),
        reference=reference,
        reference_archive=reference_archive,
    )


def left_out(search: SearchResult[Any]) -> list[str]:
    """Return lines that say which runs are not in the tables, and why."""
    lines = []
    for status, names in sorted(search.unfinished.items()):
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        lines.append(f"{len(names)} {status}: {'; '.join(sorted(names)[:5])}{more}")
    if search.repeated:
        lines.append(f"{len(search.repeated)} older runs of the same trials (repeats=all keeps them)")
    return lines + [f"skipped {name}: {reason}" for name, reason in sorted(search.skipped.items())]


def check_names(searches: Sequence[tuple[Problem[Any], SearchResult[Any]]], asked: CompareParameters) -> None:
    """Refuse a metric or a group that no trial has.

    Raises:
        BadInput: Naming those that there are.
    """
    trials = [trial for _, search in searches for trial in search.trials]
    metrics = {name for trial in trials for name in trial.metrics} | {*_ALWAYS}
    facts = {name for trial in trials for name in (*type(trial.parameters).model_fields, *trial.logged_params)}
    for parameter, listed, valid in (("metric", asked.metric, metrics), ("group_by", asked.group_by, facts)):
        for name in names_in(listed):
            if name not in valid:
                raise BadInput(parameter, listed, f"no such {parameter} {name} (valid: {', '.join(sorted(valid))})")


def names_in(text: str) -> list[str]:
    """Return the names in a list with commas between."""
    return [name.strip() for name in text.split(",") if name.strip()]
