"""Under which address the container finds the caller's tracking server, and whether it does."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dlperf.errors import BadInput, EnvironmentMissing, in_one_line, without_logins
from dlperf.remote.container import remove
from dlperf.remote.link import Link

# What MLflow's client reads beside the address: how to log in, how patient to be, whether to watch the host.
_SETTINGS = (
    *("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    *("MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"),
    *("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"),
    *("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", "MLFLOW_SYSTEM_METRICS_NODE_ID"),
)
# Where the tunnel is gone, a connection is refused at once, and the training is not to wait for it to come back: what
# could not be logged is logged later.
_THROUGH_TUNNEL = {"MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0", "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0"}
# At a path that the server checks the name for, which it does not for /version. An answer of any kind is one (401 of a
# server that wants a login), but for MLflow's refusal of a name that it does not serve.
_REACH = """
import http.client, os, ssl, sys, urllib.error, urllib.parse, urllib.request
parts = urllib.parse.urlsplit(sys.argv[1])
server = urllib.parse.urlunsplit(parts).rstrip("/")
insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
context = ssl._create_unverified_context() if insecure else None
try:
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    urllib.request.urlopen(server + path, timeout=10, context=context).close()
except urllib.error.HTTPError as error:
    if error.code == 403 and b"Invalid Host header" in error.read():
        sys.exit("it refuses this name: start it with --allowed-hosts")
except (OSError, http.client.HTTPException) as error:
    sys.exit(str(getattr(error, "reason", "") or error or type(error).__name__))
"""
_INSECURE = "MLFLOW_TRACKING_INSECURE_TLS"


@dataclass(frozen=True)
class TrackingAddress:
    """A tracking server as a container on the host finds it.

    Attributes:
        uri: The address that the container gets.
        shown: What the caller calls it.
        local: Host and port of a server that only this machine reaches, so that a tunnel has to lead there; or None.
    """

    uri: str
    shown: str
    local: tuple[str, int] | None

    @classmethod
    def of(cls, uri: str) -> TrackingAddress:
        """Take MLFLOW_TRACKING_URI as it is on this machine.

        Raises:
            BadInput: It is no server, so that nothing on another host can use it.
        """
        advice = "start `mlflow server --host 127.0.0.1 --port 5000` and set MLFLOW_TRACKING_URI=http://127.0.0.1:5000"
        if not uri:
            raise BadInput("MLFLOW_TRACKING_URI", "", f"a run on another host needs a tracking server: {advice}")
        server = f"must be the http(s) address of a tracking server: {advice}"
        try:
            parts = urlsplit(uri)
            name, port = parts.hostname, parts.port
        except ValueError:  # a bracket that is not closed, a port above 65535
            raise BadInput("MLFLOW_TRACKING_URI", uri, server) from None
        if parts.scheme in ("", "sqlite", "file"):
            raise BadInput(
                "MLFLOW_TRACKING_URI", uri, f"is a file of this machine, which no other host can open: {advice}"
            )
        if parts.scheme not in ("http", "https") or not name:
            raise BadInput("MLFLOW_TRACKING_URI", uri, server)
        if not _is_loopback(name):
            return cls(uri, uri, None)
        return cls(uri, uri, (name, port or {"http": 80, "https": 443}[parts.scheme]))

    def through(self, port: int) -> TrackingAddress:
        """Return the address that leads through a tunnel which begins at this port of the host's loopback."""
        parts = urlsplit(self.uri)
        login, at, _ = parts.netloc.rpartition("@")
        # A certificate is for a name.
        name = "localhost" if parts.hostname == "localhost" else "127.0.0.1"
        return replace(self, uri=urlunsplit(parts._replace(netloc=f"{login}{at}{name}:{port}")))

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a container is started with."""
        settings = {name: os.environ[name] for name in _SETTINGS if name in os.environ}
        tunnel = {"DLPERF_SHOWN_TRACKING_URI": without_logins(self.shown), **_THROUGH_TUNNEL} if self.local else {}
        return {"MLFLOW_TRACKING_URI": self.uri, **tunnel, **settings}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def check_reachable(link: Link, client: Any, image: str, network: str, address: TrackingAddress) -> None:
    """Verify from inside a container on the host that the tracking server answers.

    Raises:
        EnvironmentMissing: If it does not.
    """
    said = why_unreachable(client, image, network, address)
    if not said:
        return
    if address.local is None:
        advice = "its address has to be one that the host reaches"
    elif network == "host":
        advice = f"is it running? (through the tunnel, at {address.uri})"
    else:
        advice = "it is at the end of a tunnel, and only a container with the host's network sees that: --network host"
    raise EnvironmentMissing(
        f"a container on {link.name} cannot reach the tracking server {address.shown}: {said}: {advice}"
    )


def why_unreachable(client: Any, image: str, network: str, address: TrackingAddress) -> str:
    """Say why a container on the host gets no answer from the tracking server, "" if it does."""
    container = client.containers.create(
        image,
        ["-c", _REACH, without_logins(address.uri)],  # whoever is on the host sees the command
        entrypoint=["python"],
        network_mode=network,
        environment={name: text for name, text in address.environment.items() if name == _INSECURE},
    )
    try:
        container.start()
        status = int(container.wait()["StatusCode"])
        said = container.logs(stdout=False, stderr=True).decode(errors="replace")
    finally:
        remove(container)
    return (in_one_line(said) or f"status {status}") if status else ""
