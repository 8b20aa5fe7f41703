"""What a process may use: affinity, CPU quotas and memory limits of control groups, and the instruction set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from dlperf import processor
from dlperf.cli import entry_point
from dlperf.environment import hardware
from dlperf.errors import BadInput
from dlperf.problems.approximators.parameters import ApproximatorsParameters
from dlperf.problems.cutout.parameters import CutoutParameters
from dlperf.problems.scaling.parameters import ScalingParameters
from tests.support.control_groups import real_group
from tests.support.desk import ROOT

SIXTEEN = list(range(16))
Made = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """A machine of 16 cores, whose control groups are folders; the function makes the files in them."""
    proc, mounted = tmp_path / "proc", tmp_path / "a mount"
    (proc / "self").mkdir(parents=True)
    monkeypatch.setattr(processor, "PROC", proc)
    monkeypatch.setattr(processor, "allowed_cores", lambda: SIXTEEN)

    def make(version: int, group: str, files: dict[str, str], *, root: str = "/") -> Path:
        where = str(mounted).replace(" ", "\\040")
        kind = "cgroup2 cgroup2 rw" if version == 2 else "cgroup cgroup rw,cpu,cpuacct,memory"
        (proc / "self" / "mountinfo").write_text(
            f"22 1 0:20 / / rw - ext4 /dev/vda rw\n30 22 0:26 {root} {where} rw,nosuid shared:9 - {kind}\n"
        )
        (proc / "self" / "cgroup").write_text(f"{'0::' if version == 2 else '4:cpu,cpuacct,memory:'}{group}\n")
        (mounted / group.strip("/")).mkdir(parents=True, exist_ok=True)
        for name, said in files.items():
            (mounted / name).parent.mkdir(parents=True, exist_ok=True)
            (mounted / name).write_text(said)
        return mounted

    return make


@pytest.mark.parametrize(
    ("version", "files", "quota"),
    [
        (2, {"a/b/cpu.max": "200000 100000\n"}, 2.0),
        (2, {"a/b/cpu.max": "max 100000\n"}, None),
        (2, {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "350000 100000\n"}, 3.5),  # the one above limits it too
        (2, {"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "150000 100000\n"}, 1.5),
        (2, {"a/b/cpu.max": "25000 50000\n"}, 0.5),
        (2, {}, None),
        (1, {"a/b/cpu.cfs_quota_us": "200000\n", "a/b/cpu.cfs_period_us": "100000\n"}, 2.0),
        (1, {"a/b/cpu.cfs_quota_us": "-1\n", "a/b/cpu.cfs_period_us": "100000\n"}, None),
        (1, {"a/cpu.cfs_quota_us": "50000\n", "a/cpu.cfs_period_us": "100000\n"}, 0.5),
        (1, {}, None),
    ],
)
def test_quotas(made: Made, version: int, files: dict[str, str], quota: float | None) -> None:
    made(version, "/a/b", files)
    assert processor.cpu_quota() == quota
    assert processor.cores() == (16 if quota is None else max(1, int(quota)))


def test_a_quota_larger_than_the_affinity_is_none(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    made(2, "/a", {"a/cpu.max": "800000 100000"})
    assert processor.cores() == 8
    monkeypatch.setattr(processor, "allowed_cores", lambda: [3, 5])
    assert processor.cores() == 2


def test_a_container_that_sees_its_group_s_name_from_the_host(made: Made) -> None:
    """Without a namespace of its own the mount is the group itself; and a name that leads nowhere is the mount too."""
    made(1, "/docker/0123", {"cpu.cfs_quota_us": "300000", "cpu.cfs_period_us": "100000"}, root="/docker/0123")
    assert processor.cpu_quota() == 3.0
    folder = made(2, "/", {"cpu.max": "100000 100000"})
    (processor.PROC / "self" / "cgroup").write_text("0::/../elsewhere\n")
    assert (folder.name, processor.cpu_quota()) == ("a mount", 1.0)


@pytest.mark.parametrize(
    ("version", "files", "limit"),
    [
        (2, {"a/memory.max": f"{2**30}\n"}, 2**30),
        (2, {"a/memory.max": "max\n", "memory.max": f"{2**29}\n"}, 2**29),
        (2, {"a/memory.max": "max\n"}, None),
        (1, {"a/memory.limit_in_bytes": f"{2**28}\n"}, 2**28),
        (1, {"a/memory.limit_in_bytes": "9223372036854771712\n"}, None),
    ],
)
def test_memory_limits(made: Made, version: int, files: dict[str, str], limit: int | None) -> None:
    made(version, "/a", files)
    assert processor.memory_bytes() == (limit or psutil.virtual_memory().total)


@pytest.mark.parametrize("said", ["100000", "fast 100000", "100000 0", "", "-1 100000"])
def test_a_quota_that_says_nothing_is_status_2(
    made: Made, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(2, "/a", {"a/cpu.max": said})
    with pytest.raises(BadInput, match=r"^cpu\.max="):
        processor.cores()
    assert entry_point("cutout", ["--dry_run", "true", "--dataset", "digits"]) == 2
    line = capsys.readouterr().err
    assert line == (
        f"dlperf cutout: cpu.max={said}: of {folder}/a/cpu.max: must be `max PERIOD` or `MICROSECONDS PERIOD`\n"
    )


def test_a_quota_that_cannot_be_read_is_named(made: Made) -> None:
    folder = made(2, "/a", {})
    (folder / "a" / "cpu.max").mkdir()
    with pytest.raises(BadInput, match=r"^cpu\.max=.*: cannot be read \(Is a directory\); must be `max PERIOD`"):
        processor.cpu_quota()


def test_defaults_go_by_what_the_process_may_use(made: Made) -> None:
    """Threads, processes, workers, what counts as emulated, and the line that says what computed."""
    made(2, "/a", {"a/cpu.max": "450000 100000", "a/memory.max": str(3 * 2**30)})
    assert CutoutParameters.resolve({}).threads == 4
    assert CutoutParameters.resolve({"processes": 2}).threads == 2
    assert ApproximatorsParameters.resolve({}).processes == 4
    assert ScalingParameters.default_grid({"device": "cpu", "hosts": ""})["workers"] == (1, 2, 4)
    assert ScalingParameters.resolve({"workers": 8}).emulated == "8 workers on 4 cores"
    assert hardware().endswith(", 4 cores, 3 GiB")


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("fpu avx avx2 fma", "AVX2"),
        ("fpu avx avx2 avx512f avx512dq", "AVX-512"),
        ("fpu avx avx2 avx512f avx512_vnni", "AVX-512 VNNI"),
        ("fpu avx avx2 avx_vnni", "AVX-VNNI"),
        ("fpu avx avx2 avx512f avx512_vnni amx_tile amx_int8", "AMX"),
    ],
)
def test_the_instruction_set_is_named(made: Made, flags: str, name: str) -> None:
    made(2, "/", {})
    (processor.PROC / "cpuinfo").write_text(
        f"processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: {flags}\n\nflags\t: x\n"
    )
    assert processor.instruction_set() == name
    assert hardware().startswith(f"AMD EPYC, {name}, ")
    assert processor.has_vector_network_instructions() == ("vnni" in flags)


def test_affinity_counts() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no affinity")
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [max(allowed)])
    try:
        assert (processor.allowed_cores(), processor.cores()) == ([max(allowed)], 1)
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("version", "files", "count"),
    [
        (2, {"a/b/memory.events": "low 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n"}, 2),
        (2, {"a/b/cpu.max": "max 100000", "a/memory.events": "oom_kill 1\n"}, 1),  # which holds the memory of b
        (1, {"a/b/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"}, 4),
        (1, {"a/b/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n", "a/b/memory.failcnt": "7"}, None),
        (2, {}, None),
    ],
)
def test_kills_for_want_of_memory(made: Made, version: int, files: dict[str, str], count: int | None) -> None:
    made(version, "/a/b", files)
    found = processor.memory_kills()
    assert (found[1] if found else None) == count


def test_each_of_the_kernels_kills_explains_one_death(made: Made) -> None:
    file = made(2, "/a", {"a/memory.events": "oom_kill 5\n"}) / "a" / "memory.events"
    kills = processor.MemoryKills()
    assert not kills.one_more()
    file.write_text("oom_kill 7\n")
    assert [kills.one_more() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("version", [1, 2])
def test_a_real_control_group(version: int) -> None:
    with real_group("cpu", version) as (group, limit):
        (group / limit).write_text("150000 100000" if version == 2 else "150000")
        program = "import os; from dlperf import processor; print(processor.cpu_quota(), processor.cores())"
        joined = f"open({str(group / 'cgroup.procs')!r}, 'w').write(str(__import__('os').getpid())); {program}"
        done = subprocess.run([sys.executable, "-c", joined], cwd=ROOT, capture_output=True, text=True)
        assert done.stdout == "1.5 1\n", done.stderr


SPIN = """
import os, sys, time
from dlperf.processor import allowed_cores, core_seconds
os.sched_setaffinity(0, {min(allowed_cores())})
before = core_seconds()
beside = os.fork()
if not beside and sys.argv[1] == "other":
    os.setpgid(0, 0)
until = time.monotonic() + 2
while time.monotonic() < until:
    pass
if beside:
    if sys.argv[1] == "ended":  # a worker that ends takes nothing with it
        os.waitpid(beside, 0)
    ours, busy, there = (now - then for now, then in zip(core_seconds(), before))
    print(ours / there, (busy - ours) / there)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says who has the cores")
def test_a_program_of_another_group_has_cores_of_its_own() -> None:
    """Two processes spin on one core: of one group they are one program, and else each takes from the other."""
    shares = {}
    for whose in ("own", "ended", "other"):
        command = [sys.executable, "-c", SPIN, whose]
        done = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=True)
        shares[whose] = tuple(map(float, done.stdout.split()))
    for ours, others in shares.values():
        assert ours + others == pytest.approx(1, abs=0.05)
    assert min(shares["own"][0], shares["ended"][0]) > 1.3 * shares["other"][0]  # whatever else runs beside this test
