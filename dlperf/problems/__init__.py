"""The problems: one module each, named like its entry point, with a `dlperf.trial.Problem` called PROBLEM."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlperf.trial import Problem

NAMES: tuple[str, ...] = ("main", "optimizers", "scaling", "architectures", "cutout", "approximators", "compare")
"""The entry points, in the order in which help and MLproject list them."""


def load(name: str) -> Problem[Any]:
    """Import one problem's module, and no other.

    Args:
        name: One of NAMES.

    Returns:
        The module's PROBLEM.

    Raises:
        ModuleNotFoundError: There is no such problem.
    """
    problem: Problem[Any] = importlib.import_module(f"dlperf.problems.{name}").PROBLEM
    return problem
