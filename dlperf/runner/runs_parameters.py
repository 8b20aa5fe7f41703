"""The parameters of the command `runs`."""

from __future__ import annotations

from dlperf.declaration import parameter
from dlperf.errors import BadInput
from dlperf.parameters import Parameters

EXAMPLE = "dlperf runs --resume all"
SUMMARY = "List the runs that have not finished: what runs, what can go on, what waits to be sent; resume or send them."
ALL = "all"


class RunsParameters(Parameters):
    """Parameters of the command `runs`."""

    resume: str = parameter(
        "", help="run that goes on where it was killed, or all: those that a process of this machine left"
    )
    send: str = parameter(
        "", help="run whose results a tracking server did not take, and those below it, or all; trains nothing"
    )
    tracking_uri: str = parameter("", help="tracking server; MLFLOW_TRACKING_URI's unless given")
    state_dir: str = parameter(
        "", help="folder of the states and journals; else DLPERF_STATE_DIR, else the user's cache directory"
    )

    def check(self) -> None:
        """Refuse to resume and to send at once.

        Raises:
            BadInput: Both are given.
        """
        if self.resume and self.send:
            raise BadInput("send", self.send, "cannot be given together with resume, which sends first")
