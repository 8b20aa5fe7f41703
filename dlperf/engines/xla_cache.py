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
import stat
import sys
from importlib import metadata
from pathlib import Path

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
    theirs = _without_ours(os.environ.get(VARIABLE, ""))
    if "tensorflow" in sys.modules or _FLAG.rstrip("=") in theirs:
        return
    folder = _root() / _key(threads, theirs)
    if not _is_private(folder):
        return
    _remove_damaged(folder)
    _remove_oldest(_root())
    os.environ[VARIABLE] = f"{theirs} {_FLAG}{folder}".strip()


def _root() -> Path:
    return Path(platformdirs.user_cache_dir("dlperf")) / "xla"


def _without_ours(flags: str) -> str:
    """The user's flags: what this process inherits may have ours, of a start with other threads."""
    return " ".join(flag for flag in flags.split() if not flag.startswith(f"{_FLAG}{_root()}"))


def _key(threads: int, flags: str) -> str:
    """Name what a compiled program depends on besides the program."""
    versions = {}
    for package in ("tensorflow", "tensorflow-cpu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    settings = {name: value for name, value in os.environ.items() if name.startswith(("XLA_", "TF_ENABLE_", "TF_XLA_"))}
    depends = [versions, processor.cpu_model(), processor.cpu_flags(), threads, flags, settings | {VARIABLE: ""}]
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]


def _is_private(folder: Path) -> bool:
    """Make the folder; whether it is there, and nobody else can put programs into it."""
    # TensorFlow splits its flags at blanks.
    if re.search(r"\s", str(folder)):
        return False
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        return (
            found.st_uid == os.getuid()
            and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            and os.access(folder, os.W_OK)
        )
    except OSError:
        return False


def _remove_damaged(folder: Path) -> None:
    for path in folder.glob("*.pb"):
        with contextlib.suppress(OSError):
            if not _is_whole(path):
                path.unlink()


def _is_whole(path: Path) -> bool:
    """Whether a protocol buffer's fields end where the file ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            kind = _varint(file.read(1), file) & 7
            if kind == 2:
                file.seek(_varint(file.read(1), file), os.SEEK_CUR)
            elif kind == 0:
                _varint(file.read(1), file)
            else:
                file.seek({1: 8, 5: 4}.get(kind, size), os.SEEK_CUR)
        return 0 < size == file.tell()


def _varint(first: bytes, file: object) -> int:
    """Read a number of 7 bits a byte, the lowest first; a file that ends within it gives one that is too large."""
    value, shift, byte = 0, 0, first
    while byte and byte[0] & 128 and shift < 63:
        value |= (byte[0] & 127) << shift
        shift += 7
        byte = file.read(1)  # type: ignore[attr-defined]
    return value | (byte[0] << shift) if byte else 2**40


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
