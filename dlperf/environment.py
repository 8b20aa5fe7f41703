"""What a run ran on: versions, hardware, commit, command; and the memory it took."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import dlperf
from dlperf.errors import BadInput
from dlperf.process_settings import onednn, xla_cache
from dlperf.processor import cores, cpu_model, cpu_quota, instruction_set, memory_bytes

_PACKAGES = ("tensorflow", "keras", "mlflow", "numpy", "pandas", "scikit-learn", "scipy", "matplotlib")
# Variables that change what is computed or how fast; others with such names may hold paths of the user's, and that
# memory of a GPU is taken as it is needed changes neither.
_SETTINGS = re.compile(
    r"(TF_(?!FORCE_GPU_ALLOW_GROWTH$)(ENABLE|XLA|NUM|GPU|FORCE|CUDNN|DETERMINISTIC)_|XLA_|OMP_|MALLOC_|CUDA_VISIBLE_"
    r"|KERAS_BACKEND)"
)
_NO_DEVICE = ("", "-1", "NoDevFiles")
_DEVICE = re.compile(r"[0-9]*|-1|NoDevFiles|(GPU|MIG)-[\w/-]+")


def hardware() -> str:
    """Return one line that says what computed: GPUs where TensorFlow sees any, and the CPU.

    Of the CPU it names the instruction set, and of cores and memory what this process may use.
    """
    cpu = f"{cpu_model()}, {instruction_set()}, {cores()} cores, {memory_bytes() / 2**30:.0f} GiB"
    return "; ".join([*gpus_as_set(), cpu])


def software() -> str:
    """Return one line that says what computed it: Python and the two packages that all mathematics goes through."""
    versions = {"python": platform.python_version(), "tensorflow": "", "keras": ""}
    for package in ("keras", "tensorflow", "tensorflow-cpu"):  # the last two are one, built for other machines
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package.removesuffix("-cpu")] = metadata.version(package)
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version)


def gpu_count() -> int:
    """Return the number of NVIDIA GPUs of this machine, without loading TensorFlow.

    Raises:
        BadInput: If CUDA_VISIBLE_DEVICES is nothing that CUDA reads.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        devices = [device.strip() for device in visible.split(",")]
        if not all(_DEVICE.fullmatch(device) for device in devices):
            allowed = "must be numbers, or names that begin with GPU- or MIG-, with commas between; -1 for none"
            raise BadInput("CUDA_VISIBLE_DEVICES", visible, allowed)
        # CUDA takes the devices before the first that is none.
        return next((n for n, device in enumerate(devices) if device in _NO_DEVICE), len(devices))
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def gpus() -> list[str]:
    """Return the names of the GPUs, if TensorFlow is loaded and sees any."""
    tensorflow: Any = sys.modules.get("tensorflow")
    if tensorflow is None:
        return []
    devices = tensorflow.config.list_physical_devices("GPU")
    return [str(tensorflow.config.experimental.get_device_details(d).get("device_name", "GPU")) for d in devices]


def gpus_as_set() -> list[str]:
    """Return the GPUs that TensorFlow sees, each with its precision, from which its bits follow."""
    return [f"{name}, {precision()}" for name in gpus()]


def precision() -> str:
    """Return how numbers are computed with, as far as a GPU changes it; "" where TensorFlow sees none."""
    if not gpus():
        return ""
    tensorflow: Any = sys.modules["tensorflow"]
    import keras

    tf32 = "on" if tensorflow.config.experimental.tensor_float_32_execution_enabled() else "off"
    # What `tf.config.experimental.enable_op_determinism` has set; there is no public question for it.
    framework: Any = sys.modules["tensorflow.python.framework.config"]
    ops = "deterministic" if framework.is_op_determinism_enabled() else "not deterministic"
    return f"{keras.config.dtype_policy().name}, TF32 {tf32}, operations {ops}"


def describe() -> dict[str, Any]:
    """Return what `environment.json` holds; neither host name nor user name stands in it."""
    versions = {"python": platform.python_version(), "dlperf": dlperf.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "command": command(),
        "git_commit": git_commit(),
        "versions": versions,
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "instruction_set": instruction_set(),
        "cores": cores(),
        "cpu_quota": cpu_quota(),
        "memory_gib": round(memory_bytes() / 2**30, 1),
        "gpus": gpus(),
        "precision": precision(),
        "settings": settings(),
    }


def settings() -> dict[str, str]:
    """Return the user's settings that change what is computed or how fast, without what dlperf has set since."""
    found = {name: value for name, value in os.environ.items() if _SETTINGS.match(name)}
    chosen_here = {onednn.VARIABLE: onednn.users_setting(), xla_cache.VARIABLE: xla_cache.users_flags() or None}
    return {name: value for name, value in sorted((found | chosen_here).items()) if value is not None}


def command() -> str:
    """Return the command line, with the script's path as seen from the working directory."""
    if sys.orig_argv[1:2] == ["-m"]:
        return shlex.join(["python", *sys.orig_argv[1:]])
    program = Path(sys.argv[0])
    if program.suffix != ".py":
        return shlex.join([program.name, *sys.argv[1:]])
    within = Path(os.path.relpath(program))
    return shlex.join(["python", program.name if ".." in within.parts else str(within), *sys.argv[1:]])


def git_commit() -> str | None:
    """Return the commit of the sources that run, with "+changes" if they differ from it; None where it is unknown.

    A container image has no clone, but may hold the commit that it was built from (DLPERF_GIT_COMMIT).
    """
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        built_from = os.environ.get("DLPERF_GIT_COMMIT", "unknown")
        return None if built_from == "unknown" else built_from
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def reset_peak_memory() -> None:
    """Let the peak of resident memory be counted from now on (Linux; elsewhere it stays that of the process)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory_mb() -> float | None:
    """Return the peak resident memory in MB (10^6 bytes) since `reset_peak_memory`, or None where it is unknown."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(peak.group(1)) * 1024 / 1e6 if peak else None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
