"""What a page says of one problem: questions with answers, settings with tables and figures, and the verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dlperf.analysis.measures import fact, is_of_learning
from dlperf.analysis.settings import Setting, across_machines, settings
from dlperf.claims.ledger import claims
from dlperf.claims.verdicts import NOT_MEASURED, Verdict, beside, verdicts
from dlperf.page import audit, groups
from dlperf.page.answers import Answered, answers
from dlperf.problem import Problem, Summary
from dlperf.trial import StoredTrial

if TYPE_CHECKING:
    import pandas as pd

_SAYS_NOTHING = ("", "default", "0", "unknown")


@dataclass(frozen=True)
class Reading:
    """How trials are read.

    Attributes:
        group_by: Parameters or logged facts over whose values means are taken; the problem's own where there are none.
        metrics: Metrics of which means are taken; likewise.
        patiences: Patiences, in epochs, that the audit of stopping replays.
        curves: Read the epochs' curves, which figures and the audit need.
    """

    group_by: Sequence[str] = ()
    metrics: Sequence[str] = ()
    patiences: Sequence[int] = (5, 10, 20, 40)
    curves: bool = True


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

    @property
    def facts(self) -> dict[str, str]:
        """What its trials share, without what says nothing."""
        return {name: value for name, value in self.setting.facts.items() if value not in _SAYS_NOTHING}


@dataclass
class Chapter:
    """One problem.

    Attributes:
        problem: The problem.
        trials: Its finished trials.
        left_out: Lines that say which runs are not among them, and why.
        settings: Its settings, the one with the most trials first.
        overview: A row per setting.
        verdicts: On all claims about the problem.
        answers: The assignment's questions.
        reference: By number of a setting of the trials that come with dlperf, which answers a question, what
            `summarize` makes of it; empty where they are not shown beside.
    """

    problem: Problem[Any]
    trials: Sequence[StoredTrial[Any]]
    left_out: Sequence[str] = ()
    settings: list[SettingSection] = field(default_factory=list)
    overview: pd.DataFrame | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    reference: dict[int, Summary] = field(default_factory=dict)

    def runs(self, links: str) -> list[tuple[str, str, str]]:
        """Return name, run and address of every trial, the oldest first.

        Args:
            links: The tracking server's address; "" where it has no pages, and addresses are "" too.
        """
        trials = sorted(self.trials, key=lambda trial: (trial.started, trial.run_id))
        return [
            (t.tags.get("mlflow.runName", t.run_id), t.run_id, f"{links}/#/runs/{t.run_id}" if links else "")
            for t in trials
        ]


def chapter(
    problem: Problem[Any],
    trials: Sequence[StoredTrial[Any]],
    *,
    reading: Reading | None = None,
    left_out: Sequence[str] = (),
    reference: Sequence[StoredTrial[Any]] = (),
    reference_archive: str = "",
) -> Chapter:
    """Compare the finished trials of a problem.

    Args:
        problem: The problem.
        trials: The trials.
        reading: How they are read.
        left_out: Lines that say which runs are not among them.
        reference: The trials that come with dlperf.
        reference_archive: The archive that has these, where they are among `trials` too: settings of it are laid out,
            but no verdict or answer of here rests on them.
    """
    reading = reading or Reading()
    sorted_out = settings(problem, trials)
    here = [one for one in sorted_out if not reference_archive or one.circumstances.get("archive") != reference_archive]
    made = Chapter(problem, trials, left_out)
    judged = verdicts(claims(problem.name), here, curves=reading.curves)
    of_reference = settings(problem, reference)
    made.verdicts = beside(judged, verdicts(claims(problem.name), of_reference)) if of_reference else judged
    if trials:
        made.settings = [_setting_section(problem, setting, reading) for setting in sorted_out]
        for together in across_machines(sorted_out):
            part = made.settings[together.number - 1]
            if together is not part.setting:
                names, metrics = _asked_for(problem, together, reading)
                learned = [metric for metric in metrics if is_of_learning(metric)]
                part.tables["means_over_machines"] = groups.mean_table(together, names, learned, curves=reading.curves)
        made.overview = groups.setting_table(sorted_out)
    made.answers = answers(problem, here, made.verdicts, of_reference)
    answering = {answered.reference_setting.number for answered in made.answers if answered.reference_setting}
    made.reference = {one.number: problem.summarize(one.trials) for one in of_reference if one.number in answering}
    return made


def measured_ones(judged: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts that trials, or a computation, led to."""
    return [verdict for verdict in judged if verdict.verdict != NOT_MEASURED]


def _setting_section(problem: Problem[Any], setting: Setting[Any], reading: Reading) -> SettingSection:
    group_by, metrics = _asked_for(problem, setting, reading)
    tables = {
        "means": groups.mean_table(setting, group_by, metrics, curves=reading.curves),
        "time_to_target": groups.target_table(setting, group_by, metrics),
    }
    if reading.curves and problem.monitor:
        tables["early_stopping"] = audit.audit(setting, problem.monitor, group_by, reading.patiences)
    shown = {name: table for name, table in tables.items() if len(table)}
    return SettingSection(setting, problem.summarize(setting.trials), shown)


def _asked_for(problem: Problem[Any], setting: Setting[Any], reading: Reading) -> tuple[list[str], list[str]]:
    """What means are grouped by, and the metrics that have one."""
    group_by = [name for name in reading.group_by if any(fact(trial, name) is not None for trial in setting.trials)]
    return group_by or groups.default_groups(problem, setting.trials), list(reading.metrics) or list(problem.compared)
