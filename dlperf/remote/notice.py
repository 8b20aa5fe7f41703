"""What `remote` itself has to say, apart from what the container writes."""

from __future__ import annotations

import sys

from dlperf.errors import without_logins


def say(message: str) -> None:
    """Write one line to the standard error."""
    print(f"dlperf remote: {without_logins(message)}", file=sys.stderr, flush=True)
