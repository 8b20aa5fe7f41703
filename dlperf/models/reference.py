"""How a user names a Keras model, `keras:FILE` or `keras:NAME`, and what tells one from another.

Needs neither Keras nor NumPy, so that a command line that names a model is read without waiting for them.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlperf.errors import BadInput, one_line
from dlperf.folders import looked_for

PREFIX = "keras:"
_FILE_ENDINGS = (".keras", ".h5", ".hdf5")
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Layers whose statistics are taken from data and not trained; they stay with the architecture.
_ADAPTED = ("Normalization", "Discretization", "StringLookup", "IntegerLookup", "TextVectorization")
_LEFT_OUT = ("compile_config", "shared_object_id")
READABLE = "files that can be read: .keras and .h5, as model.save writes them"


def names_a_file(written: str) -> bool:
    """Whether a text is `keras:` and the path of an existing file, whatever stands in the path."""
    try:
        return written.startswith(PREFIX) and Path(written.removeprefix(PREFIX)).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # too long a name, no such user's home, a zero byte
        return False


@dataclass(frozen=True)
class ModelReference:
    """A model of Keras's, or of a user's, by the text that names it.

    Attributes:
        parameter: The parameter that holds the text.
        written: The text, `keras:` included.
    """

    parameter: str
    written: str

    @property
    def name(self) -> str:
        """Name in keras.applications, or path."""
        return self.written.removeprefix(PREFIX)

    @property
    def file(self) -> Path | None:
        """Path of a saved model, if that is what is named: it exists, or is written as a path."""
        is_path = "/" in self.name or self.name.lower().endswith(_FILE_ENDINGS) or names_a_file(self.written)
        return Path(os.path.expanduser(self.name)) if is_path else None  # which raises for no name

    def refuse(self, reason: str) -> BadInput:
        """Return the error that this model cannot be used."""
        return BadInput(self.parameter, self.written, reason)


@dataclass(frozen=True)
class OwnModel:
    """What a user named, and the data that it is to fit.

    Attributes:
        reference: Names the model.
        custom: Module, or path of a .py file, that registers the model's own classes; "" for none.
        keep_weights: Start from the file's weights instead of fresh ones.
        shape: Of an example.
        classes: Of the data.
        data: The data, as the user named them, for errors.
    """

    reference: ModelReference
    custom: str
    keep_weights: bool
    shape: tuple[int, ...]
    classes: int
    data: str


def path_in(written: str) -> str:
    """Return the path of `keras:FILE`, "" for a name."""
    named = ModelReference("", written)
    return named.name if written.startswith(PREFIX) and named.file else ""


def module_path(custom: str) -> str:
    """Return the path of a .py file that registers classes, "" for the name of a module."""
    return custom if "/" in custom or custom.endswith(".py") else ""


def module_file(custom: str) -> Path | None:
    """Return the .py file that registers classes; None for the name of a module.

    Raises:
        BadInput: There is no such file.
    """
    if not module_path(custom):
        return None
    file = Path(os.path.expanduser(custom))
    if not os.path.isfile(file):
        raise BadInput("custom", custom, f"there is no such file: {looked_for(file)}")
    return file


def kind(model: ModelReference) -> str:
    """Return the ending that belongs to a file's content, whatever its name.

    Raises:
        BadInput: There is no such file, or it is of no kind that can be read.
    """
    file = model.file
    assert file is not None
    if not os.path.exists(file):  # False, too, for names that no file system accepts
        raise model.refuse(f"there is no such file: {looked_for(file)}")
    if not file.is_file():
        raise model.refuse(f"is a folder; {READABLE}")
    try:
        with file.open("rb") as content:
            start = content.read(len(_HDF5_SIGNATURE))
    except OSError as error:
        raise model.refuse(f"cannot be read: {error.strerror}") from error
    if start == _HDF5_SIGNATURE:
        return ".h5"
    if zipfile.is_zipfile(file):
        return ".keras"
    raise model.refuse(f"is neither a .keras archive nor HDF5; {READABLE}")


def digest(model: ModelReference, *, with_weights: bool) -> str:
    """Fingerprint a model: 16 hexadecimal characters that follow from its content, not from where it lies.

    Args:
        model: Whose; one of keras.applications is told by its name.
        with_weights: Take the weights in, too. Statistics of the data that layers such as Normalization have adapted
            to are always taken in.

    Raises:
        BadInput: There is no such file, or it cannot be read.
    """
    if model.file is None:
        return hashlib.sha256(model.written.encode()).hexdigest()[:16]
    try:
        stat = model.file.stat()
    except OSError:
        kind(model)  # says why
        raise
    return _file_digest(model, with_weights, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=32)
def _file_digest(model: ModelReference, with_weights: bool, changed: int, size: int) -> str:
    """The digest of a file as it was at a time: every trial of a sweep asks for it."""
    ending, file = kind(model), model.file
    assert file is not None
    try:
        if ending == ".keras":
            with zipfile.ZipFile(file) as archive:
                config = json.loads(archive.read(_CONFIG))
                weights = archive.read(_WEIGHTS)
        else:
            import h5py  # type: ignore[import-untyped]

            with h5py.File(file) as content:
                config = json.loads(content.attrs["model_config"])
            weights = file.read_bytes()
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        if ending == ".h5":
            raise model.refuse("holds weights and no model; model.save writes both") from error
        raise model.refuse(f"cannot be read as a Keras model: {one_line(error)}") from error
    state = hashlib.sha256(json.dumps(_architecture(config), sort_keys=True, separators=(",", ":")).encode())
    if with_weights or any(f'"{name}"' in json.dumps(config) for name in _ADAPTED):
        state.update(weights)
    return state.hexdigest()[:16]


def _architecture(config: Any) -> Any:
    """The configuration without addresses in memory, and what training replaces: optimizer and seeds."""
    if isinstance(config, dict):
        return {
            key: None if key == "seed" and isinstance(value, int) else _architecture(value)
            for key, value in config.items()
            if key not in _LEFT_OUT
        }
    return [_architecture(value) for value in config] if isinstance(config, list) else config
