"""What XLA has compiled, kept on disk: the same network starts faster the next time, and computes the same bits.

TensorFlow has such a cache (`tf_xla_persistent_cache_directory`), but names its files by the program alone: what was
compiled for another processor, version or number of threads would be taken as well, and a file that lacks its end fails
the run. So each combination has a folder of its own here, and files are looked at before TensorFlow may read them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import sys
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

import platformdirs

from dlperf import processor

VARIABLE = "TF_XLA_FLAGS"
_FLAG = "--tf_xla_persistent_cache_directory="
_MOST_BYTES = 2**30


def use(threads: int) -> None:
    """Let XLA keep its programs, unless TensorFlow is loaded, the user has a cache, or there is no place for one.

    Args:
        threads: Threads that compute; XLA divides its loops by them.
    """
    theirs = users_flags()
    if "tensorflow" in sys.modules or _FLAG.rstrip("=") in theirs:
        return
    folder = _root() / _key(threads, theirs)
    if not _is_usable(folder):
        return
    _remove_damaged(folder)
    _remove_oldest(_root())
    os.environ[VARIABLE] = f"{theirs} {_FLAG}{folder}".strip()


def users_flags() -> str:
    """Return what the user has set: what this process inherits may have our cache, of a start with other threads."""
    flags = os.environ.get(VARIABLE, "").split()
    return " ".join(flag for flag in flags if not flag.startswith(f"{_FLAG}{_root()}"))


def _root() -> Path:
    return Path(platformdirs.user_cache_dir("dlperf")) / "xla"


def _key(threads: int, flags: str) -> str:
    """Name what a compiled program depends on besides the program."""
    versions = {}
    for package in ("tensorflow", "tensorflow-cpu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    settings = {name: value for name, value in os.environ.items() if name.startswith(("XLA_", "TF_ENABLE_", "TF_XLA_"))}
    depends = [versions, processor.cpu_model(), processor.cpu_flags(), threads, flags, settings | {VARIABLE: ""}]
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]


def _is_usable(folder: Path) -> bool:
    """Make the folder; whether it is there with room in it, and nobody else can put programs into it."""
    # TensorFlow splits its flags at blanks.
    if re.search(r"\s", str(folder)):
        return False
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        # On a disk that is full TensorFlow cannot write a program, and fails the run.
        has_room = shutil.disk_usage(folder).free > _MOST_BYTES
        return found.st_uid == os.getuid() and not others_write and os.access(folder, os.W_OK) and has_room
    except OSError:
        return False


def _remove_damaged(folder: Path) -> None:
    for path in folder.glob("*.pb"):
        with contextlib.suppress(OSError):
            try:
                whole = _is_whole(path)
            except ValueError:
                whole = False
            if not whole:
                path.unlink()


def _is_whole(path: Path) -> bool:
    """Whether a protocol buffer's fields end where the file ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            match _varint(file) & 7:  # how a field's content is written
                case 0:
                    _varint(file)
                case 1:
                    file.seek(8, os.SEEK_CUR)
                case 2:
                    file.seek(_varint(file), os.SEEK_CUR)
                case 5:
                    file.seek(4, os.SEEK_CUR)
                case _:
                    return False
        return 0 < size == file.tell()


def _varint(file: BinaryIO) -> int:
    """Read a number of 7 bits a byte, the lowest first.

    Raises:
        ValueError: If the file ends within it, or it is too long for one.
    """
    value = 0
    for shift in range(0, 63, 7):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("no number")


def _remove_oldest(root: Path) -> None:
    """Keep the newest programs of all folders, a GiB of them."""
    files = []
    for path in root.glob("*/*.pb"):
        with contextlib.suppress(OSError):
            found = path.stat()
            files.append((found.st_mtime, found.st_size, path))
    kept = 0
    for _, size, path in sorted(files, reverse=True):
        kept += size
        if kept > _MOST_BYTES:
            path.unlink(missing_ok=True)
