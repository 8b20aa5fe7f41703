"""Errors a user can cause or meet: each has a one-line message and the exit status that it ends the program with."""

from __future__ import annotations

import difflib
import itertools
import re
import signal
from collections.abc import Iterable

# user:password@ of an address, also where the password has a slash in it; ssh://user@host has no secret.
_LOGIN = re.compile(r"(?<!ssh)://[^\s/]*@|://[^\s/@:]*:\S*@")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_MOST_CHARACTERS = 2_000
_LEFT_OUT = " [...] "


class DlperfError(Exception):
    """Base of the errors that a user reads in one line, without a traceback."""

    exit_status = 1

    def __str__(self) -> str:
        """The line, without the logins of the addresses in it."""
        return without_logins(super().__str__())


class BadInput(DlperfError):
    """A parameter or a file the user gave cannot be used: exit status 2.

    Args:
        parameter: Name of the parameter.
        value: The value as the user wrote it.
        allowed: What would have been accepted, as the end of a sentence.
    """

    exit_status = 2

    def __init__(self, parameter: str, value: object, allowed: str) -> None:
        """Keep the parts, so that callers can test them."""
        super().__init__(f"{parameter}={value}: {allowed}")
        self.parameter, self.value, self.allowed = parameter, value, allowed

    def __reduce__(self) -> tuple[type[BadInput], tuple[str, object, str]]:
        """Let a worker process send it."""
        return BadInput, (self.parameter, self.value, self.allowed)


class EnvironmentMissing(DlperfError):
    """Something outside the program is missing or unreachable: exit status 3."""

    exit_status = 3


class TrialFailed(DlperfError):
    """A trial could not be finished (a loss that is not finite, a failed child): exit status 1."""


class OutOfMemory(TrialFailed):
    """A trial needed more memory than it may use: exit status 1; its run's tag `dlperf.failure` is FAILURE."""

    FAILURE = "memory"


class NothingFound(DlperfError):
    """There is no trial to compare: exit status 1."""


class Ended(BaseException):
    """The program was asked to stop by a signal, or the launcher it belongs to died.

    Not an `Exception`: nothing that handles failures of a trial may swallow it.
    """

    def __init__(self, signal_number: signal.Signals, reason: str) -> None:
        """Remember the signal for the exit status and the reason for the run's tag."""
        super().__init__(reason)
        self.signal_number, self.reason = signal_number, reason

    @property
    def exit_status(self) -> int:
        """128 plus the signal's number, as shells report it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + int(self.signal_number)


def did_you_mean(name: str, known: Iterable[str], *, prefix: str = "", cutoff: float = 0.6) -> str:
    """Return "; did you mean X?" for the known name that is closest to an unknown one; "" where none is close.

    Args:
        name: What the user wrote.
        known: The names there are.
        prefix: Stands before a name in what the user writes.
        cutoff: How alike they must be, 0 to 1.
    """
    closest = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {prefix}{closest[0]}?" if closest else ""


def without_logins(text: str) -> str:
    """Return a text without the user and password that addresses in it have before their host."""
    return _LOGIN.sub("://", text)


def one_line(error: object, most: int = _MOST_CHARACTERS) -> str:
    """Return an error's text as `in_one_line` does; its type where it has no text."""
    return in_one_line(str(error), most) or type(error).__name__


def in_one_line(text: str, most: int = _MOST_CHARACTERS) -> str:
    """Return a text in one line, without logins and colours; of one longer than `most` characters beginning and end.

    Whatever another program says goes through here, or through `reason`, and is cut nowhere else: why something failed
    often stands at the end.
    """
    line = without_logins(" ".join(_COLOURS.sub("", text).split()))
    if len(line) <= most:
        return line
    head = (most - len(_LEFT_OUT)) // 2
    return line[:head] + _LEFT_OUT + line[head + len(_LEFT_OUT) - most :]


def reason(output: str) -> str:
    """Return in one line why a program failed, of all that it wrote: a traceback's exception, else everything."""
    lines = output.splitlines()
    tracebacks = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    frames = lines[tracebacks[-1] + 1 :] if tracebacks else []
    said = "\n".join(itertools.dropwhile(lambda line: not line.strip() or line[0].isspace(), frames))
    return in_one_line(said) or in_one_line(output) or "no reason given"
