"""What TensorFlow's libraries write to the standard error while they are loaded, and what a user learns nothing from.

TF_CPP_MIN_LOG_LEVEL does not reach that: they write before their logging has been set up.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType

# A process, which passes on the last words of one that ends in the middle: that its processor lacks instructions.
_FILTER = r"""
import re, sys
notice = re.compile(
    rb"I\d{4} |WARNING: All log messages before absl::InitializeLog|To enable the following instructions: |"
    rb"[WE]\d{4} .*(Unable to register cu\w+ factory|computation placer already registered|failed call to cuInit)"
)
for line in sys.stdin.buffer:
    if not notice.match(line):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
"""
_SECONDS_TO_END = 2


def leave_out() -> None:
    """Leave notices out when TensorFlow is imported, by whomever, unless TF_CPP_MIN_LOG_LEVEL=0 asks for them."""
    there = "tensorflow" in sys.modules or any(isinstance(finder, _Finder) for finder in sys.meta_path)
    if not there and os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0") != "0":
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds TensorFlow with a loader that leaves notices out."""

    def __init__(self) -> None:
        self._asks_the_others = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "tensorflow" or self._asks_the_others:
            return None
        self._asks_the_others = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._asks_the_others = False
        if spec and spec.loader:
            load = spec.loader.exec_module

            def load_in_silence(module: ModuleType) -> None:
                with _without_notices():
                    load(module)

            spec.loader.exec_module = load_in_silence  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def _without_notices() -> Iterator[None]:
    import subprocess  # here and not above: `--help` need not wait for it

    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    command = [sys.executable, "-I", "-S", "-c", _FILTER]
    reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=kept, start_new_session=True)
    assert reader.stdin
    os.dup2(reader.stdin.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        reader.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # something started meanwhile still has the pipe
            reader.wait(_SECONDS_TO_END)
