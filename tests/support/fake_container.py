"""A container as Docker's SDK gives it, made up."""

from __future__ import annotations


class FakeContainer:
    """A container that has ended; remembers what is done to it."""

    def __init__(self, port: int = 0) -> None:
        self.name, self.labels, self.done = "dlperf-cutout", {"dlperf.tunnel_port": str(port)}, list[str]()
        self.attrs = {"State": {"OOMKilled": False}}

    def reload(self) -> None:
        """Nothing is new."""

    def stop(self, timeout: int) -> None:
        """End it."""
        self.done.append("stopped")

    def remove(self, **_: bool) -> None:
        """Remove it."""
        self.done.append("removed")
