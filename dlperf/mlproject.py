"""Renders the MLproject files from the parameters' declarations: `python -m dlperf.mlproject`, `--check` compares."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from dlperf import entry_points
from dlperf.parameters import describe

CONDA_ENVIRONMENT = "conda_env: conda.yaml\n"
"""The environment section of MLproject at the repository root."""

DOCKER_ENVIRONMENT = """\
# The image is the Dockerfile's, built before: `docker build -t dlperf .`. Volumes lie where the engine runs.
docker_env:
  image: dlperf
  volumes: ["dlperf-data:/data", "dlperf-cache:/cache", "dlperf-state:/state"]
"""
"""The environment section of docker/MLproject."""

PROJECT_FILES = {"MLproject": CONDA_ENVIRONMENT, "docker/MLproject": DOCKER_ENVIRONMENT}
"""The project files by their path in the repository, with their environment sections."""

_HEADER = """\
# Rendered from the parameter declarations in dlperf/problems: do not edit, run `python -m dlperf.mlproject`.
# Every default is quoted: YAML would read true as a boolean and 1e-1 as a string, and MLflow logs what YAML read.
"""
_WIDTH = 120


def render(environment: str) -> str:
    """Render a project file with the entry points `dlperf.entry_points.NAMES`.

    Args:
        environment: The YAML of the section that names the environment, such as CONDA_ENVIRONMENT.

    Returns:
        The file's text.
    """
    lines = [*_HEADER.splitlines(), "name: dlperf", "", *environment.splitlines(), "", "entry_points:"]
    for position, name in enumerate(entry_points.NAMES):
        lines.extend([""] * (position > 0))
        lines.extend(_entry_point(name))
    return "\n".join(lines) + "\n"


def _entry_point(name: str) -> Iterator[str]:
    """The lines of one entry point."""
    problem = entry_points.load(name)
    descriptions = list(describe(problem.parameters))
    declared = [parameter for parameter in descriptions if parameter.default]
    undeclared = [parameter for parameter in descriptions if not parameter.default]
    yield from _comment(problem.summary, indent=2)
    yield f"  {name}:"
    # MLflow logs declared defaults before the program starts, and a logged parameter can't change.
    yield "    parameters:" if declared else "    parameters: {}"
    for parameter in declared:
        default = json.dumps(parameter.default, ensure_ascii=False)
        yield from _comment(parameter.meaning, indent=6)
        yield f"      {parameter.name}: {{type: string, default: {default}}}"
    if undeclared:
        yield from _comment(
            f"No fixed default, so not declared; -P {undeclared[0].name}=... reaches the program all the same:",
            indent=4,
        )
    for parameter in undeclared:
        source = f"follows from {parameter.derived_from}" if parameter.derived_from else "empty unless given"
        yield from _comment(f"- {parameter.name}: {source}. {parameter.meaning}", indent=4, hanging="  ")
    options = [f"--{parameter.name} {{{parameter.name}}}" for parameter in declared]
    command = " ".join([f"python entrypoints/{name}.py", *options])
    yield "    command: >-"
    # Folding puts the lines together again; that none breaks between --name and its value is for people.
    for line in textwrap.wrap(command.replace(" {", "\0{"), _WIDTH - 6, break_long_words=False, break_on_hyphens=False):
        yield " " * 6 + line.replace("\0", " ")


def _comment(words: str, indent: int, hanging: str = "") -> list[str]:
    """A YAML comment, wrapped."""
    prefix = " " * indent + "# "
    return textwrap.wrap(
        words,
        _WIDTH,
        initial_indent=prefix,
        subsequent_indent=prefix + hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


@click.command(help="Render MLproject and docker/MLproject from the parameter declarations.")
@click.option("--check", is_flag=True, help="Write nothing; exit status 1 if a committed file differs.")
def main(check: bool) -> None:
    """Render MLproject and docker/MLproject from the parameter declarations.

    Args:
        check: Compare only.

    Raises:
        ClickException: With `check`, a file is missing or differs.
    """
    root = Path(__file__).resolve().parents[1]
    for name, environment in PROJECT_FILES.items():
        if check:
            _compare(name, root / name, render(environment))
        else:
            (root / name).write_text(render(environment), encoding="utf-8")


def _compare(name: str, path: Path, rendered: str) -> None:
    """Raise ClickException with the first line in which a file differs from what is rendered."""
    committed = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    expected = rendered.splitlines()
    if committed != expected:
        pairs = zip(committed, expected, strict=False)
        same = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(committed), len(expected)))
        wanted = expected[same].strip() if same < len(expected) else "the end of the file"
        raise click.ClickException(
            f"{name}, line {same + 1}: the declarations say `{wanted}`; run `python -m dlperf.mlproject`"
        )


if __name__ == "__main__":
    main()
