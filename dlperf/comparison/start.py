"""The start of a comparison: search, compare, show, and log it as a separate run."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dlperf import entry_points, environment
from dlperf.archive import folder as archive_folder
from dlperf.archive.folder import Archive
from dlperf.claims.verdicts import counted
from dlperf.comparison import files, markdown
from dlperf.comparison.parameters import CompareParameters
from dlperf.comparison.sections import check_names, names_in, section
from dlperf.comparison.shown import show
from dlperf.comparison.source import Source, check_run_store, opened, other_store
from dlperf.errors import BadInput, NothingFound
from dlperf.folders import page_folder, writable_folder
from dlperf.page import html
from dlperf.page.chapter import Chapter
from dlperf.page.note import note
from dlperf.parameters import Arguments, parse, sweep_texts
from dlperf.problem import Comparison
from dlperf.terminal.where import PAGE, place_of_page, say_page, say_where
from dlperf.tracking import query
from dlperf.tracking.archived import ArchivedRuns
from dlperf.tracking.reference import reference_trials
from dlperf.tracking.run import Run
from dlperf.tracking.run_source import RunSource, StoreRuns
from dlperf.tracking.server import tracking_errors
from dlperf.tracking.store import Store

_TAG_CHARACTERS = 7500  # a tag holds 8,000


def start(comparison: Comparison, raw: Mapping[str, str]) -> int:
    """Compare what the user asked for.

    Args:
        comparison: The entry point.
        raw: Parameters as the user wrote them.

    Returns:
        The exit status 0; everything else is raised.

    Raises:
        BadInput: If a parameter cannot be used.
        NothingFound: If no finished trial matches.
        EnvironmentMissing: If the tracking server cannot be reached.
    """
    arguments = parse(CompareParameters, raw)
    asked, first = arguments.trials, arguments.trials[0]
    output = writable_folder("output", Path(first.output)) if first.output else None
    with ExitStack() as stack:
        archives = [archive_folder.opened("archive", name) for name in dict.fromkeys(names_in(first.archive))]
        source = stack.enter_context(opened(first.tracking_uri, upgrade=first.upgrade, may_be_new=bool(archives)))
        stack.enter_context(tracking_errors(source.uri))
        store = Store(source.read_from, entry_point="compare")
        logs_to = _logs_to(store, source, upgrade=first.upgrade)
        adopted = logs_to.adopted() if logs_to else None
        if adopted:
            _refuse_used(adopted)
            stack.enter_context(adopted)
        elif logs_to:
            logs_to.check_experiment()
        if source.reason:
            print(f"dlperf compare: {_of_copy(source, logs_to, output)}", file=sys.stderr, flush=True)
        sections = _sections(store, source, archives, asked)
        run = adopted or (stack.enter_context(logs_to.create(comparison.name)) if logs_to else None)
        if run:
            run.begin(comparison, _name(asked), "comparison", sweep_texts(asked), _used(sections, arguments))
            run.facts({}, {"dlperf.hardware": environment.hardware()}, environment.describe())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dlperf-compare-")))
        pages = files.write(folder, sections, figures=first.curves)
        links = source.uri if source.uri.startswith("http") else ""
        markdown.write(folder / "report.md", sections, pages, links)
        html.write(folder / PAGE, sections, by="stored runs", links=links, figures=first.curves)
        kept = output
        if output:
            shutil.copytree(folder, output, dirs_exist_ok=True)
        elif first.open:
            kept = page_folder()
            kept.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / PAGE, kept)
        show(sections, curves=first.curves, wide=first.wide)
        if run:
            _log(run, sections, folder)
    if run and logs_to:
        say_where(logs_to.uri, run.experiment_id, run.id)
    if kept:
        say_page(str(kept / PAGE), opens=first.open)
    elif run and logs_to:
        say_page(place_of_page(logs_to.uri, run.experiment_id, run.id, run.artifacts_at), opens=False)
    return 0


def _logs_to(store: Store, source: Source, *, upgrade: bool) -> Store | None:
    """Return the store for the comparison's run: the compared one where it can be; None if there is none."""
    # What `mlflow run` made for this program lies where its environment says, the trials where the user says.
    if os.environ.get("MLFLOW_RUN_ID"):
        check_run_store(upgrade=upgrade)
        return Store(entry_point="compare")
    if not source.reason:
        return store
    other = other_store(source)
    return Store(other, entry_point="compare") if other else None


def _of_copy(source: Source, logs_to: Store | None, output: Path | None) -> str:
    """Say why a copy is compared, and where the comparison is kept."""
    if logs_to:
        kept = f"the comparison's run goes to {logs_to.uri}"
    else:
        files_too = f"and in {output}" if output else "alone (--output FOLDER keeps them)"
        kept = f"the comparison is no run of a store, its tables are here {files_too}"
    return f"{source.reason} is compared, and the file stays as it is; {kept}"


def _sections(
    store: Store, source: Source, archives: Sequence[Archive], asked: Sequence[CompareParameters]
) -> list[Chapter]:
    """Search and compare.

    Raises:
        NothingFound: If no problem has a finished trial.
        BadInput: If a metric, a group or the filter cannot be used.
    """
    first = asked[0]
    names = list(dict.fromkeys(parameters.problem for parameters in asked))
    labelled = len(archives) > 1 or (bool(archives) and query.has_trials(store.client, entry_points.PROBLEMS))
    # An archive's trials are labelled only where others stand beside them.
    sources: list[RunSource] = [StoreRuns(store.client), *(ArchivedRuns(one, labelled=labelled) for one in archives)]
    searches = []
    for name in names:
        problem: Any = entry_points.load_problem(name)
        repeats = first.repeats == "all"
        result: query.SearchResult[Any] = query.together(
            [query.find_trials(each, problem, filter_string=first.filter, repeats=repeats) for each in sources]
        )
        if first.curves:
            query.skip_odd_curves(result, problem)
        searches.append((problem, result))
    if not any(result.trials for _, result in searches):
        raise NothingFound(_nothing(store, source, names, first, [result for _, result in searches]))
    check_names(searches, first)
    named = any(one.name == archive_folder.REFERENCE for one in archives)
    if named and not labelled:  # there is nothing else, so that these are the trials here
        return [section(problem, result, asked) for problem, result in searches]
    return [
        section(problem, result, asked, reference_trials(problem.name), archive_folder.REFERENCE if named else "")
        for problem, result in searches
    ]


def _nothing(
    store: Store,
    source: Source,
    names: Sequence[str],
    asked: CompareParameters,
    results: Sequence[query.SearchResult[Any]],
) -> str:
    condition = f" with {asked.filter}" if asked.filter else ""
    statuses: dict[str, int] = {}
    for result in results:
        for status, unfinished in result.unfinished.items():
            statuses[status] = statuses.get(status, 0) + len(unfinished)
        if result.skipped:
            statuses["skipped"] = statuses.get("skipped", 0) + len(result.skipped)
    theirs = f", but {', '.join(f'{count} {status}' for status, count in statuses.items())}" if statuses else ""
    there = query.problems_there(store.client)
    runs = ", ".join(f"{count} runs of {name}" for name, count in sorted(there.items())) or "no run of dlperf"
    deleted = query.deleted_experiments(store.client)
    left_out = f"; experiments that were deleted are not searched: {', '.join(deleted)}" if deleted else ""
    return f"no finished trial of {', '.join(names)}{condition} at {source.uri}{theirs}; there are: {runs}{left_out}"


def _log(run: Run, sections: Sequence[Chapter], folder: Path) -> None:
    run.files(folder)
    run.describe(note(sections))
    totals = counted(verdict for compared in sections for verdict in compared.verdicts)
    counts = {f"claims_{name.replace(' ', '_')}": float(count) for name, count in totals.items()}
    trials = float(sum(len(compared.trials) for compared in sections))
    run.final_metrics({"trials_compared": trials, **counts}, again=True)


def _name(asked: Sequence[CompareParameters]) -> str:
    return f"compare problem={','.join(dict.fromkeys(parameters.problem for parameters in asked))}"


def _refuse_used(run: Run) -> None:
    """Refuse a run that already is a trial, a sweep or a comparison, and leave it as it is.

    Raises:
        BadInput: If it is one.
    """
    problem = run.tags.get("dlperf.problem")
    if problem:
        raise BadInput("MLFLOW_RUN_ID", run.id, f"is a run of {problem} already; a comparison is a run of its own")


def _used(sections: Sequence[Chapter], arguments: Arguments[CompareParameters]) -> dict[str, str]:
    """Return the tags of a comparison: its arguments, and the runs that were compared, in as many tags as they fill."""
    tags = {"dlperf.given": json.dumps(arguments.explicit)}
    for compared in sections:
        for number, names in enumerate(_filled([trial.run_id for trial in compared.trials]), 1):
            tags[f"dlperf.compared.{compared.problem.name}{f'.{number}' if number > 1 else ''}"] = names
    return tags


def _filled(names: Sequence[str]) -> Iterator[str]:
    line = ""
    for name in names:
        if len(line) + len(name) + 1 > _TAG_CHARACTERS:
            yield line
            line = ""
        line = f"{line},{name}" if line else name
    if line:
        yield line
