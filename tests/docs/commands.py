"""Reads a command of the documentation as its program would, without running it.

`check` raises `Refused` where a program would not know what it is given: a parameter that is not declared, a value that
is not allowed, a file, service, target or option that does not exist.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from dlperf import problems
from dlperf.errors import BadInput
from dlperf.parameters import describe, parse
from dlperf.remote.parameters import RemoteParameters
from dlperf.remote.parameters import read as read_remote
from tests.docs.pages import ROOT

RUN_ID = "0" * 32
_SEPARATORS = {"&&", "||", ";", "|", "&"}
_ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=.*", re.DOTALL)
_ENTRY_POINTS = (*problems.NAMES, "remote")

# Options of programs that cannot be asked in this process, by sub-command: whether they take a value. They were looked
# up in the programs' own help.
_DOCKER: dict[str, dict[str, bool]] = {
    "build": {"-t": True, "--tag": True, "--build-arg": True},
    "run": {
        **{"--rm": False, "--read-only": False, "-v": True, "-e": True, "--env": True, "--tmpfs": True},
        **{"--network": True, "--user": True, "--gpus": True},
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
    "kubectl": {"-f": True},
    "git": {},
    "nvidia-smi": {},
}
_PIP = {"--editable": True}


class Refused(Exception):
    """A program would not take what a page gives it."""


def is_command(text: str) -> bool:
    """Whether code within a line of prose is a command, and not a name, an option or a value."""
    words = text.split()
    while words and _ASSIGNMENT.fullmatch(words[0]):
        words.pop(0)
    return len(words) > 1 and words[0] in _PROGRAMS


def check(line: str) -> None:
    """Read one line of a shell.

    Raises:
        Refused: If a program in it would refuse it.
    """
    for inner in re.findall(r"\$\((.*?)\)", line):
        check(inner)
    for words in _commands(re.sub(r"\$\(.*?\)", "made", line)):
        _check_words(words)


def entry_point_of(line: str) -> tuple[str, dict[str, str]] | None:
    """Return the entry point that a line starts, and the parameters that it gives; None if it starts none."""
    for words in _commands(re.sub(r"\$\(.*?\)", "made", line)):
        while words and _ASSIGNMENT.fullmatch(words[0]):
            words = words[1:]
        if words[:2] == ["mlflow", "run"]:
            return _mlflow_run(words[2:])
        if words[:1] == ["dlperf"] and len(words) > 1:
            return words[1], _pairs(words[2:])
        if words[:1] == ["python"] and len(words) > 1 and words[1].startswith("entrypoints/"):
            return Path(words[1]).stem, _pairs(words[2:])
    return None


def _commands(line: str) -> list[list[str]]:
    """Cut a line into commands, and each into words; comments and redirections are left out."""
    lexer = shlex.shlex(_without_comment(line), posix=True, punctuation_chars="&|;<>")
    lexer.commenters = ""
    lexer.whitespace_split = True
    words: list[str] = []
    found = [words]
    skip = False
    for token in lexer:
        if skip:
            skip = False
        elif token in _SEPARATORS:
            words = []
            found.append(words)
        elif token in ("<", ">", ">>"):
            skip = True
        elif token != "...":  # and so on
            words.append(token)
    return [words for words in found if words]


def _without_comment(line: str) -> str:
    """Cut a comment off, which may have an apostrophe that opens no quotation."""
    quote = ""
    for position, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and (not position or line[position - 1].isspace()):
            return line[:position]
    return line


def _check_words(words: list[str]) -> None:
    while words and _ASSIGNMENT.fullmatch(words[0]):
        words = words[1:]
    if not words:
        return
    program, *rest = words
    if program not in _PROGRAMS:
        raise Refused(f"{program} is no program that this test knows")
    _PROGRAMS[program](rest)


def _entry_point(name: str, given: Mapping[str, str]) -> None:
    """Read an entry point's parameters by its declarations."""
    given = {key: re.sub(r"\b(RUN_)?ID\b", RUN_ID, value) for key, value in given.items()}
    if name == "NAME":  # stands for any of them
        return
    if name not in _ENTRY_POINTS:
        raise Refused(f"{name} is no entry point")
    if given.keys() == {"help"}:
        return
    try:
        if name == "remote":
            read_remote(given)
        else:
            parse(problems.load(name).parameters, given)
    except BadInput as error:
        raise Refused(str(error)) from error


def declares(name: str, value: str) -> bool:
    """Whether an entry point has a parameter of this name that takes this value."""
    models: list[Any] = [*(problems.load(each).parameters for each in problems.NAMES), RemoteParameters]
    for model in models:
        for description in describe(model):
            if description.name == name:
                try:
                    description.read_list(value)
                except BadInput:
                    continue
                return True
    return False


def _pairs(words: Sequence[str]) -> dict[str, str]:
    """Read --NAME VALUE and --NAME=VALUE."""
    given: dict[str, str] = {}
    words = list(words)
    while words:
        option = words.pop(0)
        if not option.startswith("--"):
            raise Refused(f"{option} is no --PARAMETER")
        name, equals, value = option[2:].partition("=")
        if name == "help" and not words:
            value = "true"
        elif not equals:
            if not words:
                raise Refused(f"--{name} has no value")
            value = words.pop(0)
        if name in given:
            raise Refused(f"--{name} is given twice")
        given[name] = value
    return given


def _python(words: list[str]) -> None:
    if words[0] == "-m":
        module = ROOT / Path(*words[1].split(".")).with_suffix(".py")
        if not (module.is_file() or module.with_suffix("").is_dir()):
            raise Refused(f"there is no module {words[1]}")
        if words[1].startswith("benchmarks."):
            _benchmark(module, words[2:])
        return
    script = ROOT / words[0]
    if not script.is_file():
        raise Refused(f"there is no {words[0]}")
    if words[1:]:
        _entry_point(script.stem, _pairs(words[1:]))


def _benchmark(module: Path, words: Sequence[str]) -> None:
    """Look for the options in the module, whose parser cannot be had without starting it."""
    text = module.read_text()
    for option in (word for word in words if word.startswith("--")):
        if f'"{option}"' not in text:
            raise Refused(f"{module.name} has no {option}")
    values = [word for before, word in zip(["", *words], words, strict=False) if not before.startswith("--")]
    for word in (value for value in values if not value.startswith("--")):
        if f'"{word}"' not in text:
            raise Refused(f"{module.name} takes no {word}")


def _dlperf(words: list[str]) -> None:
    if words[1:]:
        _entry_point(words[0], _pairs(words[1:]))


def _mlflow(words: list[str]) -> None:
    if words[0] == "run" and words[1:]:
        name, given = _mlflow_run(words[1:])
        _entry_point(name, given)
    elif words[0] != "run":
        command, rest = _click_command(words)
        if rest:
            _click_arguments(command, rest)


def _mlflow_run(words: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Read `mlflow run` with MLflow's own options; return the entry point and its parameters."""
    command, _ = _click_command(["run"])
    options = _click_arguments(command, words)
    folder, _, subfolder = str(options["uri"]).partition("#")
    project = ROOT / folder / subfolder / "MLproject"
    if not project.is_file():
        raise Refused(f"{options['uri']} has no MLproject")
    name = options["entry_point"]
    if name not in yaml.safe_load(project.read_text())["entry_points"]:
        raise Refused(f"{project.relative_to(ROOT)} has no entry point {name}")
    backend = options.get("backend_config")
    if backend and not (ROOT / backend).is_file():
        raise Refused(f"there is no {backend}")
    given = {}
    for pair in options["param_list"]:
        key, equals, value = pair.partition("=")
        if not equals:
            raise Refused(f"-P {pair} has no value")
        given[key] = value
    return name, given


def _click_command(words: Sequence[str]) -> tuple[click.Command, list[str]]:
    """Find the sub-command of mlflow that the words begin with, and the words after it."""
    from mlflow.cli import cli

    command: click.Command = cli
    rest = list(words)
    while rest and isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest[0])
        if found is None:
            raise Refused(f"mlflow has no sub-command {rest[0]}")
        command, rest = found, rest[1:]
    return command, rest


def _click_arguments(command: click.Command, words: Sequence[str]) -> dict[str, Any]:
    """Read options with click's own parser; nothing is started, and defaults stay out."""
    context = click.Context(command, info_name=command.name)
    try:
        values, extra, _ = command.make_parser(context).parse_args(list(words))
    except click.ClickException as error:
        raise Refused(f"mlflow {command.name}: {error.format_message()}") from error
    if extra:
        raise Refused(f"mlflow {command.name} takes no {extra[0]}")
    defaults = {"entry_point": "main", "param_list": []}
    return {**defaults, **{name: value for name, value in values.items() if value is not None}}


def _make(words: list[str]) -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", text, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z_]+) \?=", text, re.MULTILINE))
    for word in words:
        name, equals, _ = word.partition("=")
        if name not in (variables if equals else targets):
            raise Refused(f"the Makefile has no {name}")


def _docker(words: list[str]) -> None:
    known, rest = _sub_command("docker", words, _DOCKER)
    if known == "compose":
        return _compose(rest)
    options, arguments = _options(f"docker {known}", _DOCKER[known], rest)
    if known == "build":
        declared = set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
        for name in (value.partition("=")[0] for option, value in options if option == "--build-arg"):
            if name not in declared:
                raise Refused(f"the Dockerfile has no ARG {name}")
        if rest and arguments != ["."]:
            raise Refused(f"docker build of {arguments}")
    elif known == "run" and arguments and arguments[0].partition(":")[0] == "dlperf":
        _dlperf(arguments[1:])
    elif known == "volume rm":
        mounted = [each.partition(":")[0] for each in _docker_project()["volumes"]]
        if not set(arguments) <= set(mounted):
            raise Refused(f"nothing makes a volume {arguments[0]}")
    return None


def _docker_project() -> dict[str, Any]:
    project: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "MLproject").read_text())["docker_env"]
    return project


def _compose(words: list[str]) -> None:
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
    _, arguments = _options(f"docker compose {command}", _DOCKER[f"compose {command}"], rest)
    named = arguments[:1] if command in ("exec", "run") else arguments
    for service in named:
        if service not in services:
            raise Refused(f"compose.yaml has no service {service}")
    if command in ("exec", "run") and arguments[1:]:
        inner = arguments[1:]
        # `sh -c` runs what it is given as one word.
        check(inner[2]) if inner[:2] == ["sh", "-c"] else _check_words(inner)


def _pip(words: list[str]) -> None:
    if words[0] != "install":
        raise Refused(f"pip {words[0]}")
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    _, packages = _options("pip install", _PIP, words[1:])
    for package in packages:
        wanted = re.fullmatch(r"(?:\.|dlperf)\[(.*)\]", package)
        if wanted and not set(wanted[1].split(",")) <= set(extras):
            raise Refused(f"pyproject.toml has no extra {wanted[1]}")


def _kubectl(words: list[str]) -> None:
    if words[0] != "apply":
        raise Refused(f"kubectl {words[0]}")
    options, _ = _options("kubectl apply", _OTHERS["kubectl"], words[1:])
    for _, file in options:
        if not (ROOT / file).is_file():
            raise Refused(f"there is no {file}")


def _ssh(words: list[str]) -> None:
    _, arguments = _options("ssh", _SSH, words, stop=True)
    if len(arguments) > 1:
        _check_words(arguments[1:])


def _other(program: str) -> Callable[[list[str]], None]:
    def read(words: list[str]) -> None:
        _options(program, _OTHERS[program], words)

    return read


def _export(words: list[str]) -> None:
    for word in words:
        if not _ASSIGNMENT.fullmatch(word):
            raise Refused(f"export {word}")


def _sub_command(program: str, words: Sequence[str], known: Mapping[str, Any]) -> tuple[str, list[str]]:
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in known and not name.startswith("compose "):
            return name, list(words[length:])
    raise Refused(f"{program} {words[0]} is not known to this test")


def _options(
    program: str, known: Mapping[str, bool], words: Sequence[str], *, stop: bool = False
) -> tuple[list[tuple[str, str]], list[str]]:
    """Split words into options with their values, and arguments.

    Docker's options, and ssh's (`stop`), end at the first argument.
    """
    options: list[tuple[str, str]] = []
    arguments: list[str] = []
    words = list(words)
    ends = stop or program in ("docker run", "docker compose exec", "docker compose run")
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word == "-" or (ends and arguments):
            arguments.append(word)
            continue
        name, equals, value = word.partition("=")
        if name not in known:
            raise Refused(f"{program} has no option {name} that this test knows")
        if known[name] and not equals:
            if not words:
                raise Refused(f"{program} {name} has no value")
            value = words.pop(0)
        options.append((name, value))
    return options, arguments


_PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "mlflow": _mlflow,
    "python": _python,
    "dlperf": _dlperf,
    "make": _make,
    "docker": _docker,
    "pip": _pip,
    "kubectl": _kubectl,
    "ssh": _ssh,
    "export": _export,
    **{program: _other(program) for program in _OTHERS if program != "kubectl"},
}
