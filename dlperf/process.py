"""Which process runs a run: as a text in a tag, and whether that process still lives."""

from __future__ import annotations

import os
import socket

import psutil


def this_process() -> str:
    """Name this process: host, process id, second of its start."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.0f}"


def is_gone(process: str) -> bool:
    """Whether a process of this host has ended; of another host nothing is known."""
    try:
        host, pid, created = process.split()
        if host != socket.gethostname():
            return False
        return abs(psutil.Process(int(pid)).create_time() - float(created)) > 2
    except psutil.NoSuchProcess:
        return True
    except (ValueError, psutil.Error):
        return False


def is_another(process: str) -> bool:
    """Whether a process of this host lives and is not this one."""
    here = process.split(" ")[0] == socket.gethostname()
    return here and process != this_process() and not is_gone(process)
