"""Keras models as people save them: .keras and HDF5 files, with classes of one's own where they are registered."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import sys
import tempfile
import zipfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from dlperf.errors import BadInput, one_line

if TYPE_CHECKING:
    import keras

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MISSING = re.compile(r"Could not locate (?:class|function) '([^']+)'|Unknown \w+: '([^']+)'")
_READABLE = "files that can be read: .keras and .h5, as model.save writes them"


@functools.lru_cache(maxsize=1)
def loaded(file: Path, custom: str, unsafe: bool, subject: str) -> keras.Model:
    """Load a model from its file, whose content says which kind it is: endings may be spelt in any way, or lack.

    Args:
        file: The file.
        custom: Module, or path of a .py file, that registers the model's own classes; "" for none.
        unsafe: Run the Python code of Lambda layers in the file.
        subject: The parameter as the user wrote it, for the error.

    Raises:
        BadInput: There is no such file, it holds no model, or a class is not registered.
    """
    import keras

    ending = kind(file, subject)
    if custom:
        _imported(custom)
    with tempfile.TemporaryDirectory(prefix="dlperf-model-") as folder:
        link = Path(folder, f"model{ending}")  # Keras goes by the ending
        link.symlink_to(file.resolve())
        try:
            return keras.models.load_model(link, compile=False, safe_mode=not unsafe)
        except Exception as error:
            # A damaged or foreign file fails in many ways, from the zip archive to a layer's constructor.
            raise BadInput("subject", subject, _why_not(error, custom)) from error


def kind(file: Path, subject: str) -> str:
    """Return the ending that belongs to a file's content; it needs no TensorFlow.

    Raises:
        BadInput: There is no such file, or it is of no kind that can be read.
    """
    if not file.exists():
        looked = "" if file.is_absolute() else f": looked for {file.absolute()}"
        raise BadInput("subject", subject, f"there is no such file{looked}")
    if not file.is_file():
        raise BadInput("subject", subject, f"is a folder; {_READABLE}")
    try:
        with file.open("rb") as content:
            start = content.read(len(_HDF5_SIGNATURE))
    except OSError as error:
        raise BadInput("subject", subject, f"cannot be read: {error.strerror}") from error
    if start == _HDF5_SIGNATURE:
        return ".h5"
    if zipfile.is_zipfile(file):
        return ".keras"
    raise BadInput("subject", subject, f"is neither a .keras archive nor HDF5; {_READABLE}")


def _imported(custom: str) -> ModuleType:
    """Import what registers a model's own classes: a module, or a file by its path."""
    file = Path(custom).expanduser()
    is_path = "/" in custom or custom.endswith(".py")
    if is_path and not file.is_file():
        raise BadInput("custom", custom, f"there is no such file: looked for {file.absolute()}")
    try:
        if not is_path:
            return importlib.import_module(custom)
        # Under its path, not its stem: two files of one name are two modules, and a second model finds the first.
        name = f"dlperf_custom:{file.resolve()}"
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise BadInput("custom", custom, "must be a module or a .py file")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module
    except BadInput:
        raise
    except (Exception, SystemExit) as error:
        raise BadInput("custom", custom, f"cannot be imported: {type(error).__name__}: {one_line(error)}") from error


def _why_not(error: Exception, custom: str) -> str:
    """Say in one line why a file cannot be read as a model."""
    said = str(error)
    if missing := _MISSING.search(said):
        name = (missing.group(1) or missing.group(2)).rpartition(">")[2]  # behind the package
        given = f"{custom} does not register it" if custom else "give custom=MODULE, or a .py file, that registers it"
        return f"needs the class or function {name}, which is not Keras's: {given}"
    if "safe_mode=False" in said or "enable_unsafe_deserialization" in said:
        what = "a Lambda layer" if "Lambda" in said else "a layer"
        return f"has {what} that is Python code in the file: unsafe=true loads it, and runs it with your rights"
    if "No model config found" in said:
        return "holds weights and no model; model.save writes both"
    return f"cannot be read as a Keras model: {one_line(said)}"
