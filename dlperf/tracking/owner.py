"""Which process runs a run: as a text in a tag, and whether that process still lives."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

from dlperf.processor import memory_kills, memory_kills_in

_FIRST_NAMESPACE = "pid:[4026531836]"  # the kernel's number for the one that is no container


_MEMORY_KILLS = "dlperf.memory_kills"


def process_tags() -> dict[str, str]:
    """Return what a run says of the process that runs it, so that it can be told later what became of that."""
    counted = memory_kills()
    return {"dlperf.process": this_process(), **({_MEMORY_KILLS: f"{counted[1]} {counted[0]}"} if counted else {})}


def ended_for_memory(tags: Mapping[str, str]) -> bool:
    """Whether the kernel has killed a process of a run's control group, out of memory, since its own process began.

    Of a run whose process is gone, and did not end it, that says why. A group that is gone, as that of a container that
    was removed, says nothing.
    """
    began, _, file = tags.get(_MEMORY_KILLS, "").partition(" ")
    now = memory_kills_in(Path(file)) if file and is_here(tags.get("dlperf.process", "")) else None
    return now is not None and began.isdigit() and now > int(began)


def this_process() -> str:
    """Name this process: host (of a container on it, that too), process id, second of its start."""
    return f"{_here()} {os.getpid()} {psutil.Process().create_time():.0f}"


def is_gone(process: str) -> bool:
    """Whether a process of this host has ended; of another host nothing is known."""
    try:
        host, pid, created = process.split()
        if host != _here():
            return False
        return abs(psutil.Process(int(pid)).create_time() - float(created)) > 2
    except psutil.NoSuchProcess:
        return True
    except (ValueError, psutil.Error):
        return False


def is_here(process: str) -> bool:
    """Whether it is, or was, a process of this host, and of this container where this is in one."""
    return host_of(process) == _here()


def host_of(process: str) -> str:
    """Return the host of a process, and the container on it."""
    return process.split(" ")[0]


def is_another(process: str) -> bool:
    """Whether a process of this host lives and is not this one."""
    return is_here(process) and process != this_process() and not is_gone(process)


def _here() -> str:
    """Name what counts process ids: a container that shares its host's network has the host's name, but other ids."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux
        namespace = _FIRST_NAMESPACE
    host = socket.gethostname()
    return host if namespace == _FIRST_NAMESPACE else f"{host}/{namespace}"
