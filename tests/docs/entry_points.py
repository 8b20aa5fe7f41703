"""Reads what a command gives an entry point as its program would: by the declarations, or MLflow's options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from dlperf import entry_points
from dlperf.archive.parameters import ArchiveParameters
from dlperf.errors import BadInput
from dlperf.parameters import describe, parse
from dlperf.remote.parameters import RemoteParameters, read_arguments
from dlperf.runner.runs_parameters import RunsParameters
from tests.docs.pages import ROOT
from tests.docs.shell import Refused

_RUN_ID = "0" * 32


def check_entry_point(name: str, given: Mapping[str, str]) -> None:
    """Read an entry point's parameters by its declarations."""
    given = {key: re.sub(r"\b(RUN_)?ID\b", _RUN_ID, value) for key, value in given.items()}
    if name == "NAME":  # stands for any of them
        return
    if name not in (*entry_points.NAMES, "runs", "archive", "remote"):
        raise Refused(f"{name} is no entry point")
    if given.keys() == {"help"}:
        return
    try:
        if name == "remote":
            read_arguments(given)
        elif name in ("runs", "archive"):
            parse({"runs": RunsParameters, "archive": ArchiveParameters}[name], given)
        else:
            parse(entry_points.load(name).parameters, given)
    except BadInput as error:
        raise Refused(str(error)) from error


def declares(name: str, value: str) -> bool:
    """Whether an entry point has a parameter of this name that takes this value."""
    models: list[Any] = [*(entry_points.load(each).parameters for each in entry_points.NAMES), RemoteParameters]
    for model in models:
        for description in describe(model):
            if description.name == name:
                try:
                    description.read_list(value)
                except BadInput:
                    continue
                return True
    return False


def pairs(words: Sequence[str]) -> dict[str, str]:
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


def python(words: list[str]) -> None:
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
        check_entry_point(script.stem, pairs(words[1:]))


def _benchmark(module: Path, words: Sequence[str]) -> None:
    """Look for the options in the module, whose parser cannot be had without starting it."""
    text = module.read_text()
    for option in (word for word in words if word.startswith("--")):
        if f'"{option}"' not in text and not (option == "--output" and "add_output(" in text):
            raise Refused(f"{module.name} has no {option}")
    values = [word for before, word in zip(["", *words], words, strict=False) if not before.startswith("--")]
    for word in (value for value in values if not value.startswith("--")):
        if f'"{word}"' not in text:
            raise Refused(f"{module.name} takes no {word}")


def dlperf(words: list[str]) -> None:
    if words[1:]:
        check_entry_point(words[0], pairs(words[1:]))


def mlflow(words: list[str]) -> None:
    if words[0] == "run" and words[1:]:
        name, given = mlflow_run(words[1:])
        check_entry_point(name, given)
    elif words[0] != "run":
        command, rest = _click_command(words)
        if rest:
            _click_arguments(command, rest)


def mlflow_run(words: Sequence[str]) -> tuple[str, dict[str, str]]:
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
