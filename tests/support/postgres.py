"""A PostgreSQL server of the tests' own: a new cluster in a folder, on a free port of the loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER, PASSWORD, DATABASE = "mlflow", "a password of the test's own", "mlflow"


def programs() -> Path | None:
    """The folder of PostgreSQL's newest programs, None if it is not installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = str(installed[-1]) if installed else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def why_not() -> str:
    """Why no server can be started here, "" if one can."""
    if programs() is None:
        return "needs PostgreSQL's server: Debian's package postgresql"
    if os.geteuid() == 0 and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
        return "PostgreSQL refuses to run as root, and there is no user postgres"
    return ""


@contextmanager
def running() -> Iterator[str]:
    """Start a server for the block.

    Yields:
        The address of an empty database in it, as MLflow takes it.
    """
    folder = Path(tempfile.mkdtemp(prefix="dlperf-postgres-", dir="/tmp"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    secret = folder / "password"
    _run("sh", "-c", f"umask 077; cat > {secret}", stdin=PASSWORD)
    cluster = str(folder / "cluster")
    listening = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    try:
        _run("initdb", "-D", cluster, "-U", USER, "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8")
        _run("pg_ctl", "-D", cluster, "-l", str(folder / "log"), "-o", listening, "-w", "start")
        environment = {"PGPASSWORD": PASSWORD}
        _run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", USER, DATABASE, **environment)
        password = PASSWORD.replace(" ", "%20").replace("'", "%27")
        # The driver is named: from version 2.1 on SQLAlchemy takes another one for a bare postgresql://.
        yield f"postgresql+psycopg2://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"
    finally:
        _run("pg_ctl", "-D", cluster, "-m", "immediate", "-w", "stop", check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _run(program: str, *arguments: str, stdin: str = "", check: bool = True, **environment: str) -> None:
    """Run a program as a user that PostgreSQL takes."""
    path = f"{programs()}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [shutil.which(program, path=path) or program, *arguments],
        cwd="/",
        env={**os.environ, "PATH": path, **environment},
        input=stdin,
        stdout=subprocess.DEVNULL,  # not a pipe: the server inherits it, and would hold it open
        stderr=subprocess.DEVNULL,
        text=True,
        user="postgres" if os.geteuid() == 0 else None,
        group="postgres" if os.geteuid() == 0 else None,
        timeout=120,
    )
    assert not check or done.returncode == 0, f"{program} failed"
