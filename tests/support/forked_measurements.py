"""The processes that a benchmark measures in, forked in a test: TensorFlow is imported once, in its own start.

What measures the imports themselves, or another choice of oneDNN, needs real ones.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
import traceback
from typing import Any

MODULES = {"approximators", "cutout", "dry_run", "optimizers", "overhead"}


def fork_measurements() -> None:
    """Let `in_own_process` fork this process, which has not computed anything yet."""
    from benchmarks import record

    record.in_own_process = in_forked_process


def in_forked_process(module: str, *arguments: object) -> Any:
    """Stand in for `benchmarks.record.in_own_process`."""
    from benchmarks.record import MeasurementFailed, failure

    command = [f"benchmarks.{module}", *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        child = os.fork()
        if not child:
            _be(command, output.fileno(), errors.fileno())
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        errors.seek(0)
        if status:
            raise MeasurementFailed(failure(["python", "-m", *command], status, errors.read()))
        return json.loads(output.read().splitlines()[-1])


def _be(command: list[str], output: int, errors: int) -> None:
    """Be the process of a measurement, and end as Python does."""
    status = 1
    try:
        os.dup2(output, 1)
        os.dup2(errors, 2)
        sys.argv = command
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
