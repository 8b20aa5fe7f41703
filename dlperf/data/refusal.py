"""Why data cannot be used, before it is said of which parameter or file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dlperf.errors import BadInput


class Refusal(Exception):
    """What was found and what is needed, as the end of a sentence."""


@contextlib.contextmanager
def refused(parameter: str, value: object) -> Iterator[None]:
    """Let a refusal be bad input: of this parameter, or of a file that it led to."""
    try:
        yield
    except Refusal as refusal:
        raise BadInput(parameter, value, str(refusal)) from None
