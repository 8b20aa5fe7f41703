"""What an earlier program said and could not send: its journal, sent now."""

from __future__ import annotations

from pathlib import Path

import mlflow

from dlperf.errors import EnvironmentMissing
from dlperf.tracking.delivery import deliver_next, why_not
from dlperf.tracking.journal import Journal


def send_unsent(client: mlflow.MlflowClient, folder: Path) -> int:
    """Send what waits in a journal, and delete it; what was sent when it fails is not sent again.

    Args:
        client: Of the tracking server that it is for.
        folder: Its folder.

    Returns:
        How many entries were sent.

    Raises:
        JournalHeld: If a process has it open, which sends it itself.
        EnvironmentMissing: If the server does not take them; they wait on.
    """
    journal = Journal(folder)
    sent = 0
    try:
        while journal.waiting:
            count = deliver_next(client, journal.next_entries(), folder)
            journal.mark(count)
            sent += count
    except Exception as error:
        journal.close()
        run_id = journal.header.run_id
        raise EnvironmentMissing(f"what run {run_id} said cannot be sent ({why_not(error, run_id)})") from error
    journal.remove()
    return sent
