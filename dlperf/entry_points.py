"""The entry points by name, imported when they are asked for; and the demo, which starts every problem."""

from __future__ import annotations

import importlib
from typing import Any, Literal, TypeAlias, get_args

from dlperf.declaration import parameter
from dlperf.parameters import MAX_RANDOM_SEED
from dlperf.problem import Comparison, Demo, Problem, TrackedParameters

ProblemName: TypeAlias = Literal["optimizers", "scaling", "architectures", "cutout", "approximators"]

PROBLEMS: tuple[str, ...] = get_args(ProblemName)
"""The problems, in the order of the course: the folders of `dlperf.problems`."""

NAMES: tuple[str, ...] = ("main", *PROBLEMS, "compare")
"""The entry points, in the order in which help and MLproject list them."""


class DemoParameters(TrackedParameters):
    """Parameters of the demo; those of the problems take the values of their reduced start."""

    random_seed: int = parameter(0, ge=0, le=MAX_RANDOM_SEED, help="everything random follows from it")


DEMO = Demo(
    name="main",
    summary="Demo: every problem reduced to minutes, on embedded data (no download).",
    parameters=DemoParameters,
    example="dlperf main --random_seed 1",
    problems=PROBLEMS,
)


def load(name: str) -> Problem[Any] | Demo | Comparison:
    """Import an entry point, and no other.

    Args:
        name: One of NAMES.

    Raises:
        ModuleNotFoundError: There is no such entry point.
    """
    if name == DEMO.name:
        return DEMO
    if name == "compare":
        comparison: Comparison = importlib.import_module("dlperf.comparison.parameters").COMPARISON
        return comparison
    return load_problem(name)


def load_problem(name: str) -> Problem[Any]:
    """Import a problem, and no other.

    Args:
        name: One of PROBLEMS.

    Raises:
        ModuleNotFoundError: There is no such problem.
    """
    problem: Problem[Any] = importlib.import_module(f"dlperf.problems.{name}.problem").PROBLEM
    return problem
