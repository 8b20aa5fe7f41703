"""A way that is measured in turns with others: it prepares, then waits for its turn, line by line."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# What makes the data and the network of a work, and returns a function that trains one epoch of it.
Prepare = Callable[["Work"], Callable[[], Any]]


@dataclass(frozen=True)
class Work:
    """What is trained.

    Attributes:
        name: "resnet44", "mlp" or "eggholder".
        threads: Threads that compute.
        variant: How this way does it, where it has several.
        examples: Examples of an epoch.
        depth: Layers of the ResNet.
        optimizer: "adam" or "adagrad", of the MLP.
        dropout: Of the MLP.
        units: Hidden layers of an eggholder network.
    """

    name: str
    threads: int
    variant: str
    examples: int
    depth: int = 44
    optimizer: str = "adam"
    dropout: bool = False
    units: tuple[int, ...] = ()


def serve(prepare: dict[str, Prepare], version: Callable[[], str]) -> None:
    """Prepare what the command line describes, then train an epoch for each line of standard input, and time it.

    Answers with one line of JSON each: first `version` and `first_seconds`, from the start of the program to the end of
    the first epoch, which compiles; then `wall` and `cpu`, seconds of an epoch.

    Args:
        prepare: By the name of the work.
        version: Says what computes.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("work", help="as JSON")
    given = json.loads(parser.parse_args().work)
    work = Work(**{**given, "units": tuple(given.get("units", ()))})
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # keeps what libraries print out of the answers
    epoch = prepare[work.name](work)
    epoch()
    print(json.dumps({"version": version(), "first_seconds": time.time() - _started()}), file=answers)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        epoch()
        print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}), file=answers)


def _started() -> float:
    """When this process was started, in seconds since 1970 (Linux)."""
    with open("/proc/self/stat") as stat, open("/proc/stat") as system:
        ticks = int(stat.read().rpartition(")")[2].split()[19])
        booted = next(int(line.split()[1]) for line in system if line.startswith("btime"))
    return booted + ticks / os.sysconf("SC_CLK_TCK")
