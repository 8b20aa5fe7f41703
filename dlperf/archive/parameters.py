"""The parameters of the command `archive`."""

from __future__ import annotations

from typing import Any

from pydantic import create_model

from dlperf.declaration import parameter
from dlperf.errors import BadInput
from dlperf.parameters import Parameters

EXAMPLE = "dlperf archive --output trials --filter \"tags.`dlperf.problem` = 'cutout'\""
SUMMARY = "Write finished trials of a store as files, a part per sweep, or read such files into a store."


class _Export(Parameters):
    output: str = parameter(
        "", help="folder of an archive, made or added to: trials that are not in it yet are written as new parts"
    )
    filter: str = parameter("", help="further condition on runs in MLflow's language, as params.dataset = 'cifar10'")
    tracking_uri: str = parameter("", help="tracking server; MLFLOW_TRACKING_URI's unless given")

    def check(self) -> None:
        """Refuse a command that does not say which way trials go.

        Raises:
            BadInput: Both or none of output and import are given, or filter with import.
        """
        source = getattr(self, "import")
        if bool(self.output) == bool(source):
            raise BadInput(
                "output", self.output, "give either output=FOLDER, to write one, or import=FOLDER, to read one"
            )
        if source and self.filter:
            raise BadInput("filter", self.filter, "cannot be given together with import, which reads the whole archive")


# `import` is a word of Python's, so it cannot be declared as the others are.
_IMPORT: dict[str, Any] = {
    "import": (str, parameter("", help="folder of an archive, or reference: its trials become runs of the store"))
}
ArchiveParameters = create_model("ArchiveParameters", __base__=_Export, **_IMPORT)
