"""The command line: `dlperf NAME --parameter value`, and the same for the scripts in entrypoints/.

Options are generated from the parameters' declarations. What the user wrote is checked here, before anything heavy is
imported, and handed to `dlperf.runner.start` as text. Neither TensorFlow nor MLflow is imported for `--help` or to
refuse a value.
"""

from __future__ import annotations

import abc
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from dlperf import __version__, entry_points
from dlperf.archive import parameters as archive_parameters
from dlperf.declaration import Description
from dlperf.errors import BadInput, DlperfError, Ended, did_you_mean
from dlperf.parameters import Parameters, describe, parse
from dlperf.problem import Comparison, Demo, Problem
from dlperf.remote import parameters as remote_parameters
from dlperf.remote.parameters import RemoteParameters, read_arguments
from dlperf.runner import runs_parameters
from dlperf.terminal import notices
from dlperf.tracking import variables

# Commands of the program alone, no entry points of the MLflow project; `dlperf.runner` has the start of each.
_PROGRAM: dict[str, tuple[type[Parameters], str, str]] = {
    "runs": (runs_parameters.RunsParameters, runs_parameters.SUMMARY, runs_parameters.EXAMPLE),
    "archive": (archive_parameters.ArchiveParameters, archive_parameters.SUMMARY, archive_parameters.EXAMPLE),
}
_SUBCOMMANDS = (*entry_points.NAMES, *_PROGRAM, "remote")
_ARGUMENTS = "dlperf.arguments"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `dlperf`.

    Args:
        argv: The arguments after the program's name; those of this process if None.

    Returns:
        The exit status: 0 done, 1 failed, 2 bad input, 3 something outside is missing, 130 and 143 ended by a signal.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    return _answer(_Dlperf(), arguments or ["--help"], "dlperf")


def entry_point(name: str, argv: Sequence[str] | None = None) -> int:
    """Run one problem, as its script in entrypoints/ does.

    Args:
        name: One of `dlperf.entry_points.NAMES`.
        argv: The arguments after the script's name; those of this process if None.

    Returns:
        The exit status, as for `main`.
    """
    command = _EntryPoint(entry_points.load(name))
    return _answer(command, list(sys.argv[1:] if argv is None else argv), f"python entrypoints/{name}.py")


def remote(argv: Sequence[str] | None = None) -> int:
    """Run an entry point on another host, as entrypoints/remote.py does.

    Args:
        argv: The arguments after the script's name; those of this process if None.

    Returns:
        The exit status: the container's, 2 bad input, 3 something on the way to it is missing, 130 and 143 as `main`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    return _answer(_Remote(arguments), arguments, "python entrypoints/remote.py")


class _Command(click.Command, abc.ABC):
    """A command with an option per declared parameter; an option takes one value.

    Attributes:
        empty_is_default: Whether an empty text stands for a default that is empty. `mlflow run` hands such texts over.
    """

    empty_is_default = True

    def __init__(self, name: str, summary: str, example: str, *declarations: type[Parameters]) -> None:
        """Make the options from the declarations."""
        self.descriptions = {parameter.name: parameter for model in declarations for parameter in describe(model)}
        super().__init__(
            name,
            # What click does not know is refused in `_raw`, where closest names are at hand; `multiple` lets an
            # option that stands twice be refused, where click alone would take the last.
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "max_content_width": 100},
            params=[
                click.Option([f"--{name}"], multiple=True, metavar=_metavar(parameter), help=_help(parameter))
                for name, parameter in self.descriptions.items()
            ],
            help=summary,
            short_help=summary,
            epilog=_epilog(example),
            options_metavar="[--PARAMETER VALUE]...",
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, but with our line for a last option that lacks its value."""
        try:
            return super().parse_args(ctx, args)
        except click.BadOptionUsage as error:
            name = (error.option_name or "").lstrip("-")
            if name not in self.descriptions:  # --help=x
                raise
            return ctx.exit(self._refuse(self._no_value(name)))

    def invoke(self, ctx: click.Context) -> int:
        """Check the arguments and start; an error that is the user's to read becomes a line and an exit status."""
        try:
            raw = self._raw(ctx.params, ctx.args)
            self.check(raw)
        except BadInput as error:
            return self._refuse(error)
        try:
            # Here and not above: the second imports MLflow, and takes seconds in which a signal may come.
            from dlperf.interruption import signals_raised

            with signals_raised():
                notices.leave_out()
                return self.start(raw)
        except DlperfError as error:
            self._complain(error)
            return error.exit_status
        except Ended as ended:
            self._complain(ended)
            return ended.exit_status

    @abc.abstractmethod
    def check(self, raw: dict[str, str]) -> None:
        """Refuse what cannot be used, before anything heavy is imported."""

    @abc.abstractmethod
    def start(self, raw: dict[str, str]) -> int:
        """Do it, and return the exit status."""

    def _raw(self, options: dict[str, tuple[str, ...]], extra: Sequence[str]) -> dict[str, str]:
        """One text per parameter from click's options and from the arguments that it could not place."""
        raw: dict[str, str] = {}
        for name, values in options.items():
            if len(values or ()) > 1:
                description = self.descriptions[name]
                both = f"--{name} {values[0]} and --{name} {values[1]}"
                hint = f", or as a {description.list_name}: {description.join(values)}" if description.grid else ""
                raise BadInput(name, values[1], f"given twice ({both}); give it once{hint}")
            if values:
                raw[name] = values[0]
        for name, written in raw.items():
            # An unset shell variable (`--m "$M"`) must not start the default's hours of work.
            if not written and not (self.empty_is_default and self.descriptions[name].default == ""):
                raise self._no_value(name)
            # `--m --depth 8`: click takes the next option for the value of the first.
            if written.startswith("--") and written[2:].partition("=")[0] in self.descriptions:
                raise self._no_value(name)
        if extra and not extra[0].startswith("--"):
            raise BadInput("argument", extra[0], "not expected; parameters are written --NAME VALUE")
        if extra:
            name, equals, written = extra[0][2:].partition("=")
            value_follows = not equals and len(extra) > 1 and not extra[1].startswith("--")
            raw = {name: extra[1] if value_follows else written, **raw}
        return raw

    def _no_value(self, name: str) -> BadInput:
        """The error for an option without its value."""
        return BadInput(name, "", f"--{name} needs a value: {self.descriptions[name].allowed}")

    def _refuse(self, error: BadInput) -> int:
        """Say what is wrong and give the exit status; end the run that `mlflow run` made before it started us."""
        self._complain(error)
        if os.environ.get("MLFLOW_RUN_ID") and not error.parameter.startswith("MLFLOW_"):
            # The user's mistake has been reported: an unreachable tracking server must not hide it under another error.
            with contextlib.suppress(Exception):
                from dlperf.runner.start import refuse

                refuse(error)
        return error.exit_status

    def _complain(self, message: object) -> None:
        """Write one line to the standard error."""
        _complain(f"dlperf {self.name}", message)


class _EntryPoint(_Command):
    """The command of one problem."""

    def __init__(self, problem: Problem[Any] | Demo | Comparison) -> None:
        """Make the options from the problem's declarations."""
        self.problem = problem
        super().__init__(problem.name, problem.summary, problem.example, problem.parameters)

    def check(self, raw: dict[str, str]) -> None:
        """Read the parameters, and MLflow's variables where it is asked."""
        parse(self.problem.parameters, raw)
        if isinstance(self.problem, Comparison) or self._logs_runs(raw):
            variables.check()

    def start(self, raw: dict[str, str]) -> int:
        """Run the problem, or compare what was run."""
        from dlperf.tracking import database_file  # here and below: what takes a second to import comes last

        if isinstance(self.problem, Comparison):
            if not raw.get("archive"):  # else the comparison's run may begin the store
                database_file.check_there(raw.get("tracking_uri") or database_file.named_store())
            from dlperf.comparison.start import start as compare

            return compare(self.problem, raw)
        if self._logs_runs(raw):
            database_file.check_file(database_file.named_store())
        from dlperf.runner.start import start

        return start(self.problem, raw)

    def _logs_runs(self, raw: dict[str, str]) -> bool:
        """Whether this start logs runs: not one that only lists trials, or that takes part in another host's."""
        if not isinstance(self.problem, Problem):
            return True
        trials, distributed = parse(self.problem.parameters, raw).trials, self.problem.distributed
        return not (trials[0].dry_run or (distributed and distributed.logged_elsewhere(trials)))


class _ProgramCommand(_Command):
    """One of the commands that are no entry points: `runs`, `archive`."""

    empty_is_default = False

    def __init__(self, name: str) -> None:
        """Make the options from the declarations."""
        self._declarations, summary, example = _PROGRAM[name]
        super().__init__(name, summary, example, self._declarations)

    def check(self, raw: dict[str, str]) -> None:
        """Read the parameters, and MLflow's variables."""
        parse(self._declarations, raw)
        variables.check()

    def start(self, raw: dict[str, str]) -> int:
        """Do it."""
        status: int = importlib.import_module(f"dlperf.runner.{self.name}").start(raw)
        return status


class _Remote(_Command):
    """The command `remote`: its options, and those of the entry point that is named among the arguments."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """Make the options from both declarations."""
        self.wanted: tuple[RemoteParameters, dict[str, str]] | None = None
        named = _value_of("--entry_point", arguments)
        problem = [entry_points.load(named).parameters] if named in entry_points.NAMES else []
        super().__init__("remote", remote_parameters.SUMMARY, remote_parameters.EXAMPLE, RemoteParameters, *problem)

    def check(self, raw: dict[str, str]) -> None:
        """Read what is `remote`'s, and the entry point's with the declarations that the host will read them with."""
        self.wanted = read_arguments(raw)

    def start(self, raw: dict[str, str]) -> int:
        """Start, follow or stop the container."""
        from dlperf.remote.start import run

        assert self.wanted is not None
        return run(*self.wanted)


def _value_of(option: str, arguments: Sequence[str]) -> str:
    """The value of an option, as click reads it; "" if it is not there."""
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == option:
            return value if equals else "".join(arguments[position + 1 : position + 2])
    return ""


class _Dlperf(click.Group):
    """The command `dlperf`: a sub-command per entry point, imported when it is asked for, and those that are none."""

    def __init__(self) -> None:
        """Describe the command; sub-commands come from `dlperf.problems`."""
        super().__init__(
            "dlperf",
            help="Deep-learning performance experiments, tracked in MLflow. `dlperf NAME --help` lists the parameters.",
            context_settings={"max_content_width": 100},
            epilog=_epilog("dlperf approximators --max_units 64 --dry_run true"),
            subcommand_metavar="NAME [--PARAMETER VALUE]...",
        )
        click.version_option(__version__, prog_name="dlperf")(self)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The problems in the order of the course, not sorted."""
        return list(_SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the problem and make its command."""
        if cmd_name == "remote":
            return _Remote(ctx.meta.get(_ARGUMENTS, ()))
        if cmd_name in _PROGRAM:
            return _ProgramCommand(cmd_name)
        return _EntryPoint(entry_points.load(cmd_name)) if cmd_name in entry_points.NAMES else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the sub-command, or name the closest."""
        name = args[0]
        if name not in _SUBCOMMANDS and not name.startswith("-"):
            ctx.fail(f"unknown entry point {name}{did_you_mean(name, _SUBCOMMANDS)} (valid: {', '.join(_SUBCOMMANDS)})")
        ctx.meta[_ARGUMENTS] = args[1:]
        return super().resolve_command(ctx, args)


def _answer(command: click.Command, argv: list[str], program: str) -> int:
    """Run a click command and return the exit status; a bug's exception passes, with its traceback."""
    try:
        # Not `command.main`: it takes any EOFError for the user's, also one from a pipe between processes.
        with command.make_context(program, argv) as context:
            status: int = command.invoke(context)
            return status
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        _complain("dlperf", error.format_message())
        return error.exit_code
    except KeyboardInterrupt:
        _complain("dlperf", "interrupted")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`): Python's flush at exit must not fail on it once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _complain("dlperf", "the output was closed")
        return 128 + signal.SIGPIPE


def _complain(who: str, message: object) -> None:
    """Write one line to the standard error, also if a value in the message has line breaks."""
    with contextlib.suppress(BrokenPipeError):
        print(f"{who}: {' '.join(str(message).splitlines())}", file=sys.stderr, flush=True)


def _epilog(example: str) -> str:
    """The end of a help text: one command that can be typed as it stands, which click must not wrap."""
    return f"\b\nExample:\n  {example}"


def _metavar(description: Description) -> str:
    """What stands for the value in the help."""
    word = "true|false" if description.type is bool else description.type_text
    word = word if "|" in word else word.upper()
    return f"{word}{description.separator}..." if description.grid else word


def _help(description: Description) -> str:
    """The help text of one option: meaning, what is allowed, default."""
    if description.derived_from:
        return f"{description.meaning} [default: follows from {description.derived_from}]"
    return f"{description.meaning} [default: {description.default}]" if description.default else description.meaning
