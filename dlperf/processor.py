"""What this process may use of its machine, which in a container is less than the machine has, and how it computes."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from dlperf.errors import BadInput

PROC = Path("/proc")
# From the newest; a processor has all below the one it is named by. TensorFlow's own choice of oneDNN goes by the first
# three (DefaultOneDnnPolicy in tensorflow/core/util/port.cc).
_INSTRUCTION_SETS = (
    ("amx_tile", "AMX"),
    ("avx512_vnni", "AVX-512 VNNI"),
    ("avx_vnni", "AVX-VNNI"),
    ("avx512f", "AVX-512"),
    ("avx2", "AVX2"),
    ("avx", "AVX"),
    ("sse4_2", "SSE4.2"),
)


class CoreSeconds(NamedTuple):
    """Who has had the cores that this process may run on, in seconds of a core since some time.

    Attributes:
        cores_ours: This program: all processes of its group.
        cores_busy: Anybody, other virtual machines among them.
        cores_there: What there was to have.
    """

    cores_ours: float = 0.0
    cores_busy: float = 0.0
    cores_there: float = 0.0

    @property
    def others(self) -> float:
        """What other programs have had."""
        return max(0.0, self.cores_busy - self.cores_ours)


def cores() -> int:
    """Return how many cores this process may use: those it may run on, and no more than its CPU quota pays for.

    Raises:
        BadInput: If a quota cannot be read.
    """
    quota = cpu_quota()
    allowed = len(allowed_cores())
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def allowed_cores() -> list[int]:
    """Return the numbers of the cores that this process may run on."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def cpu_quota() -> float | None:
    """Return the CPU time that this process's control groups allow it, in cores; None where nothing limits it.

    Raises:
        BadInput: If a quota cannot be read.
    """
    quotas = []
    for group in _control_groups("cpu"):
        if group.version == 2:
            said = group.read("cpu.max", r"(max|\d+) [1-9]\d*", "must be `max PERIOD` or `MICROSECONDS PERIOD`")
            limit, period = said.split() or ("max", "1")
        else:
            limit = group.read("cpu.cfs_quota_us", r"-1|\d+", "must be microseconds, or -1") or "-1"
            period = group.read("cpu.cfs_period_us", r"[1-9]\d*", "must be microseconds") or "1"
        if limit not in ("max", "-1"):
            quotas.append(int(limit) / int(period))
    return min(quotas, default=None)


def memory_bytes() -> int:
    """Return the memory that this process may use: the machine's, or what its control groups allow.

    Raises:
        BadInput: If a limit cannot be read.
    """
    limits = [psutil.virtual_memory().total]
    for group in _control_groups("memory"):
        name = "memory.max" if group.version == 2 else "memory.limit_in_bytes"
        limit = group.read(name, r"max|\d+", "must be a number of bytes, or max")
        if limit not in ("", "max"):
            limits.append(int(limit))
    return min(limits)


def memory_kills() -> tuple[Path, int] | None:
    """Return where the kernel counts the processes of this control group that it kills out of memory, and how many.

    A limit that is reached (v1: memory.failcnt) is no such end: the kernel may have found memory in its caches. None
    where nothing counts: outside Linux, before Linux 4.13, in the root group.
    """
    for group in _control_groups("memory"):
        file = group.folder / ("memory.events" if group.version == 2 else "memory.oom_control")
        # Of the groups above, which count others too, none holds this process's memory if its own has the file.
        if (count := memory_kills_in(file)) is not None:
            return file, count
    return None


def memory_kills_in(file: Path) -> int | None:
    """Return what such a file counts; None where it is gone, or counts nothing."""
    counts = [line.split()[1] for line in _lines(file) if line.startswith("oom_kill ")]
    return int(counts[0]) if counts else None


def end_first(process: int) -> None:
    """Let the kernel end a child process rather than this one where memory is full: this one can say what happened."""
    with contextlib.suppress(OSError):  # outside Linux, or it has ended
        Path(f"/proc/{process}/oom_score_adj").write_text("500")


class MemoryKills:
    """Tells which deaths of child processes were kills by the kernel, because memory had run out."""

    def __init__(self) -> None:
        """Count from here on."""
        self._explained = self._count()

    def one_more(self) -> bool:
        """Whether there was one that has explained no death so far; it explains one now."""
        if self._count() <= self._explained:
            return False
        self._explained += 1
        return True

    def why(self) -> str:
        """Say why the kernel kills."""
        return f"out of memory (it may use {memory_bytes() / 2**30:.1f} GiB)"

    @staticmethod
    def _count() -> int:
        found = memory_kills()
        return found[1] if found else 0


def cpu_model() -> str:
    """Return the processor's name."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def instruction_set() -> str:
    """Return the newest instruction set that matrix products use here: AMX, AVX-512 VNNI, AVX2, ...

    Outside x86-64 Linux it is the architecture.
    """
    flags = cpu_flags().split()
    return next((name for flag, name in _INSTRUCTION_SETS if flag in flags), platform.machine())


def cpu_flags() -> str:
    """Return all that the processor says it has, as Linux names it; "" elsewhere."""
    return _cpuinfo("flags")


def has_vector_network_instructions() -> bool:
    """Whether it has VNNI or newer, where TensorFlow switches its oneDNN operations on by itself."""
    return instruction_set() in ("AMX", "AVX-512 VNNI", "AVX-VNNI")


@dataclass(frozen=True)
class _ControlGroup:
    """A folder of a control-group hierarchy."""

    folder: Path
    version: int

    def read(self, name: str, pattern: str, allowed: str) -> str:
        """Return what a file says, "" where it is not there (the root group has none).

        Raises:
            BadInput: If it cannot be read, or says something else than the pattern.
        """
        path = self.folder / name
        try:
            said = path.read_text().strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(name, path, f"cannot be read ({getattr(error, 'strerror', error)}); {allowed}") from error
        if not re.fullmatch(pattern, said):
            raise BadInput(name, said, f"of {path}: {allowed}")
        return said


def _control_groups(controller: str) -> Iterator[_ControlGroup]:
    """Yield this process's control group for a controller and those above it, any of which may limit it."""
    for version, mounted, root in _hierarchies(controller):
        name = _group_name(controller, version)
        if name is None:
            continue
        # A container without a namespace of its own sees its group's name from the host, and its folder as the mount.
        inside = name[len(root) :] if root != "/" and (name + "/").startswith(root + "/") else name
        folder = mounted / inside.strip("/")
        if not folder.is_dir():
            folder = mounted
        while True:
            yield _ControlGroup(folder, version)
            if folder == mounted:
                break
            folder = folder.parent


def _hierarchies(controller: str) -> Iterator[tuple[int, Path, str]]:
    """Yield version, mount point and root of the hierarchies that may hold a controller."""
    for line in _lines(PROC / "self" / "mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3:
            continue
        root, mounted = (re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), text) for text in fields[3:5])
        if kind[0] == "cgroup2":
            yield 2, Path(mounted), root
        elif kind[0] == "cgroup" and controller in kind[2].split(","):
            yield 1, Path(mounted), root


def _group_name(controller: str, version: int) -> str | None:
    for line in _lines(PROC / "self" / "cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if (version == 2 and number == "0" and not controllers) or controller in controllers.split(","):
            return name
    return None


def _lines(path: Path) -> list[str]:
    """The lines of a file; none where there is no such file, as outside Linux."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _cpuinfo(key: str) -> str:
    for line in _lines(PROC / "cpuinfo"):
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def core_seconds() -> CoreSeconds:
    """Return who has had the cores since the machine was started; zeros where the system does not say it (not Linux).

    Of one's own are all processes of this one's group, with those that they have waited for.
    """
    try:
        a_second, ours = os.sysconf("SC_CLK_TCK"), _ticks_of_group()
        busy, there = _ticks_of_cores()
        return CoreSeconds(ours / a_second, busy / a_second, there / a_second)
    except (OSError, ValueError, IndexError):
        return CoreSeconds()


def _ticks_of_cores() -> tuple[int, int]:
    """What the cores that this process may run on were busy for, and have been there for (proc(5), /proc/stat)."""
    busy = there = 0
    allowed = {f"cpu{number}" for number in allowed_cores()}
    for line in (PROC / "stat").read_text().splitlines():
        name, *rest = line.split()
        if name in allowed:
            user, nice, system, idle, waiting, hard, soft, stolen = map(int, rest[:8])
            busy += user + nice + system + hard + soft + stolen
            there += user + nice + system + hard + soft + stolen + idle + waiting
    return busy, there


def _ticks_of_group() -> int:
    """What the processes of this one's group have run for, among them the workers of a sweep and who started them."""
    group, ticks = str(os.getpgrp()), 0
    for process in PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # a process that ends
            # Behind the name, which may have blanks: state, parent, group; from the 12th on user and system time, and
            # those of children that have ended, lest the time of a worker that ends become another program's.
            of = process.read_text(errors="replace").rpartition(")")[2].split()
            if of[2] == group:
                ticks += sum(map(int, of[11:15]))
    return ticks
