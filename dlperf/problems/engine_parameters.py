"""Parameters of the engine that runs a problem's trials, each declared once."""

from __future__ import annotations

from typing import Literal

from dlperf.declaration import parameter
from dlperf.parameters import Parameters


class EngineParameters(Parameters):
    """What every problem takes whose trials can run side by side."""

    processes: int = parameter(
        1, ge=1, le=1024, operational=True, help="trials that run side by side, each in a process of its own"
    )
    engine: Literal["local", "ray"] = parameter(
        "local",
        operational=True,
        help="what runs the trials: local, processes of this machine; ray, the Ray cluster that RAY_ADDRESS names, as "
        "many at a time as it has room for",
    )
    cpus_per_trial: float = parameter(1.0, gt=0, operational=True, help="CPUs that Ray reserves for a trial")
    gpus_per_trial: float = parameter(0.0, ge=0, operational=True, help="GPUs that Ray reserves for a trial")
