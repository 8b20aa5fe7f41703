"""What a trial of an archive has to be: one that dlperf can have written, and that a tracking server takes whole."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Mapping

from dlperf.archive.parts import ArchivedTrial
from dlperf.entry_points import PROBLEMS

# As MLflow has them (mlflow/utils/validation.py); it cuts a longer value off, or refuses a name after other runs stand.
_RUN = re.compile(r"[a-zA-Z0-9][\w-]{0,255}", re.ASCII)
_NAME = re.compile(r"[/\w.\- :]+")
_MOST_OF_A_NAME = 250
_MOST_OF_A_PARAMETER = 6000
_MOST_OF_A_TAG = 8000
_LAST_TIME = 253_402_300_799_999  # the end of the year 9999, in milliseconds
_RUN_NAME = "mlflow.runName"


def is_run(name: str) -> bool:
    """Whether a text can be the name of a run; such a one is no path either."""
    return _RUN.fullmatch(name) is not None


def fault(trial: ArchivedTrial) -> str:
    """Return why dlperf cannot have written a trial, as the end of a sentence; "" if it can."""
    if not (is_run(trial.run_id) and is_run(trial.sweep)):
        return f"its run {_shown(trial.run_id)} or its sweep {_shown(trial.sweep)} is no name of a run"
    if trial.problem not in PROBLEMS:
        return f"its problem is {_shown(trial.problem)}, which is none of {', '.join(PROBLEMS)}"
    for tag, value in (("dlperf.problem", trial.problem), ("dlperf.role", "trial")):
        if trial.tags.get(tag) != value:
            return f"its tag {tag} is not {value}"
    if not 0 < len(trial.name) <= _MOST_OF_A_NAME or trial.tags.get(_RUN_NAME, trial.name) != trial.name:
        return f"its name is empty, longer than {_MOST_OF_A_NAME} characters, or not that of its tag {_RUN_NAME}"
    if not all(0 < time <= _LAST_TIME for time in (trial.started, trial.ended)):
        return f"it ran from {trial.started} to {trial.ended}, which are no milliseconds since 1970"
    return (
        _fault_of_texts("parameter", trial.params, _MOST_OF_A_PARAMETER)
        or _fault_of_texts("tag", {**trial.tags, _RUN_NAME: trial.name}, _MOST_OF_A_TAG)
        or _fault_of_texts("metric", dict.fromkeys(trial.metrics, ""), 0)
        or next(filter(None, (_fault_of_curve(trial, name) for name in trial.curves)), "")
    )


def _fault_of_texts(kind: str, texts: Mapping[str, str], most: int) -> str:
    for name, value in texts.items():
        if len(name) > _MOST_OF_A_NAME or not _NAME.fullmatch(name) or _is_path(name):
            return f"a {kind} cannot be called {_shown(name)}"
        if len(value) > most:
            return f"its {kind} {name} has {len(value)} characters, more than the {most} that a tracking server takes"
        if "\0" in value:
            return f"its {kind} {name} has a character that no text has"
    return ""


def _fault_of_curve(trial: ArchivedTrial, name: str) -> str:
    """A value per epoch from the first to the last, which is the metric's own."""
    if name not in trial.metrics:
        return f"it has a curve of {_shown(name)}, and no such metric"
    curve, last = trial.curves[name], trial.metrics[name]
    if not curve or list(curve) != list(range(1, len(curve) + 1)):
        return f"its curve of {name} is not one of the epochs 1, 2, ..."
    if not (curve[len(curve)] == last or (math.isnan(curve[len(curve)]) and math.isnan(last))):
        return f"its curve of {name} ends with {curve[len(curve)]}, its metric is {last}"
    return ""


def _is_path(name: str) -> bool:
    """Whether a name leads elsewhere where it is a file's."""
    normal = posixpath.normpath(name)
    return normal != name or name == "." or name.startswith(("..", "/"))


def _shown(text: str) -> str:
    """A text of a foreign file, without what a terminal would do rather than show."""
    return ascii(text if len(text) <= _MOST_OF_A_NAME else f"{text[:_MOST_OF_A_NAME]}...")
