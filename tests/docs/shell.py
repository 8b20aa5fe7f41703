"""Cuts a line of a shell into commands, and their words into options and arguments."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=.*", re.DOTALL)
_SEPARATORS = {"&&", "||", ";", "|", "&"}


class Refused(Exception):
    """A program would not take what a page gives it."""


def commands(line: str) -> list[list[str]]:
    """Cut a line into commands, and each into words; comments and redirections are left out."""
    lexer = shlex.shlex(_without_comment(re.sub(r"\$\(.*?\)", "made", line)), posix=True, punctuation_chars="&|;<>")
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


def options(
    program: str, known: Mapping[str, bool], words: Sequence[str], *, stop: bool = False
) -> tuple[list[tuple[str, str]], list[str]]:
    """Split words into options with their values, and arguments.

    Args:
        program: Its name, for the reason.
        known: The options there are, and whether each takes a value.
        words: What it is given.
        stop: Its options end at the first argument, which is what it is to run.

    Raises:
        Refused: An option is not known, or has no value.
    """
    found: list[tuple[str, str]] = []
    arguments: list[str] = []
    words = list(words)
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word == "-" or (stop and arguments):
            arguments.append(word)
            continue
        name, equals, value = word.partition("=")
        if name not in known:
            raise Refused(f"{program} has no option {name} that this test knows")
        if known[name] and not equals:
            if not words:
                raise Refused(f"{program} {name} has no value")
            value = words.pop(0)
        found.append((name, value))
    return found, arguments
