"""`remote` from its first check to the container's exit status."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlperf.errors import BadInput, Ended, EnvironmentMissing, OutOfMemory, TrialFailed
from dlperf.remote import container as containers
from dlperf.remote import docker_engine, image, logs, own_files, volume
from dlperf.remote.link import Link
from dlperf.remote.logs import say
from dlperf.remote.own_files import OwnFile
from dlperf.remote.parameters import Address, RemoteParameters, is_dry_run
from dlperf.remote.tracking_address import TrackingAddress, check_reachable, why_unreachable

if TYPE_CHECKING:
    from dlperf.tracking.store import Store

_TRACKING_GONE = 3


@dataclass(frozen=True)
class Host:
    """The host, connected: the SSH connection and Docker's client of its engine."""

    link: Link
    client: Any

    @property
    def name(self) -> str:
        """Its name."""
        return self.link.name


def run(parameters: RemoteParameters, arguments: Mapping[str, str]) -> int:
    """Do what was asked for: start a container and follow it, follow one that runs, or stop one.

    Args:
        parameters: `remote`'s.
        arguments: The entry point's, as text.

    Returns:
        The container's exit status; 0 after --stop.

    Raises:
        BadInput: If a parameter cannot be used.
        EnvironmentMissing: If something is missing; nothing is left running on the host then, unless it says so.
        Ended: If a signal came; a container that was started goes on.
    """
    own = own_files.plan(parameters.entry_point, arguments) if parameters.entry_point else []
    arguments = own_files.named_there(arguments, own, own_files.folder_for(parameters.data))
    if parameters.entry_point and is_dry_run(parameters.entry_point, arguments):
        with _connected(parameters) as host:
            return _list_trials(host, _check(host, parameters, own), parameters, arguments)
    address = TrackingAddress.of(os.environ.get("MLFLOW_TRACKING_URI", ""))
    with _connected(parameters) as host, _tracked(parameters.entry_point) as store:
        if parameters.attach:
            return _attach(host, store, address, parameters.attach)
        if parameters.stop:
            return _stop(host, store, address, parameters.stop)
        return _start(host, store, address, parameters, arguments, own)


@contextmanager
def _connected(parameters: RemoteParameters) -> Iterator[Host]:
    with Link(Address.of(parameters.host)) as link, docker_engine.connected(link) as client:
        yield Host(link, client)


@contextmanager
def _tracked(entry_point: str) -> Iterator[Store]:
    """Open the tracking server; what it fails with in the block becomes one line."""
    from dlperf.tracking.server import tracking_errors
    from dlperf.tracking.store import Store

    store = Store(entry_point=entry_point)
    with tracking_errors(store.uri):
        yield store


def _check(host: Host, parameters: RemoteParameters, own: Sequence[OwnFile]) -> str:
    """Verify the host, and bring the image and the user's own files there; return the image's id."""
    if parameters.gpus:
        docker_engine.check_gpus(host.link, host.client, parameters.gpus)
    if parameters.data.startswith("/"):
        docker_engine.check_folder(host.link, parameters.data)
    docker_engine.check_disk(host.link, host.client, image.room_needed(host.client, parameters))
    image_id = image.provide(host.client, host.name, parameters)
    volume.send(host.link, host.client, image_id, parameters.data, own)
    return image_id


def _list_trials(host: Host, image_id: str, parameters: RemoteParameters, arguments: Mapping[str, str]) -> int:
    network = "bridge" if parameters.network == "auto" else parameters.network
    # Named though nothing is stored: the image would else look for a folder for its store.
    environment = {"MLFLOW_TRACKING_URI": "sqlite:////runs/mlflow.db"}
    container = containers.start(
        host.client,
        parameters,
        arguments,
        image=image_id,
        run_id="",
        environment=environment,
        network=network,
        tunnel_port=0,
    )
    try:
        return logs.follow(host.link, container)
    finally:
        containers.remove(container)


def _start(
    host: Host,
    store: Store,
    address: TrackingAddress,
    parameters: RemoteParameters,
    arguments: Mapping[str, str],
    own: Sequence[OwnFile],
) -> int:
    """Start a container for a new run, or for the run that MLFLOW_RUN_ID names, and follow it."""
    from dlperf.remote import runs

    wanted = os.environ.get("MLFLOW_RUN_ID", "")
    if wanted:
        runs.find(store, "MLFLOW_RUN_ID", wanted)  # from here on the store is at its experiment
    runs.check_artifacts(store)
    image_id = _check(host, parameters, own)  # which may take minutes
    address, port = _tunnelled(host.link, address)
    # Only with the host's network is the host's loopback the container's.
    network = ("host" if port else "bridge") if parameters.network == "auto" else parameters.network
    check_reachable(host.link, host.client, image_id, network, address)
    # Before there is a run to settle: one that has its container goes on in it.
    if wanted and containers.of_run(host.client, wanted) is not None:
        raise BadInput("MLFLOW_RUN_ID", wanted, f"has its container on {host.name}: --attach {wanted} follows it")
    run_id = runs.make(store, parameters.entry_point).id
    try:
        container = containers.start(
            host.client,
            parameters,
            arguments,
            image=image_id,
            run_id=run_id,
            environment=address.environment,
            network=network,
            tunnel_port=port,
        )
    except BaseException as error:
        runs.settle(store, run_id, "KILLED" if isinstance(error, Ended) else "FAILED", str(error))
        raise
    return _follow(host, store, container, run_id, f"run {run_id} is in the container {container.name}")


def _attach(host: Host, store: Store, address: TrackingAddress, run_id: str) -> int:
    """Follow a container that an earlier start left running; go on with one whose tracking server had gone."""
    from dlperf.remote import runs

    runs.find(store, "attach", run_id)
    container = containers.find(host.client, host.name, "attach", run_id)
    _reopen_tunnel(host, address, container, run_id)
    container.reload()
    state = container.attrs["State"]
    if not state["Running"] and state["ExitCode"] == _TRACKING_GONE and containers.tunnel_port(container):
        say(f"the container {container.name} had ended without its tracking server: it goes on from its state")
        container.start()
    return _follow(host, store, container, run_id)


def _stop(host: Host, store: Store, address: TrackingAddress, run_id: str) -> int:
    """End a container and its run."""
    from dlperf.remote import runs

    run = runs.find(store, "stop", run_id)
    if runs.is_open(store, run_id) and containers.of_run(host.client, run_id) is None:
        owner = run.tags.get("dlperf.process", "")
        if owner and not owner.startswith(containers.host_name(run_id)):
            raise BadInput("stop", run_id, f"has no container on {host.name}: it is run by the process {owner}")
        runs.settle(store, run_id, "KILLED", f"ended by --stop, without a container on {host.name}")
        say(f"run {run_id} had no container on {host.name} any more: it stands as KILLED now")
        return 0
    container = containers.find(host.client, host.name, "stop", run_id)
    try:
        _reopen_tunnel(host, address, container, run_id)
    except EnvironmentMissing as error:
        say(f"{error}: the container ends without it, and its run is ended from here")
    say(f"ending the container {container.name} on {host.name}")
    containers.stop(container)
    with _findable(host, container, run_id, "is kept"):
        _settle(store, run_id, "KILLED", f"ended by --stop, in its container on {host.name}")
    containers.remove(container)
    return 0


def _reopen_tunnel(host: Host, address: TrackingAddress, container: Any, run_id: str) -> None:
    """Open the tunnel that a container needs, where it expects it."""
    port = containers.tunnel_port(container)
    if port and not address.local:
        raise BadInput(
            "MLFLOW_TRACKING_URI",
            address.uri,
            f"run {run_id} was started with a tracking server on the loopback of the machine it was started from",
        )
    if port:
        try:
            _tunnelled(host.link, address, port)
        except EnvironmentMissing:
            # Somebody else's --attach may hold the port, and lead to the same server.
            if why_unreachable(host.client, container.attrs["Image"], "host", address.through(port)):
                raise


def _tunnelled(link: Link, address: TrackingAddress, port: int = 0) -> tuple[TrackingAddress, int]:
    """Open a tunnel where the tracking server needs one; return its address there and the port, 0 without a tunnel."""
    if address.local is None:
        return address, 0
    opened = link.tunnel_back(*address.local, at=port)
    return address.through(opened), opened


def _follow(host: Host, store: Store, container: Any, run_id: str, opening: str = "") -> int:
    """Follow a container to its end, settle its run, then remove it.

    A connection or a caller that ends before leaves it running, and one that ended without its tracking server stays.
    """
    from dlperf.terminal.where import say_where

    with _findable(host, container, run_id, "keeps running"):
        if opening:
            say(f"{opening} on {host.name}")
        status = _followed(host, store, container, run_id)
    with _findable(host, container, run_id, "is kept"):
        memory = ", at its memory limit" if logs.ended_for_memory(container) else ""
        reason = f"its container on {host.name} ended with status {status}{memory}"
        if memory:
            say(reason)
        settled = _settle(store, run_id, "FAILED", OutOfMemory.FAILURE if memory else reason)
    # One that could end its run had its tracking server, and lacked something else.
    if settled and status == _TRACKING_GONE and containers.tunnel_port(container):
        say(_where(host, container, run_id, "is kept"))
    else:
        containers.remove(container)
    if status:  # else the container has said it
        say_where(store.uri, store.experiment_id, run_id)
    return status


def _followed(host: Host, store: Store, container: Any, run_id: str) -> int:
    """Follow a container to its end; a run whose container is removed meanwhile is ended too (--stop has done so)."""
    try:
        return logs.follow(host.link, container)
    except TrialFailed as error:
        _settle(store, run_id, "FAILED", str(error))
        raise


def _settle(store: Store, run_id: str, status: str, reason: str) -> bool:
    """End the run of a container that has ended; return whether that was left to do.

    Raises:
        EnvironmentMissing: If the tracking server does not answer.
    """
    from dlperf.remote import runs
    from dlperf.tracking.server import tracking_errors

    with tracking_errors(store.uri):
        return runs.settle(store, run_id, status, reason)


@contextmanager
def _findable(host: Host, container: Any, run_id: str, how: str) -> Iterator[None]:
    """Say how to find the container again, should the block not come to its end."""
    where = _where(host, container, run_id, how)
    try:
        yield
    except EnvironmentMissing as error:
        raise EnvironmentMissing(f"{error}: {where}") from error
    except (Ended, KeyboardInterrupt, BrokenPipeError):
        say(where)
        raise


def _where(host: Host, container: Any, run_id: str, how: str) -> str:
    return f"the container {container.name} {how} on {host.name}; to find it again: {_again(host, run_id)}"


def _again(host: Host, run_id: str) -> str:
    return f"python entrypoints/remote.py --host {host.link.address} --attach {run_id} (or --stop {run_id})"
