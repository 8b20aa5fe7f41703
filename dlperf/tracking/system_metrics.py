"""MLflow's monitor of the host, where MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING asks for it.

The figures are the host's, taken by the process that logs. So a run has them while this process works at it alone: a
single trial, a trial of a sweep whose trials run one after the other, and what is above them. Of trials side by side
(processes, a cluster, measurements in turn) none has figures: those of the sweep are the host's.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import mlflow.environment_variables as settings

from dlperf.errors import BadInput
from dlperf.tracking.run import Run


def wanted() -> bool:
    """Whether the user wants system metrics.

    Raises:
        BadInput: If one of MLflow's settings of them cannot be used.
    """
    enabled: bool = _read(settings.MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING, "must be true or false")
    for setting in (
        settings.MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL,
        settings.MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING,
    ):
        value = _read(setting, "must be a number above 0")
        if enabled and value is not None and not value > 0:  # MLflow would sample without a pause
            raise BadInput(setting.name, value, "must be a number above 0")
    return bool(enabled)


@contextlib.contextmanager
def monitored(run: Run, tracking_uri: str) -> Iterator[None]:
    """Log the host's figures into a run that stands as RUNNING, while the block lasts, if the user wants them.

    A resumed run continues its steps.

    Raises:
        BadInput: If one of MLflow's settings of them cannot be used.
    """
    if not wanted():
        yield
        return
    from mlflow.system_metrics import system_metrics_monitor  # imports what asks graphics cards

    logging.getLogger(system_metrics_monitor.__name__).setLevel(logging.WARNING)  # else four lines a run
    monitor = system_metrics_monitor.SystemMetricsMonitor(run.id, resume_logging=True, tracking_uri=tracking_uri)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()


def _read(setting: Any, allowed: str) -> Any:
    try:
        return setting.get()
    except ValueError as error:
        raise BadInput(setting.name, setting.get_raw(), allowed) from error
