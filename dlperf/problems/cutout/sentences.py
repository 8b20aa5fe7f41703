"""What the table of the cutout problem says, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from dlperf.analysis.contest import contest
from dlperf.analysis.measures import by_seed, measured
from dlperf.analysis.settings import timed
from dlperf.analysis.wording import seeds, span
from dlperf.problems.cutout.parameters import CutoutParameters
from dlperf.tables import cell
from dlperf.trial import StoredTrial


def of_trials(trials: Sequence[StoredTrial[CutoutParameters]]) -> str:
    """Say how test error and time go from the fewest copies to the most; of one m, what they are."""
    copies = sorted({trial.parameters.m for trial in trials})
    least, most = ([t for t in trials if t.parameters.m == m] for m in (copies[0], copies[-1]))
    if len(trials) == 1:
        metrics = trials[0].metrics
        trained = f"{int(metrics['epochs_run'])} epochs, {cell(metrics['train_seconds'])} seconds of training"
        return f"m={copies[0]}: a test error of {cell(metrics['test_error'])} after {trained}."
    if len(copies) == 1:
        errors = [trial.metrics["test_error"] for trial in trials]
        return f"m={copies[0]}: a test error of {span(errors)} over {seeds(len(errors))}."
    kinds = {f"m={m}": by_seed(t, measured(t, "test_error")) for m, t in ((copies[0], least), (copies[-1], most))}
    times = [fmean(t.metrics["train_seconds"] for t in timed(kind)[0]) for kind in (least, most)]
    took = f"training took {cell(times[0])} and {cell(times[1])} seconds"
    return f"{contest(kinds, 'test error', lower_is_better=True).in_words()} T{took[1:]}."
