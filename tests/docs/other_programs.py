"""Reads commands of other programs: the files, services, targets and options that they name are there.

Each reader returns the commands within the command, as those that a container or another host is to run.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from tests.docs.pages import ROOT
from tests.docs.shell import ASSIGNMENT, Refused, commands, options

Words = list[str]

# Options of programs that cannot be asked in this process, by sub-command: whether they take a value. Docker's and
# PostgreSQL's were looked up in the programs' help; Compose's are those that docs/team-tracking.md was tried with.
_DOCKER: dict[str, dict[str, bool]] = {
    "build": {"-t": True, "--tag": True, "--build-arg": True},
    "run": {
        **{"--rm": False, "--read-only": False, "-v": True, "-e": True, "--env": True, "--tmpfs": True},
        **{"--network": True, "--user": True, "--gpus": True, "--entrypoint": True},
    },
    "stop": {},
    "volume rm": {},
    "compose": {"-f": True},
    "compose up": {"--detach": False, "--wait": False},
    "compose exec": {"-T": False},
    "compose run": {"--rm": False},
    "compose restart": {},
}
_SSH = {"-N": False, "-R": True, "-L": True}
_OTHERS: dict[str, dict[str, bool]] = {
    "pg_dump": {"--username": True, "--format": True},
    "pg_restore": {
        **{"--username": True, "--dbname": True, "--clean": False, "--if-exists": False, "--exit-on-error": False},
    },
    "tar": {"-C": True, "-c": False, "-x": False},
    "openssl": {"-hex": True},
    "nvidia-smi": {},
}
_PIP = {"--editable": True}


def _make(words: Words) -> list[Words]:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", text, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z_]+) \?=", text, re.MULTILINE))
    for word in words:
        name, equals, _ = word.partition("=")
        if name not in (variables if equals else targets):
            raise Refused(f"the Makefile has no {name}")
    return []


def _docker(words: Words) -> list[Words]:
    known, rest = _sub_command("docker", words, _DOCKER)
    if known == "compose":
        return _compose(rest)
    given, arguments = options(f"docker {known}", _DOCKER[known], rest, stop=known == "run")
    if known == "build":
        declared = set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
        for name in (value.partition("=")[0] for option, value in given if option == "--build-arg"):
            if name not in declared:
                raise Refused(f"the Dockerfile has no ARG {name}")
        if rest and arguments != ["."]:
            raise Refused(f"docker build of {arguments}")
    elif known == "run" and arguments and arguments[0].partition(":")[0] == "dlperf":
        return [arguments]
    elif known == "volume rm":
        mounted = [each.partition(":")[0] for each in _docker_project()["volumes"]]
        if not set(arguments) <= set(mounted):
            raise Refused(f"nothing makes a volume {arguments[0]}")
    return []


def _docker_project() -> dict[str, Any]:
    project: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "MLproject").read_text())["docker_env"]
    return project


def _compose(words: Words) -> list[Words]:
    """Read `docker compose`: its files exist, and have the services."""
    files = []
    while words[0] == "-f":
        files.append(ROOT / words[1])
        words = words[2:]
    services: set[str] = set()
    for file in files or [ROOT / "compose.yaml"]:
        if not file.is_file():
            raise Refused(f"there is no {file.name}")
        services |= set(yaml.safe_load(file.read_text())["services"])
    command, *rest = words
    if f"compose {command}" not in _DOCKER:
        raise Refused(f"docker compose {command} is not known to this test")
    _, arguments = options(
        f"docker compose {command}", _DOCKER[f"compose {command}"], rest, stop=command in ("exec", "run")
    )
    named = arguments[:1] if command in ("exec", "run") else arguments
    for service in named:
        if service not in services:
            raise Refused(f"compose.yaml has no service {service}")
    inner = arguments[1:] if command in ("exec", "run") else []
    if inner[:2] == ["sh", "-c"]:  # it runs what it is given as one word
        return commands(inner[2])
    return [inner] if inner else []


def _pip(words: Words) -> list[Words]:
    if words[0] != "install":
        raise Refused(f"pip {words[0]}")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    _, packages = options("pip install", _PIP, words[1:])
    for package in packages:
        wanted = re.fullmatch(r"(?:\.|dlperf)\[(.*)\]", package)
        if wanted and not set(wanted[1].split(",")) <= set(extras):
            raise Refused(f"pyproject.toml has no extra {wanted[1]}")
    return []


def _kubectl(words: Words) -> list[Words]:
    if words[0] != "apply":
        raise Refused(f"kubectl {words[0]}")
    given, _ = options("kubectl apply", {"-f": True}, words[1:])
    for _, file in given:
        if not (ROOT / file).is_file():
            raise Refused(f"there is no {file}")
    return []


def _ssh(words: Words) -> list[Words]:
    _, arguments = options("ssh", _SSH, words, stop=True)
    return [arguments[1:]] if arguments[1:] else []


def _other(program: str) -> Callable[[Words], list[Words]]:
    def read(words: Words) -> list[Words]:
        options(program, _OTHERS[program], words)
        return []

    return read


def _export(words: Words) -> list[Words]:
    for word in words:
        if not ASSIGNMENT.fullmatch(word):
            raise Refused(f"export {word}")
    return []


def _sub_command(program: str, words: Sequence[str], known: Mapping[str, Any]) -> tuple[str, list[str]]:
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in known and not name.startswith("compose "):
            return name, list(words[length:])
    raise Refused(f"{program} {words[0]} is not known to this test")


READERS: dict[str, Callable[[Words], list[Words]]] = {
    "make": _make,
    "docker": _docker,
    "pip": _pip,
    "kubectl": _kubectl,
    "ssh": _ssh,
    "export": _export,
    **{program: _other(program) for program in _OTHERS},
}
