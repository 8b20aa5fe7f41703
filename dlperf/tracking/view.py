"""How MLflow's UI shows a problem's trials as a table: in the first columns what varies, then what is compared.

MLflow 3.17 keeps named views of an experiment's runs as tags of the experiment. They stand in the menu of views above
the table, and open by their address (`?viewStateShareKey=`); none opens by itself.
"""

from __future__ import annotations

import json
import time
from typing import Any

from dlperf.metric_names import higher_is_better
from dlperf.problem import Problem

_TAG = "mlflow.sharedViewState."


def key(problem: str) -> str:
    """Return what the address of a problem's view calls it."""
    return f"dlperf-{problem}"


def tag(problem: str) -> str:
    """Return the tag that holds a problem's view."""
    return _TAG + key(problem)


def view(problem: Problem[Any]) -> str:
    """Return the tag's value: the finished and unfinished trials of a problem, the best one first."""
    columns = [*(f"params.`{name}`" for name in problem.varying), *(f"metrics.`{name}`" for name in problem.compared)]
    first = problem.compared[0]
    state = {
        "searchFilter": f"tags.`dlperf.problem` = '{problem.name}' and tags.`dlperf.role` = 'trial'",
        # By anything but the date: ordered by that, trials are folded below their sweeps.
        "orderByKey": f"metrics.`{first}`",
        "orderByAsc": not higher_is_better(first),
        "selectedColumns": columns,
        "columnOrder": columns,
    }
    made = {"name": f"trials of {problem.name}", "createdAt": int(1000 * time.time())}
    return json.dumps({**made, "state": json.dumps(state)})
