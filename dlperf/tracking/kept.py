"""What an earlier program said and could not send: its journal, sent now."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import mlflow

from dlperf.errors import EnvironmentMissing, one_line
from dlperf.tracking.delivery import deliver
from dlperf.tracking.journal import Journal, JournalHeld, is_there

_AT_ONCE = 200  # entries that are looked at for one call


def send_kept(client: mlflow.MlflowClient, folder: Path) -> int | None:
    """Send what waits in a journal, and delete it; what was sent when it fails is not sent again.

    Args:
        client: Of the tracking server that it is for.
        folder: Its folder.

    Returns:
        How many entries were sent; None where there is no journal, or a process has it open, and sends it itself.

    Raises:
        EnvironmentMissing: If the server does not take them; they wait on.
    """
    if not is_there(folder):
        return None
    try:
        journal = Journal(folder)
    except JournalHeld:
        return None
    sent = 0
    try:
        while journal.waiting:
            count = deliver(client, list(islice(journal.waiting, _AT_ONCE)), folder)
            journal.mark(count)
            sent += count
    except Exception as error:
        journal.close()
        raise EnvironmentMissing(
            f"what run {journal.header.run_id} said cannot be sent ({one_line(error)}); it waits in {folder}"
        ) from error
    journal.remove()
    return sent
