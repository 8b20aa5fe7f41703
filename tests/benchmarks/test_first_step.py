"""The first step of two trials of one shape in one process, at toy size."""

from __future__ import annotations

import pytest

from tests.benchmarks.conftest import Start


@pytest.mark.slow
def test_the_second_trial_has_no_imports(start: Start) -> None:
    (part,) = start("first_step", "--depth", 8, "--repeats", 1).written()["figures"].values()
    first, second = part
    assert (first["trial"], second["trial"]) == ("first", "second")
    assert "imports" not in second
    for row in part:
        parts = [row.get(name, 0.0) for name in ("imports", "network", "trace and first step")]
        assert row["seconds"] == row["least"] == row["most"] == pytest.approx(sum(parts))
    assert 0 < second["seconds"] < first["seconds"]
