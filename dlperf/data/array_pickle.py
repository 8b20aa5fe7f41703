"""Reads pickled dictionaries of arrays, as CIFAR's Python version is, without running what a pickle can carry."""

from __future__ import annotations

import pickle
from typing import IO, Any

from dlperf.data.refusal import Refusal
from dlperf.errors import one_line

# What an array is put together with, under the names of NumPy 1 and 2; bytes, text, numbers, lists, tuples and
# dictionaries have opcodes of their own.
_ARRAYS = {
    *((f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Finds the functions that put an array together, and nothing else that a file names."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAYS:
            raise Refusal(f"names {module}.{name}, which is no part of an array: refused, and nothing of it was run")
        # NumPy 1's places are gone from some NumPy 2.
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)

    def persistent_load(self, pid: Any) -> Any:
        raise Refusal("refers to something outside itself, which no array does: refused")


def read(file: IO[bytes]) -> dict[str, Any]:
    """Read a pickled dictionary.

    Args:
        file: The open file.

    Returns:
        The dictionary; keys that are bytes as text.

    Raises:
        Refusal: It holds anything but a dictionary of arrays, bytes, text, numbers and lists and dictionaries of them.
    """
    try:
        content = _ArrayUnpickler(file, encoding="bytes").load()
    except Refusal:
        raise
    except Exception as error:  # whatever opcodes in a wrong order make of it
        raise Refusal(f"is no pickle of arrays ({type(error).__name__}: {one_line(error)})") from error
    if not isinstance(content, dict):
        raise Refusal(f"holds a {type(content).__name__}, must hold a dictionary")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in content.items()}
