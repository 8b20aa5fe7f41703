"""Means over repetitions by groups of trials, and times to a target of which some were never reached."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dlperf.analysis.measures import Trials, fact, measured
from dlperf.analysis.settings import Setting, differing
from dlperf.analysis.statistics import mean_of, time_to
from dlperf.metric_names import best, has_best
from dlperf.parameters import describe
from dlperf.problem import Problem

TO_TARGET = {"seconds_to_target": "train_seconds", "epochs_to_target": "epochs_run"}
"""Metrics that only trials have which reached the target, and what tells how long the others were followed."""


def default_groups(problem: Problem[Any], trials: Trials) -> list[str]:
    """Return what means are taken by unless the user says it, and what the problem rarely varies where it does."""
    often = problem.grouped_by or tuple(name for name in problem.varying if name != "random_seed")
    rarely = [name for name in problem.varying_rarely if len({fact(trial, name) for trial in trials}) > 1]
    return [*often, *rarely]


def mean_table(setting: Setting[Any], group_by: Sequence[str], metrics: Sequence[str], *, curves: bool) -> pd.DataFrame:
    """Return means with intervals: a row per group and metric, and for a metric of epochs one for its best value.

    Columns: `group_by`; metric; n, the trials that have it; mean, sd, low and high, the 95 % interval of the mean,
    missing for one trial; min, max; averaged_over, what else but the random seed differs between the trials of a group,
    and emulated, why they say nothing about real devices, where there is such a thing.

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
            for name, values in ((metric, measured(trials, metric)), (f"best {metric}", _best(trials, metric, curves))):
                if not values:
                    continue
                found = mean_of(list(values.values()))
                rows.append(
                    {
                        **dict(zip(group_by, kind, strict=True)),
                        **{"metric": name, "n": found.n, "mean": found.mean, "sd": found.sd},
                        **{"low": found.low, "high": found.high},
                        **{"min": min(values.values()), "max": max(values.values()), "averaged_over": mixed},
                        "emulated": emulated,
                    }
                )
    table = pd.DataFrame(rows)
    needless = [name for name in ("averaged_over", "emulated") if rows and not table[name].any()]
    return table.drop(columns=needless)


def target_table(setting: Setting[Any], group_by: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """Return times to the target by group; trials that did not reach it count for as long as they were trained.

    Columns: `group_by`; metric; n; reached, how many; median (Kaplan and Meier's), missing where their curve
    does not come down to a half; not_reached_in, the longest time that one was trained in vain.
    """
    rows = []
    for kind, trials in grouped(setting.trials, group_by).items():
        for metric in metrics:
            if metric not in TO_TARGET or not any("dlperf.target_reached" in trial.tags for trial in trials):
                continue
            told = [trial for trial in trials if "dlperf.target_reached" in trial.tags]
            reached = [trial.metrics[metric] for trial in told if metric in trial.metrics]
            followed = [trial.metrics[TO_TARGET[metric]] for trial in told if metric not in trial.metrics]
            found = time_to(reached, followed)
            rows.append(
                {
                    **dict(zip(group_by, kind, strict=True)),
                    **{"metric": metric, "n": found.n, "reached": f"{found.reached} of {found.n}"},
                    **{"median": found.median, "not_reached_in": found.longest},
                }
            )
    return pd.DataFrame(rows)


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
    found: dict[tuple[Any, ...], list[Any]] = {}
    for trial in trials:
        found.setdefault(tuple(fact(trial, name) for name in group_by), []).append(trial)
    return dict(sorted(found.items(), key=lambda item: [_order(value) for value in item[0]]))


def _order(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return not number, float(value) if number else 0.0, str(value)


def _commits(trials: Trials) -> str:
    """The commits of the code that ran them, which people may know to differ in nothing that matters."""
    found = sorted({trial.tags.get("mlflow.source.git.commit", "unknown")[:7] for trial in trials})
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def _mixed(trials: Trials, group_by: Sequence[str]) -> list[str]:
    """Names of parameters that differ between trials of a group, which its mean hides."""
    described = describe(type(trials[0].parameters))
    names = [each.name for each in described if not each.operational and each.name not in ("random_seed", *group_by)]
    mixed = [name for name in names if len({fact(trial, name) for trial in trials}) > 1]
    keys = {trial.tags.get("dlperf.trial_key", trial.run_id) for trial in trials}
    return [*mixed, "repeats of a trial"] if len(keys) < len(trials) else mixed


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
