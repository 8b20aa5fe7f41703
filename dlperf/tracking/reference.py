"""What the trials that come with dlperf say: they stand beside everybody's, and in no table of the user's."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from dlperf.archive import folder
from dlperf.entry_points import load_problem
from dlperf.tracking.archived import ArchivedRuns
from dlperf.tracking.query import find_trials
from dlperf.trial import StoredTrial


@functools.cache
def reference_trials(name: str) -> Sequence[StoredTrial[Any]]:
    """Return the reference's trials of a problem.

    Raises:
        EnvironmentMissing: If the archive that comes with dlperf is damaged.
    """
    reference = ArchivedRuns(folder.opened("archive", folder.REFERENCE), labelled=False)
    return find_trials(reference, load_problem(name)).trials
