"""What a comparison says of one problem: its settings, their tables and figures, and the verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dlperf.analysis.measures import fact, is_of_learning
from dlperf.analysis.settings import Setting, across_machines, settings
from dlperf.claims.ledger import claims
from dlperf.claims.verdicts import Verdict, beside, verdicts
from dlperf.comparison import audit, groups
from dlperf.errors import BadInput
from dlperf.problem import Problem, Summary
from dlperf.tracking.query import SearchResult
from dlperf.tracking.reference import reference_verdicts

if TYPE_CHECKING:
    import pandas as pd

    from dlperf.comparison.parameters import CompareParameters

# Beside the metrics that runs have: one is derived, and a target may never have been reached.
_ALWAYS = ("seconds_per_epoch", *groups.TO_TARGET)


@dataclass
class SettingSection:
    """One setting of a problem.

    Attributes:
        setting: Its trials.
        summary: What the problem's `summarize` makes of them.
        tables: Means by group, times to the target, the audit of early stopping, by name; empty ones are left out. The
            first of settings that differ in hardware alone has the means of losses and accuracies over all of them.
    """

    setting: Setting[Any]
    summary: Summary
    tables: dict[str, pd.DataFrame]


@dataclass
class Section:
    """One problem.

    Attributes:
        problem: The problem.
        search: The result of the search.
        settings: Its settings, the one with the most trials first.
        overview: A row per setting.
        verdicts: On all claims about the problem, those of the reference beside them.
    """

    problem: Problem[Any]
    search: SearchResult[Any]
    settings: list[SettingSection] = field(default_factory=list)
    overview: pd.DataFrame | None = None
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def left_out(self) -> list[str]:
        """Lines that say which runs are not in the tables, and why."""
        search, lines = self.search, []
        for status, names in sorted(search.unfinished.items()):
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            lines.append(f"{len(names)} {status}: {'; '.join(sorted(names)[:5])}{more}")
        if search.repeated:
            lines.append(f"{len(search.repeated)} older runs of the same trials (repeats=all keeps them)")
        lines += [f"skipped {name}: {reason}" for name, reason in sorted(search.skipped.items())]
        return lines


def section(problem: Problem[Any], search: SearchResult[Any], asked: Sequence[CompareParameters]) -> Section:
    """Compare the stored trials of a problem."""
    first = asked[0]
    sorted_out = settings(problem, search.trials)
    judged = verdicts(claims(problem.name), sorted_out, curves=first.curves)
    made = Section(problem, search, verdicts=beside(judged, reference_verdicts(problem.name)))
    if search.trials:
        patiences = list(dict.fromkeys(parameters.patience for parameters in asked))
        made.settings = [_setting_section(problem, setting, first, patiences) for setting in sorted_out]
        for together in across_machines(sorted_out):
            part = made.settings[together.number - 1]
            if together is not part.setting:
                names, metrics = _asked_for(problem, together, first)
                learned = [metric for metric in metrics if is_of_learning(metric)]
                part.tables["means_over_machines"] = groups.mean_table(together, names, learned, curves=first.curves)
        made.overview = groups.setting_table(sorted_out)
    return made


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


def _setting_section(
    problem: Problem[Any], setting: Setting[Any], asked: CompareParameters, patiences: Sequence[int]
) -> SettingSection:
    group_by, metrics = _asked_for(problem, setting, asked)
    tables = {
        "means": groups.mean_table(setting, group_by, metrics, curves=asked.curves),
        "time_to_target": groups.target_table(setting, group_by, metrics),
    }
    if asked.curves and problem.monitor:
        tables["early_stopping"] = audit.audit(setting, problem.monitor, group_by, patiences)
    shown = {name: table for name, table in tables.items() if len(table)}
    return SettingSection(setting, problem.summarize(setting.trials), shown)


def _asked_for(problem: Problem[Any], setting: Setting[Any], asked: CompareParameters) -> tuple[list[str], list[str]]:
    """What means are grouped by, and the metrics that have one."""
    trials = setting.trials
    group_by = [name for name in names_in(asked.group_by) if any(fact(t, name) is not None for t in trials)]
    return group_by or groups.default_groups(problem, trials), names_in(asked.metric) or list(problem.compared)
