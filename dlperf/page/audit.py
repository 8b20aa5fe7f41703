"""An audit of early stopping: stored curves under other patiences, with and without the best weights restored.

The rule is that of training, `dlperf.training.early_stopping`; a stored curve is fed to it value by value. Patience
counts from the first epoch, also where the training itself counted it only after the last drop of the learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import pandas as pd

from dlperf.analysis.settings import Setting, timed
from dlperf.metric_names import best, higher_is_better
from dlperf.page.groups import grouped
from dlperf.training.early_stopping import EarlyStopping
from dlperf.trial import StoredTrial


def replay(metric: str, curve: Sequence[float], patience: int) -> EarlyStopping:
    """Return where early stopping with `patience` would have ended a curve of a metric; 0 ends none."""
    rule = EarlyStopping(metric, patience)
    for value in curve:
        rule.update(value)
        if rule.stopped:
            break
    return rule


def audit(setting: Setting[Any], monitor: str, group_by: Sequence[str], patiences: Sequence[int]) -> pd.DataFrame:
    """Return what every patience would have cost, a row per group and patience; empty without curves of `monitor`.

    Columns: `group_by`; patience, 0 for the whole stored curve; trials; stopped, how many the patience ends; cut, how
    many it does not although their curve was itself stopped early, so that nothing is known of what would have
    followed; epoch, their mean; before_first_drop, how many end before the learning rate falls; last and restored, the
    mean of `monitor` with the last and with the best weights; cost_last and cost_restored, by how much the best of the
    stored curve is better; seconds_saved, mean training seconds after the stop, of those trials beside which no other
    programs ran, where there are such.
    """
    groups = grouped([trial for trial in setting.trials if trial.history.get(monitor)], group_by)
    return pd.DataFrame(
        {**dict(zip(group_by, kind, strict=True)), **_row(trials, monitor, patience)}
        for kind, trials in groups.items()
        for patience in (*patiences, 0)
    )


def _row(trials: Sequence[StoredTrial[Any]], monitor: str, patience: int) -> dict[str, Any]:
    sign = 1 if higher_is_better(monitor) else -1
    rows = []
    quiet = {trial.run_id for trial in timed(trials)[0]}
    for trial in trials:
        curve = trial.history[monitor]
        stop = replay(monitor, curve, patience)
        whole = best(monitor, list(curve))
        seconds = list(accumulate(trial.history["epoch_seconds"]))
        last, restored = curve[stop.epoch - 1], curve[stop.best_epoch - 1]
        drop = _first_drop(trial)
        rows.append(
            {
                "stopped": stop.stopped,
                "cut": not stop.stopped and bool(trial.metrics.get("stopped_early")),
                "epoch": stop.epoch,
                "before_first_drop": drop is not None and stop.epoch < drop,
                "last": last,
                "restored": restored,
                "cost_last": sign * (whole - last),
                "cost_restored": sign * (whole - restored),
                "seconds_saved": seconds[-1] - seconds[stop.epoch - 1] if trial.run_id in quiet else math.nan,
            }
        )
    table = pd.DataFrame(rows)
    counts = ("stopped", "cut", "before_first_drop")
    summed_up = {
        str(name): int(column.sum()) if name in counts else float(column.mean()) for name, column in table.items()
    }
    return {"patience": patience, "trials": len(rows), **summed_up}


def _first_drop(trial: StoredTrial[Any]) -> int | None:
    """Return the first epoch, from 1, whose learning rate is below the one before; None where none is.

    A training that was itself stopped early may not have reached the first drop of its schedule.
    """
    planned = getattr(trial.parameters, "learning_rate_at", None)
    if planned:
        rates: Sequence[float] = [planned(epoch) for epoch in range(1, trial.parameters.epochs + 1)]
    else:
        rates = trial.history.get("learning_rate", ())
    return next((epoch for epoch, (a, b) in enumerate(pairwise(rates), 2) if b < a), None)
