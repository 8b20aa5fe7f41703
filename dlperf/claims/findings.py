"""A finding: what the trials of one setting say of one claim, and what of it stands beside the others."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from dlperf.analysis.inference import LEVEL, POWER, Effect
from dlperf.tables import cell

SUPPORTED, CONTRADICTED, NOT_SHOWN = "supported", "contradicted", "not shown"


@dataclass(frozen=True)
class Visible:
    """The smallest effect that a test would have shown four times in five, or more often.

    Attributes:
        effects: What was tested; of several, all have to be shown.
        words: What is seen, with {} for the number.
        border: Of the logarithm of a ratio: the logarithm that it was tested against. None of a plain effect.
        sign: The direction that is claimed, 1 or -1.
    """

    effects: tuple[Effect, ...] = ()
    words: str = "{}"
    border: float | None = None
    sign: int = 1

    def in_words(self, level: float) -> str:
        """Say it of a test at a level; "" where nobody knows."""
        if not self.effects:
            return ""
        power = 1 - (1 - POWER) / len(self.effects)
        size = max(effect.detectable(level, power) for effect in self.effects)
        if math.isnan(size):
            return ""
        if math.isinf(size):
            return f"with {self.effects[0].n} values nothing could have been seen"
        number = size if self.border is None else min(abs(self.border) + size, 700)
        number = self.sign * number if self.border is None else math.exp(self.sign * number)
        return f"{self.words.format(cell(number))} could have been seen"


@dataclass(frozen=True)
class Finding:
    """What trials say of a claim.

    Attributes:
        says: In a few words.
        outcome: SUPPORTED, CONTRADICTED or NOT_SHOWN; None if trials are missing.
        value: The number that was tested, for a table.
        low: Lower end of its 95 % interval; NaN where there is none.
        high: Upper end.
        n: Number of independent values.
        p: Of a test, two-sided, before others are taken into account; None where nothing was tested.
        claimed: Of a test: the effect goes the way that is claimed.
        visible: Of a test: what it would have shown.
        excluded_p: Of a published run beside ours: how often a further run of ours lies so far away, before others are
            taken into account; None where our own runs do not tell.
        machines_p: Of several machines: how often they differ as much if they are alike.
    """

    says: str
    outcome: str | None = None
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    p: float | None = None
    claimed: bool = False
    visible: Visible = Visible()
    excluded_p: float | None = None
    machines_p: float = 1.0


def decided(finding: Finding, p: float, tests: int = 1, not_rejected: int = 1) -> Finding:
    """Return a finding with the outcome that follows from its p, adjusted for the tests that were made with it.

    Args:
        finding: The finding.
        p: Its p value, adjusted by Holm's method.
        tests: How many tests were made together.
        not_rejected: How many of them show nothing. A test that is to join the others has to pass the level by so many.
    """
    if finding.p is None:
        return finding
    outcome = NOT_SHOWN if p >= LEVEL else SUPPORTED if finding.claimed else CONTRADICTED
    says = f"{finding.says}, p = {p:.2g}"
    if outcome == NOT_SHOWN:
        if finding.p < LEVEL:
            says = f"{says} among {tests} tests; alone it would be shown (p = {finding.p:.2g})"
        seen = finding.visible.in_words(LEVEL / not_rejected)
        says = f"{says}; {seen}" if seen else says
    return replace(finding, outcome=outcome, says=says)


def compared(finding: Finding, p: float, tests: int = 1) -> Finding:
    """Return what is left of a published run beside ours once the others are taken into account.

    Args:
        finding: The finding; its outcome is that of the run alone.
        p: How often a further run lies so far away, adjusted by Holm's method.
        tests: How many published runs were put beside ours together.
    """
    if finding.excluded_p is None or finding.excluded_p >= LEVEL:
        return finding
    if p < LEVEL:
        return replace(finding, says=f"{finding.says}, p = {p:.2g}")
    says = f"{finding.says}, p = {p:.2g} among {tests} published runs; alone it would be excluded"
    return replace(finding, outcome=NOT_SHOWN, says=f"{says} (p = {finding.excluded_p:.2g})")
