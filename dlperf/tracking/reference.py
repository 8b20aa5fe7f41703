"""What the trials that come with dlperf say of the claims on a problem: the verdicts that stand beside everybody's."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from dlperf.analysis.settings import settings
from dlperf.archive import folder
from dlperf.claims.ledger import claims
from dlperf.claims.verdicts import Verdict, verdicts
from dlperf.entry_points import load_problem
from dlperf.tracking.archived import ArchivedRuns
from dlperf.tracking.query import find_trials


@functools.cache
def reference_verdicts(name: str) -> Sequence[Verdict]:
    """Return the reference's verdict on every claim about a problem; its trials stand in no table of the user's.

    Raises:
        EnvironmentMissing: If the archive that comes with dlperf is damaged.
    """
    problem = load_problem(name)
    reference = ArchivedRuns(folder.opened("archive", folder.REFERENCE), labelled=False)
    return verdicts(claims(name), settings(problem, find_trials(reference, problem).trials))
