"""The user's own models and data, named by an entry point's arguments: found here, packed, named as they lie there."""

from __future__ import annotations

import hashlib
import os
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dlperf import data, entry_points
from dlperf.data import user_data
from dlperf.errors import BadInput
from dlperf.models import reference
from dlperf.models.reference import ModelReference
from dlperf.parameters import Parameters, describe, parse

DATA = "/data"
"""Where a container has the data sets."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class OwnFile:
    """A file or folder of the user's own.

    Attributes:
        parameter: The parameter that names it.
        value: What the parameter holds.
        before: What stands before the path in that, as `npz:`.
        files: Those to send, by their path on the host: the name of the file, or of the folder and what is below it.
        digest: Of paths and contents, 32 hexadecimal characters.
        size: Bytes.
    """

    parameter: str
    value: str
    before: str
    files: Mapping[str, Path]
    digest: str
    size: int

    @property
    def name(self) -> str:
        """Name of the file or folder."""
        return PurePosixPath(next(iter(self.files))).parts[0]

    def named_in(self, folder: str) -> str:
        """Return what the parameter holds on the host, whose folder has what was sent."""
        return f"{self.before}{folder}/{self.digest}/{self.name}"


def plan(entry_point: str, arguments: Mapping[str, str]) -> list[OwnFile]:
    """Return what the arguments of an entry point name of this machine.

    Args:
        entry_point: Its name.
        arguments: Its parameters, as text.

    Raises:
        BadInput: If a file is not there or cannot be read.
    """
    parameters = parse(entry_points.load(entry_point).parameters, arguments).trials[0]
    named = _named(parameters)
    for name in named:  # all of them, before one is read to its end
        _refuse_missing(name, getattr(parameters, name))
    return [_own_file(name, getattr(parameters, name), path) for name, path in named.items()]


def folder_for(volume: str) -> str:
    """Return where a container has what is sent; a folder of the host, given as --data, is only read from."""
    return f"{'/cache' if volume.startswith('/') else DATA}/sent"


def named_there(arguments: Mapping[str, str], own: Sequence[OwnFile], folder: str) -> dict[str, str]:
    """Return the arguments with the paths that the files have in a container."""
    return {**arguments, **{each.parameter: each.named_in(folder) for each in own}}


def packed(own: OwnFile, folder: str) -> Iterator[bytes]:
    """Pack files as a tar archive, part by part, below a folder in it.

    Raises:
        BadInput: If one cannot be read, or grows.
    """
    folders = {str(parent) for name in own.files for parent in PurePosixPath(folder, name).parents} - {"."}
    for name in sorted(folders):
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, time.time()
        yield entry.tobuf(tarfile.PAX_FORMAT)
    for name, path in own.files.items():
        with _readable(own.parameter, own.value):
            state = path.stat()
        entry = tarfile.TarInfo(f"{folder}/{name}")
        # The cache of decoded images goes by the time of modification, too.
        entry.size, entry.mode, entry.mtime = state.st_size, 0o644, state.st_mtime
        yield entry.tobuf(tarfile.PAX_FORMAT)
        sent = 0
        with _readable(own.parameter, own.value):
            for chunk in _chunks(path):
                sent += len(chunk)
                yield chunk
        if sent != state.st_size:
            raise _changed(own)
        yield bytes(-sent % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def refuse_changed(own: OwnFile) -> None:
    """Refuse files that no longer are what they were when they were found.

    Raises:
        BadInput: If they have changed, or cannot be read any more.
    """
    with _readable(own.parameter, own.value):
        if _digest(own.files) != own.digest:
            raise _changed(own)


def _changed(own: OwnFile) -> BadInput:
    return BadInput(own.parameter, own.value, "has changed while it was sent: start again")


def _named(parameters: Parameters) -> dict[str, str]:
    """Return the paths that parameters name, by parameter, without those that only the host has, in its data."""
    described = {each.name: each.path_in(getattr(parameters, each.name)) for each in describe(type(parameters))}
    return {name: path for name, path in described.items() if path and not _is_of_host(path)}


def _refuse_missing(parameter: str, value: str) -> None:
    if data.kind(value):
        user_data.existing(value)
    elif parameter == "custom":
        reference.module_file(value)
    else:
        reference.kind(ModelReference(parameter, value))


def _is_of_host(path: str) -> bool:
    return PurePosixPath(DATA) in (p := PurePosixPath(path), *p.parents) and not os.path.exists(path)


def _own_file(parameter: str, value: str, path: str) -> OwnFile:
    whole = Path(os.path.abspath(os.path.expanduser(path)))
    found = [Path(os.path.abspath(each)) for each in data.stored_files(value)] if data.kind(value) else [whole]
    files = {str(PurePosixPath(whole.name, *each.relative_to(whole).parts)): each for each in found}
    with _readable(parameter, value):
        size = sum(each.stat().st_size for each in found)
        return OwnFile(parameter, value, value.removesuffix(path), files, _digest(files), size)


@contextmanager
def _readable(parameter: str, value: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(parameter, value, f"cannot be read ({error.strerror}: {error.filename})") from error


def _digest(files: Mapping[str, Path]) -> str:
    state = hashlib.sha256()
    for name, path in files.items():
        content = hashlib.sha256()
        for chunk in _chunks(path):
            content.update(chunk)
        state.update(f"{name}\0{content.hexdigest()}\0".encode())
    return state.hexdigest()[:32]


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK):
            yield chunk
