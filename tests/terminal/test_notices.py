"""What is left out of the standard error while TensorFlow is loaded: notices alone, also of a process that dies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTICES = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795714441.246576   20235 port.cc:153] oneDNN custom operations are on.",
    "I0000 00:00:1795714528.820137   20959 cpu_feature_guard.cc:227] This TensorFlow binary is optimized",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow",
    "E0000 00:00:1 1 cuda_fft.cc:467] Unable to register cuFFT factory: Attempting to register factory",
    "E0000 00:00:1 1 cuda_platform.cc:51] failed call to cuInit: INTERNAL: CUDA error",
)
WORDS = (
    "W0000 00:00:1 1 gpu_device.cc:2341] Cannot dlopen some GPU libraries",
    "F0000 00:00:1 1 port.cc:90] The TensorFlow library was compiled to use AVX instructions",
)
MODULE = f"""
import os
os.write(2, {chr(10).join((*NOTICES, *WORDS, "")).encode()!r})
if "DIES" in os.environ:
    os.abort()
if "RAISES" in os.environ:
    raise ImportError("libcudart.so is no ELF file")
"""
PROGRAM = """
import importlib.util, sys
from dlperf.terminal import notices
notices.leave_out()
notices.leave_out()
assert importlib.util.find_spec("tensorflow")  # as libraries do that can go without
import tensorflow
print("I0000 ours", file=sys.stderr)
"""


def errors_of(folder: Path, **environment: str) -> list[str]:
    """Import a TensorFlow that has notices and last words, then say something; return the standard error."""
    (folder / "tensorflow.py").write_text(MODULE)
    own = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [
            sys.executable,
            *("-c", PROGRAM),
        ],
        env={**own, "PYTHONPATH": os.pathsep.join([str(folder), os.getcwd()]), **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    return done.stderr.splitlines()


def test_notices_are_left_out_while_it_loads_and_nothing_else(tmp_path: Path) -> None:
    assert errors_of(tmp_path) == [*WORDS, "I0000 ours"]


@pytest.mark.parametrize("level", ["1", "2", "3"])
def test_the_users_level_is_kept(tmp_path: Path, level: str) -> None:
    assert errors_of(tmp_path, TF_CPP_MIN_LOG_LEVEL=level) == [*WORDS, "I0000 ours"]


def test_the_user_can_ask_for_them(tmp_path: Path) -> None:
    assert errors_of(tmp_path, TF_CPP_MIN_LOG_LEVEL="0") == [*NOTICES, *WORDS, "I0000 ours"]


def test_the_last_words_of_a_process_that_dies_are_passed_on(tmp_path: Path) -> None:
    assert errors_of(tmp_path, DIES="1") == list(WORDS)


def test_an_import_that_fails_says_why(tmp_path: Path) -> None:
    said = errors_of(tmp_path, RAISES="1")
    assert said[: len(WORDS)] == list(WORDS)
    assert said[-1] == "ImportError: libcudart.so is no ELF file"
