"""Keras models as people save them: .keras and HDF5 files, with classes of one's own where they are registered."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dlperf.errors import BadInput, did_you_mean, one_line
from dlperf.models.reference import PREFIX, ModelReference, kind, module_file

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras

_MISSING = re.compile(r"Could not locate (?:class|function) '([^']+)'|Unknown \w+: '([^']+)'")


@functools.lru_cache(maxsize=1)
def loaded(model: ModelReference, custom: str = "", unsafe: bool = False) -> keras.Model:
    """Load a model from its file, whose content says which kind it is: endings may be spelt in any way, or lack.

    Args:
        model: Names the file.
        custom: Module, or path of a .py file, that registers the model's own classes; "" for none.
        unsafe: Run the Python code of Lambda layers in the file.

    Raises:
        BadInput: There is no such file, it holds no model, or a class is not registered.
    """
    import keras

    ending, file = kind(model), model.file
    assert file is not None
    if custom:
        _imported(custom)
    with tempfile.TemporaryDirectory(prefix="dlperf-model-") as folder:
        link = Path(folder, f"model{ending}")  # Keras goes by the ending
        link.symlink_to(file.resolve())
        try:
            return keras.models.load_model(link, compile=False, safe_mode=not unsafe)
        except Exception as error:
            # A damaged or foreign file fails in many ways, from the zip archive to a layer's constructor.
            raise model.refuse(_why_not(error, model, custom)) from error


def application(model: ModelReference) -> Callable[..., Any]:
    """Return the function of keras.applications that builds a model.

    Raises:
        BadInput: There is none of this name.
    """
    import keras

    known = [name for name in dir(keras.applications) if name[0].isupper()]
    if model.name not in known:
        hint = did_you_mean(model.name, known, prefix=PREFIX, cutoff=0.5)
        raise model.refuse(f"keras.applications has no such model{hint} ({', '.join(known)})")
    build: Callable[..., Any] = getattr(keras.applications, model.name)
    return build


def _imported(custom: str) -> ModuleType:
    """Import what registers a model's own classes: a module, or a file by its path."""
    file = module_file(custom)
    try:
        if not file:
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


def _why_not(error: Exception, model: ModelReference, custom: str) -> str:
    """Say in one line why a file cannot be read as a model."""
    said = str(error)
    if missing := _MISSING.search(said):
        name = (missing.group(1) or missing.group(2)).rpartition(">")[2]  # behind the package
        given = f"{custom} does not register it" if custom else "give custom=MODULE, or a .py file, that registers it"
        return f"needs the class or function {name}, which is not Keras's: {given}"
    if "safe_mode=False" in said or "enable_unsafe_deserialization" in said:
        what = "a Lambda layer" if "Lambda" in said else "a layer"
        if model.parameter != "subject":  # what trains has no switch to run it
            return f"has {what} that is Python code in the file, which is not run: give a class that custom registers"
        return f"has {what} that is Python code in the file: unsafe=true loads it, and runs it with your rights"
    if "No model config found" in said:
        return "holds weights and no model; model.save writes both"
    return f"cannot be read as a Keras model: {one_line(said)}"
