"""The parameters of `remote` itself, declared as a problem's are; all others are the entry point's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit

from dlperf import entry_points
from dlperf.declaration import parameter
from dlperf.errors import BadInput, did_you_mean
from dlperf.parameters import Parameters, parse, refuse_unknown

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_MEMORY = re.compile(r"[1-9][0-9]*[bkmg]")
_GPUS = re.compile(r"all|[1-9][0-9]*|device=[^,\s]+(,[^,\s]+)*")
# Docker's grammar of an image's name: registry, path, tag. And that of a volume's, beside absolute paths.
_NAME = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = re.compile(rf"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?{_NAME}(?:/{_NAME})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?")
_DATA = re.compile(r"/.*|[A-Za-z0-9][A-Za-z0-9_.-]+")
# Parameters of entry points that mean something of this machine, and why they are refused.
_ELSEWHERE = {
    "data_dir": "would be a path inside the container: the host's folder is given as --data",
    "state_dir": "would be a path inside the container: it is a volume",
    "output": "would be a folder inside the container, gone with it: the run has the same files as artifacts",
    "tracking_uri": "the container is told this machine's MLFLOW_TRACKING_URI: compare another server's runs from here",
    "hosts": "a container elsewhere is one host on its own: start scaling on each host by itself",
}

EXAMPLE = "dlperf remote --host ssh://user@gpuhost:22 --entry_point cutout --m 4 --gpus all"
SUMMARY = (
    "Run an entry point in a container on another host, over SSH: with --entry_point NAME come that entry point's own "
    "parameters."
)


class RemoteParameters(Parameters):
    """Where the container runs, what it gets there, and how its image comes there."""

    host: str = parameter("", help="SSH address of the host, as ssh://user@gpuhost:22")
    entry_point: str = parameter("", help="the entry point to run there, with its own parameters")
    gpus: str = parameter("", help="GPUs of the host: all, a number of them, or device=0,1; none unless given")
    memory: str = parameter("", help="memory limit of the container, as 16g or 500m; none unless given")
    data: str = parameter(
        "dlperf-data", help="folder of the host (an absolute path, mounted read-only) or volume with the data sets"
    )
    image: Literal["build", "transfer", "keep"] = parameter(
        "build",
        help="build the image on the host from this checkout, unless it is there; transfer it from this machine's "
        "engine; or keep what the host has",
    )
    tag: str = parameter(derived_from="gpus", help="name of the image: dlperf, with GPUs dlperf:gpu")
    base_image: str = parameter("python:3.11-slim", help="the image that image=build starts from")
    network: Literal["auto", "bridge", "host"] = parameter(
        "auto", help="the container's network: auto is host where a tunnel leads to the tracking server, else bridge"
    )
    attach: str = parameter("", help="run id: follow a container that goes on from an earlier start")
    stop: str = parameter("", help="run id: end its container and its run")

    @classmethod
    def derived_defaults(cls, known: Mapping[str, Any]) -> dict[str, Any]:
        """GPUs need the image with CUDA, which has another name."""
        return {"tag": "dlperf:gpu" if known["gpus"] else "dlperf"}

    def check(self) -> None:
        """Refuse an address, a size or a combination that cannot be used.

        Raises:
            BadInput: One of them is not as it has to be.
        """
        Address.of(self.host)
        wanted = [name for name in ("entry_point", "attach", "stop") if getattr(self, name)]
        if not wanted:
            raise BadInput(
                "entry_point", "", f"give one of {', '.join(entry_points.NAMES)}, or --attach or --stop RUN_ID"
            )
        if len(wanted) > 1:
            raise BadInput(wanted[1], getattr(self, wanted[1]), f"cannot be given together with {wanted[0]}")
        if self.entry_point and self.entry_point not in entry_points.NAMES:
            hint = did_you_mean(self.entry_point, entry_points.NAMES)
            raise BadInput("entry_point", self.entry_point, f"must be one of {', '.join(entry_points.NAMES)}{hint}")
        rules = {
            "attach": (_RUN_ID, "must be a run id: 32 of the characters 0-9 and a-f"),
            "stop": (_RUN_ID, "must be a run id: 32 of the characters 0-9 and a-f"),
            "memory": (_MEMORY, "must be a whole number with its unit, b, k, m or g, as 16g"),
            "gpus": (_GPUS, "must be all, a number above 0, or device=0,1"),
            "tag": (_TAG, "must be the name of an image, as dlperf or registry/dlperf:1"),
            "data": (_DATA, "must be an absolute path of the host, or the name of a volume there"),
        }
        for name, (pattern, allowed) in rules.items():
            value = getattr(self, name)
            if value and not pattern.fullmatch(value):
                raise BadInput(name, value, allowed)

    @property
    def variant(self) -> str:
        """The image's variant: with CUDA where GPUs are asked for."""
        return "gpu" if self.gpus else "cpu"

    @property
    def run_id(self) -> str:
        """The run whose container is asked for, "" for a new one."""
        return self.attach or self.stop


@dataclass(frozen=True)
class Address:
    """The host's SSH address.

    Attributes:
        host: Name or IP address, or an alias of the user's ssh configuration.
        user: "" leaves it to ssh.
        port: 0 leaves it to ssh.
    """

    host: str
    user: str
    port: int

    @classmethod
    def of(cls, written: str) -> Address:
        """Read ssh://user@gpuhost:22.

        Raises:
            BadInput: It is no such address.
        """
        allowed = "must be an SSH address, as ssh://user@gpuhost:22 or ssh://gpuhost"
        try:
            parts = urlsplit(written)
            user, port = unquote(parts.username or ""), parts.port or 0
        except ValueError:
            raise BadInput("host", written, allowed) from None
        # Not `hostname`, which is in lower case: an alias of the user's ssh configuration has the case it has there.
        place = parts.netloc.rpartition("@")[2]
        host = place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0]
        rest = parts.path.strip("/") + parts.query + parts.fragment
        if parts.scheme != "ssh" or not host or rest or parts.password or host.startswith("-") or user.startswith("-"):
            raise BadInput("host", written, allowed)
        return cls(host, user, port)

    def __str__(self) -> str:
        """Write it as `of` reads it."""
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{user}{host}" + (f":{self.port}" if self.port else "")


def of_remote(raw: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of those parameters that are `remote`'s."""
    return {name: text for name, text in raw.items() if name in RemoteParameters.model_fields}


def read_arguments(raw: Mapping[str, str]) -> tuple[RemoteParameters, dict[str, str]]:
    """Read all arguments, before anything is sent.

    Args:
        raw: Texts by name, `remote`'s and the entry point's.

    Returns:
        The first, and the texts of the second as they are to be passed on.

    Raises:
        BadInput: One of them cannot be used.
    """
    rest = {name: text for name, text in raw.items() if name not in RemoteParameters.model_fields}
    _refuse_unknown(raw.get("entry_point", ""), rest)
    (parameters,) = parse(RemoteParameters, of_remote(raw)).trials
    if parameters.run_id:
        for name, text in rest.items():
            raise BadInput(
                name, text, f"a container that is there keeps what it was started with (run {parameters.run_id})"
            )
        return parameters, {}
    problem = entry_points.load(parameters.entry_point)
    for name, why in _ELSEWHERE.items():
        if rest.get(name):
            raise BadInput(name, rest[name], why)
    if rest.get("engine", "").strip().lower() == "ray":
        raise BadInput(
            "engine", rest["engine"], "would be a Ray cluster as the container finds it: its trials are local ones"
        )
    for trial in parse(problem.parameters, rest).trials:
        if (counted := getattr(trial, "keras_model", None)) and counted.file:
            raise BadInput("subject", counted.written, "is a file of this machine, where it is counted alike")
    return parameters, rest


def _refuse_unknown(entry_point: str, rest: Mapping[str, str]) -> None:
    """Refuse what neither `remote` nor the entry point declares; without an entry point, likely misspellings only."""
    remote_names = list(RemoteParameters.model_fields)
    if entry_point in entry_points.NAMES:
        declared = list(entry_points.load(entry_point).parameters.model_fields)
        refuse_unknown([*remote_names, *declared], rest)
    else:
        # It may be a parameter of whatever entry point was meant, unless it is almost one of these.
        likely = {name: text for name, text in rest.items() if did_you_mean(name, remote_names, cutoff=0.8)}
        refuse_unknown(remote_names, likely)


def is_dry_run(entry_point: str, rest: Mapping[str, str]) -> bool:
    """Whether the entry point is to list its trials only, so that there is no run."""
    declared = entry_points.load(entry_point).parameters.model_fields
    return "dry_run" in declared and rest.get("dry_run", "").lower() == "true"
