"""Made claims, and the verdict of made trials on one."""

from __future__ import annotations

from typing import Any

from dlperf import entry_points
from dlperf.analysis.settings import settings
from dlperf.claims.ledger import Claim
from dlperf.claims.verdicts import verdicts
from dlperf.trial import StoredTrial
from tests.support.trials import stored


def claim(**given: Any) -> Claim:
    return Claim.model_validate(
        {"id": "cutout/one", "problem": "cutout", "says": "it", "source": "notebook", "place": "here", "published": 2.0}
        | given
    )


def verdict(one: Claim, trials: list[StoredTrial[Any]], **options: Any) -> Any:
    found = settings(entry_points.load_problem(one.problem), trials)
    (answer,) = verdicts([one], found, **options)
    return answer


def of_seeds(values: list[float], place: int = 1, measure: str = "test_error") -> list[StoredTrial[Any]]:
    """Trials of one m (made trials have six of them), a random seed each."""
    return [stored("cutout", 6 * seed + place, metrics={measure: value}) for seed, value in enumerate(values)]
