"""Which process runs a run: as a text in a tag, and whether that process still lives."""

from __future__ import annotations

import os
import socket

import psutil

_FIRST_NAMESPACE = "pid:[4026531836]"  # the kernel's number for the one that is no container


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
