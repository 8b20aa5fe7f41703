"""The start of the command `archive`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from dlperf.analysis import wording
from dlperf.archive.folder import opened, opened_to_add
from dlperf.archive.parameters import ArchiveParameters
from dlperf.errors import NothingFound, in_one_line, without_logins
from dlperf.folders import make_lasting, state_folder, writable_folder
from dlperf.locks import held
from dlperf.parameters import parse
from dlperf.tracking import database_file
from dlperf.tracking.archived import export, restore
from dlperf.tracking.server import reach, tracking_errors
from dlperf.tracking.store import Store


def start(raw: Mapping[str, str]) -> int:
    """Write an archive, or read one.

    Args:
        raw: Parameters as the user wrote them.

    Returns:
        The exit status 0; everything else is raised.

    Raises:
        BadInput: If a parameter, a folder or the filter cannot be used.
        NothingFound: If no finished trial matches.
        EnvironmentMissing: If the store cannot be reached, or the archive is damaged.
    """
    parameters = parse(ArchiveParameters, raw).trials[0]
    uri = parameters.tracking_uri or database_file.named_store()
    source = getattr(parameters, "import")
    if source:
        trials = list(opened("import", source).trials())
        database_file.check_file(uri)
        with _in_turn(), tracking_errors(uri):
            store = Store(uri)
            store.check_experiment()
            store.end_stale_runs()
            made = restore(store.client, store.experiment_id, trials)
        made_of = f"{wording.seeds(made, 'run')} made in {without_logins(uri)}"
        print(f"{made_of} of the {wording.seeds(len(trials), 'trial')} of {source}")
        return 0
    database_file.check_there(uri)
    folder = writable_folder("output", Path(parameters.output))
    archive = opened_to_add(folder)
    with tracking_errors(uri):
        exported = export(Store(reach(uri)).client, archive, parameters.filter)
    if exported.left_out:
        said = "; ".join(f"{name}: {why}" for name, why in exported.left_out.items())
        print(
            f"dlperf archive: {wording.seeds(len(exported.left_out), 'trial')} left out: {in_one_line(said)}",
            file=sys.stderr,
        )
    matching = exported.written + exported.there
    if not matching and exported.left_out:
        raise NothingFound("no other finished trial matches")
    if not matching:
        condition = f" with {parameters.filter}" if parameters.filter else ""
        raise NothingFound(f"no finished trial{condition} at {without_logins(uri)}")
    written = wording.seeds(exported.written, "trial")
    print(f"{written} written to {folder}, which had {exported.there} of the {matching} that match")
    return 0


@contextlib.contextmanager
def _in_turn() -> Iterator[None]:
    """Let one import go on at a time: two into one store would both make the runs that neither has found there.

    So it is for one user on one machine; where the folder of states cannot be written, nothing is held.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            make_lasting(state_folder())
            stack.enter_context(held(state_folder() / "import.lock", "waiting for another import"))
        yield
