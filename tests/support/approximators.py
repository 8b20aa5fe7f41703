"""Problem 5 as a user starts it; its trials are the shortest that train."""

from __future__ import annotations

import sys
from typing import Any

from tests.support.desk import Desk, Started


def start(desk: Desk, *arguments: str, **environment: str) -> Started:
    return desk.popen([sys.executable, "entrypoints/approximators.py", *arguments], **environment)


def finish(desk: Desk, *arguments: str, **environment: str) -> tuple[int, str]:
    process = start(desk, *arguments, **environment)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def rmse_curve(desk: Desk, run: Any) -> list[float]:
    return [m.value for m in desk.client.get_metric_history(run.info.run_id, "validation_rmse")]
