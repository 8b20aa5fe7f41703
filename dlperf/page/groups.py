"""Means over repetitions by groups of trials, and times to a target that some never reached."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dlperf.analysis.balance import balanced
from dlperf.analysis.measures import Trials, cells, fact, is_of_time, measured
from dlperf.analysis.settings import Setting, differing, timed
from dlperf.analysis.statistics import mean_of, time_to
from dlperf.metric_names import best, has_best
from dlperf.parameters import describe
from dlperf.problem import Problem

TO_TARGET = {"seconds_to_target": "train_seconds", "epochs_to_target": "epochs_run"}
"""Metrics that only trials which reached the target have, and the metrics that say how long the others were trained."""


def default_groups(problem: Problem[Any], trials: Trials) -> list[str]:
    """Return what trials are grouped by unless the user says it; what is rarely varied only where it varies."""
    often = problem.grouped_by or tuple(name for name in problem.varying if name != "random_seed")
    rarely = [name for name in problem.varying_rarely if len({fact(trial, name) for trial in trials}) > 1]
    return [*often, *rarely]


def mean_table(setting: Setting[Any], group_by: Sequence[str], metrics: Sequence[str], *, curves: bool) -> pd.DataFrame:
    """Return means with intervals: a row per group and metric, and for a metric of epochs one for its best value.

    Columns: `group_by`; metric; n, the independent values: trials, or random seeds where kinds of trial are averaged
    over; mean, sd, low and high, the 95 % interval of the mean, missing for one value; min, max, of the trials;
    averaged_over, what else but the random seed differs between the trials of a group, and which of its random seeds
    have the same kinds of trial, where not all do; emulated, why they say nothing about real devices, where they do
    not; and disturbed, of a time, beside how many trials other programs ran.

    Args:
        setting: The trials.
        group_by: Names of parameters or logged facts.
        metrics: Names of metrics; times to a target stand in `target_table`.
        curves: Read the epochs' curves for the best value where the run has not logged it.
    """
    rows = []
    for kind, trials in grouped(setting.trials, group_by).items():
        mixed = ", ".join(_mixed(trials, group_by))
        emulated = "; ".join(sorted({t.tags["dlperf.emulated"] for t in trials if t.tags.get("dlperf.emulated")}))
        for metric in metrics:
            if metric in TO_TARGET:
                continue
            of, disturbed = timed(trials) if is_of_time(metric) else (trials, "")
            for name, values in ((metric, measured(of, metric)), (f"best {metric}", _best(of, metric, curves))):
                if not values:
                    continue
                # Networks that are all there are no draws, and tell nothing of how far a mean varies.
                compared = balanced(cells(of, values))
                own = compared.means() if mixed else _by_run(of, values)
                mean = mean_of(list(own.values()), [machine for _, machine in own])
                rows.append(
                    {
                        **dict(zip(group_by, kind, strict=True)),
                        **{"metric": name, "n": mean.n, "mean": mean.mean, "sd": mean.sd},
                        **{"low": mean.low, "high": mean.high},
                        **{"min": min(values.values()), "max": max(values.values())},
                        "averaged_over": ": ".join(filter(None, (mixed, compared.left_out if mixed else ""))),
                        **{"emulated": emulated, "disturbed": disturbed},
                    }
                )
    table = pd.DataFrame(rows)
    needless = [name for name in ("averaged_over", "emulated", "disturbed") if rows and not table[name].any()]
    return table.drop(columns=needless)


def target_table(setting: Setting[Any], group_by: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """Return times to the target by group; early stopping competes with it, the end of a training censors.

    Columns: `group_by`; metric; n; reached, how many; median, when a half had reached it by the cumulative incidence,
    missing where that does not come to a half; not_reached_in, the longest time that one was trained without it; and
    disturbed, of a time, beside how many trials other programs ran.
    """
    rows = []
    for kind, trials in grouped(setting.trials, group_by).items():
        for metric in metrics:
            if metric not in TO_TARGET or not any("dlperf.target_reached" in trial.tags for trial in trials):
                continue
            aimed = [trial for trial in trials if "dlperf.target_reached" in trial.tags]
            aimed, disturbed = timed(aimed) if is_of_time(metric) else (aimed, "")
            reached = [trial.metrics[metric] for trial in aimed if metric in trial.metrics]
            without = [trial for trial in aimed if metric not in trial.metrics]
            stopped, followed = (
                [
                    trial.metrics[TO_TARGET[metric]]
                    for trial in without
                    if bool(trial.metrics.get("stopped_early")) == early
                ]
                for early in (True, False)
            )
            times = time_to(reached, followed, stopped)
            rows.append(
                {
                    **dict(zip(group_by, kind, strict=True)),
                    **{"metric": metric, "n": times.n, "reached": f"{times.reached} of {times.n}"},
                    **{"median": times.median, "not_reached_in": times.longest, "disturbed": disturbed},
                }
            )
    table = pd.DataFrame(rows)
    return table if rows and table["disturbed"].any() else table.drop(columns="disturbed", errors="ignore")


def setting_table(settings: Sequence[Setting[Any]]) -> pd.DataFrame:
    """Return a row per setting: its trials, its circumstances, and what differs between settings."""
    names = [name for name in differing(setting.facts for setting in settings) if name in settings[0].parameters]
    return pd.DataFrame(
        {
            "setting": setting.number,
            "trials": len(setting.trials),
            **setting.circumstances,
            "commits": _commits(setting.trials),
            **{name: setting.parameters.get(name, "") for name in names},
        }
        for setting in settings
    )


def grouped(trials: Trials, group_by: Sequence[str]) -> Mapping[tuple[Any, ...], Trials]:
    """Return trials by the values of the named facts, in the order of these."""
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for trial in trials:
        groups.setdefault(tuple(fact(trial, name) for name in group_by), []).append(trial)
    return dict(sorted(groups.items(), key=lambda item: [_order(value) for value in item[0]]))


def _order(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return not number, float(value) if number else 0.0, str(value)


def _commits(trials: Trials) -> str:
    """The commits of the code that ran the trials; people may know that nothing that matters differs between them."""
    commits = sorted({trial.tags.get("mlflow.source.git.commit", "unknown")[:7] for trial in trials})
    return ", ".join(commits[:3]) + (f" and {len(commits) - 3} more" if len(commits) > 3 else "")


def _mixed(trials: Trials, group_by: Sequence[str]) -> list[str]:
    """Names of parameters that differ between trials of a group, which its mean hides."""
    grouping = ("random_seed", *group_by)
    names = [p.name for p in describe(type(trials[0].parameters)) if not p.operational and p.name not in grouping]
    mixed = [name for name in names if len({fact(trial, name) for trial in trials}) > 1]
    keys = {trial.tags.get("dlperf.trial_key", trial.run_id) for trial in trials}
    return [*mixed, "repeats of a trial"] if len(keys) < len(trials) else mixed


def _by_run(trials: Trials, values: Mapping[str, float]) -> dict[tuple[Any, str], float]:
    return {(t.run_id, fact(t, "hardware")): values[t.run_id] for t in trials if t.run_id in values}


def _best(trials: Trials, metric: str, curves: bool) -> dict[str, float]:
    if not has_best(metric):
        return {}
    logged = measured(trials, f"best_{metric}")
    if not curves:
        return logged
    read = {
        t.run_id: best(metric, list(t.history[metric]))
        for t in trials
        if t.run_id not in logged and metric in t.history
    }
    return {run: value for run, value in (logged | read).items() if math.isfinite(value)}
