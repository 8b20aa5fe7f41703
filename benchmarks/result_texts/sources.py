"""Where shown figures come from: the archive `reference`."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dlperf.archive import folder
from dlperf.claims.verdicts import Verdict
from dlperf.comparison.parameters import CompareParameters
from dlperf.comparison.sections import section
from dlperf.entry_points import PROBLEMS, load_problem
from dlperf.page.chapter import Chapter
from dlperf.parameters import parse
from dlperf.tracking.archived import ArchivedRuns
from dlperf.tracking.query import find_trials

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).resolve().parents[2] / "results"
_BELOW = {"optimizers": "notebook"}  # where a problem has the results of both protocols


def _as_the_notebook_ran(parameters: Any) -> bool:
    """Whether it is the notebook's protocol, with dropout as it ran it, which is not what its printed code says."""
    return parameters.protocol == "notebook" and (parameters.dropout_after == "each" or not parameters.dropout)


PARTS: dict[tuple[str, str], Callable[[Any], bool]] = {
    ("optimizers", ""): _as_the_notebook_ran,
    ("optimizers", "notebook_200_epochs"): lambda p: _as_the_notebook_ran(p) and p.epochs == 200,
}
"""By problem and part, where not all trials are of it, which parameters are: "" is what is shown of a problem first."""


@dataclass(frozen=True)
class Shown:
    """What is shown of a problem.

    Attributes:
        problem: Its name.
        tables: Tables by name: those that end a sweep, and those of `compare`, of the setting with the most trials.
        figures: Figures by name, drawn when they are asked for.
        facts: Parameters that all trials share, as text, by name.
        hardware: What the trials ran on.
        version: Of dlperf.
    """

    problem: str
    tables: Mapping[str, pd.DataFrame]
    figures: Mapping[str, Figure]
    facts: Mapping[str, str]
    hardware: str
    version: str

    @property
    def origin(self) -> str:
        """Where the figures come from and what they were measured on, as the part of a sentence."""
        return f"the archive `reference`, version {self.version}, on {self.hardware}"


@functools.cache
def compared(name: str) -> Chapter:
    """Compare the archive's trials of a problem, as `compare -P archive=reference` does."""
    archive = ArchivedRuns(folder.opened("archive", folder.REFERENCE), labelled=False)
    problem = load_problem(name)
    return section(problem, find_trials(archive, problem), parse(CompareParameters, {}).trials)


@functools.cache
def shown(name: str, part: str = "") -> Shown:
    """Return what is shown of a problem or of one of its `PARTS`: of the setting with the most trials of that kind."""
    belongs = PARTS.get((name, part), lambda parameters: True)
    chosen = next(s for s in compared(name).settings if all(belongs(t.parameters) for t in s.setting.trials))
    facts = chosen.setting.facts
    tables = {**chosen.summary.all_tables(), **chosen.tables}
    return Shown(name, tables, chosen.summary.figures, facts, facts["hardware"], facts["dlperf"])


def folders() -> dict[Path, Shown]:
    """Return what is shown, by the folder of its tables and figures."""
    own = {RESULTS / name / _BELOW.get(name, ""): shown(name) for name in PROBLEMS}
    return own | {RESULTS / name / part: shown(name, part) for name, part in PARTS if part}


def verdicts_by_problem() -> dict[str, list[Verdict]]:
    """Return the verdicts of the archive's trials on all claims."""
    return {name: compared(name).verdicts for name in PROBLEMS}


def benchmark(path: str) -> Any:
    """Return what a benchmark has written."""
    return json.loads((RESULTS / path).read_text())
