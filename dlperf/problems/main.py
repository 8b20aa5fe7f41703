"""The entry point `main`: every problem, reduced to minutes, on embedded data."""

from __future__ import annotations

from dlperf.declaration import parameter
from dlperf.parameters import Parameters
from dlperf.problems.compare import COMPARED
from dlperf.problems.training_parameters import MAX_RANDOM_SEED
from dlperf.trial import Demo


class MainParameters(Parameters):
    """Parameters of the demo; the problems' own take the values of their reduced start."""

    random_seed: int = parameter(0, ge=0, le=MAX_RANDOM_SEED, help="everything random follows from it")


PROBLEM = Demo(
    name="main",
    summary="Demo: every problem reduced to minutes, on embedded data (no download).",
    parameters=MainParameters,
    problems=COMPARED,
)
