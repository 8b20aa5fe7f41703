"""Downloads published files into a folder: complete and verified, or not at all."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dlperf.errors import EnvironmentMissing, one_line
from dlperf.locks import held

# urllib and rich are imported where they are used: `--help` imports this module, and hardly any start downloads.

CHUNK_BYTES = 1 << 18
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_VARIABLE = "DLPERF_DOWNLOAD_DIR"


@dataclass(frozen=True)
class Archive:
    """A published .tar.gz file, known to the byte.

    Attributes:
        url: Where it is.
        size: Its length in bytes.
        sha256: Its SHA-256, 64 hexadecimal characters.
        members: Full names of the regular files to take out of it; everything else in it is ignored.
    """

    url: str
    size: int
    sha256: str
    members: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the members without their folders: what `fetch` leaves behind."""
        return tuple(PurePosixPath(member).name for member in self.members)


@dataclass(frozen=True)
class File:
    """A published file that is kept as it is.

    Attributes:
        url: Where it is.
        size: Its length in bytes.
        md5: Its MD5 sum, 32 hexadecimal characters.
    """

    url: str
    size: int
    md5: str

    @property
    def name(self) -> str:
        """Its name in the folder."""
        return PurePosixPath(self.url).name


def place() -> Path:
    """The folder below which downloads are kept: DLPERF_DOWNLOAD_DIR, else `data` in the user's cache directory."""
    # Imported here because `--help` imports this module and needs no folder.
    import platformdirs

    return Path(os.environ.get(_VARIABLE) or Path(platformdirs.user_cache_dir("dlperf")) / "data")


def fetch(archive: Archive, folder: Path, timeout: float = 20.0) -> None:
    """Make `folder` hold the archive's members, downloading them unless they are there.

    The folder appears under its name in one rename, when every file in it is complete. Several processes may call
    this at once: one downloads, the others wait for it and find the files. What a killed process left is removed by
    the next.

    Args:
        archive: What to download.
        folder: The folder to create; an incomplete one of that name is replaced.
        timeout: Seconds without a byte from the server after which it counts as unreachable.

    Raises:
        BadInput: DLPERF_DOWNLOAD_DIR is no folder that can be written to.
        EnvironmentMissing: The server cannot be reached, what it sent is not the archive, or the folder cannot be
            written; nothing is left behind but an empty lock file.
    """

    def produce(work: Path, complete: Path) -> None:
        packed = work / "archive.tar.gz"
        _receive(archive.url, archive.size, "sha256", archive.sha256, packed, timeout)
        _extract(archive, packed, complete)

    appear(folder, archive.files, produce)


def fetch_files(files: Sequence[File], folder: Path, timeout: float = 20.0) -> None:
    """Make `folder` hold the files, as `fetch` does those of an archive.

    Args:
        files: What to download.
        folder: The folder to create; an incomplete one of that name is replaced.
        timeout: Seconds without a byte from the server after which it counts as unreachable.

    Raises:
        EnvironmentMissing: As `fetch`.
    """

    def produce(work: Path, complete: Path) -> None:
        complete.mkdir()
        for file in files:
            _receive(file.url, file.size, "md5", file.md5, complete / file.name, timeout)

    appear(folder, [file.name for file in files], produce)


def appear(folder: Path, names: Sequence[str], produce: Callable[[Path, Path], None]) -> None:
    """Let `folder` appear in one rename, unless it holds the files already; of several processes one makes it.

    Args:
        folder: The folder to create; an incomplete one of that name is replaced.
        names: The files it is to hold.
        produce: Is called with a folder for work, and the path at which it is to make a folder with these files.

    Raises:
        EnvironmentMissing: The folder cannot be written; nothing is left behind but an empty lock file.
    """

    def is_there() -> bool:
        return all((folder / name).is_file() for name in names)

    if is_there():  # then it need not be written to either
        return
    if (named := os.environ.get(_VARIABLE)) and folder.is_relative_to(named):
        from dlperf.folders import writable_folder  # here, for what it imports: see `place`

        writable_folder(_VARIABLE, Path(named))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f".{folder.name}.lock")
        with held(lock, f"waiting for another process that is filling {folder}"):
            if is_there():
                return
            _remove_leftovers(folder)
            # Beside the target, because a rename is atomic only within one file system.
            with tempfile.TemporaryDirectory(prefix=_leftover_prefix(folder), dir=folder.parent) as work:
                complete = Path(work, "complete")
                produce(Path(work), complete)
                if folder.exists():
                    folder.rename(Path(work, "incomplete"))
                complete.rename(folder)
    except OSError as problem:
        raise EnvironmentMissing(f"{folder} could not be written ({one_line(problem)})") from problem


def _leftover_prefix(folder: Path) -> str:
    return f".{folder.name}.part-"


def _remove_leftovers(folder: Path) -> None:
    # Only called with the lock held, so whoever made these is dead.
    for leftover in folder.parent.glob(f"{_leftover_prefix(folder)}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _receive(url: str, size: int, algorithm: str, published: str, file: Path, timeout: float) -> None:
    """Stream what is at `url` into a file and compare its length and its hash with the published ones."""
    import http.client
    import urllib.error
    import urllib.request

    digest, received = hashlib.new(algorithm), 0
    with file.open("wb") as out:
        try:
            with urllib.request.urlopen(url, timeout=timeout) as response, _progress(url, size) as show:
                # One byte more than announced is enough to know that it is another file.
                while chunk := response.read(min(CHUNK_BYTES, size + 1 - received)):
                    out.write(chunk)
                    digest.update(chunk)
                    received += len(chunk)
                    show(received)
        except urllib.error.HTTPError as problem:
            raise EnvironmentMissing(f"{url} answered {one_line(problem)}") from problem
        except urllib.error.URLError as problem:
            raise EnvironmentMissing(f"{url} could not be reached ({one_line(problem.reason)})") from problem
        except (OSError, http.client.HTTPException) as problem:
            if getattr(problem, "errno", None) in _DISK_FULL:
                raise
            raise EnvironmentMissing(f"the download of {url} broke off ({one_line(problem)})") from problem
    if received != size:
        amount = f"{received:,}" if received < size else f"more than {size:,}"
        raise EnvironmentMissing(f"{url} sent {amount} bytes instead of {size:,}")
    if digest.hexdigest() != published:
        called = {"sha256": "SHA-256", "md5": "MD5 sum"}[algorithm]
        raise EnvironmentMissing(f"{url} sent a file with {called} {digest.hexdigest()}, not {published}")


@contextlib.contextmanager
def _progress(url: str, size: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error; gives a function to call with the number of bytes received so far."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"downloading {PurePosixPath(url).name}", total=size)
        yield lambda received: bar.update(task, completed=received)


def _extract(archive: Archive, packed: Path, folder: Path) -> None:
    """Copy the expected regular files out of the archive, under our names for them.

    Nothing is extracted by the name, type, owner or mode that the archive states, so no entry can leave the folder.
    """
    folder.mkdir()
    try:
        with tarfile.open(packed, "r:gz") as tar:
            for entry in tar:
                if entry.name in archive.members and entry.isreg() and (content := tar.extractfile(entry)):
                    with content, (folder / PurePosixPath(entry.name).name).open("wb") as out:
                        shutil.copyfileobj(content, out, CHUNK_BYTES)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as problem:
        raise EnvironmentMissing(f"{archive.url} is no readable .tar.gz file ({one_line(problem)})") from problem
    missing = [file for file in archive.files if not (folder / file).is_file()]
    if missing:
        raise EnvironmentMissing(f"{archive.url} does not hold {', '.join(missing)} as regular files")
