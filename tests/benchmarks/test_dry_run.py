"""What dry_run promises, beside what an epoch takes, at toy size."""

from __future__ import annotations

import pytest

from tests.benchmarks.conftest import Start


@pytest.mark.slow
def test_promised_and_real_epochs_have_a_ratio(start: Start) -> None:
    figures = start("dry_run", "--small", "--epochs", 2).written()["figures"]
    assert set(figures) == {"optimizers adam", "cutout m=0", "scaling plain"}
    for row in figures.values():
        assert row["ratio"] == pytest.approx(row["promised_seconds"] / row["real_seconds"])
        assert row["real_seconds"] > 0
