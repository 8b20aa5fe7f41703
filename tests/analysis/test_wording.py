"""Phrases of sentences."""

from __future__ import annotations

from dlperf.analysis.wording import span


def test_a_span_of_equal_texts_is_one_number() -> None:
    assert (span([0.12341, 0.12339]), span([3, 1])) == ("0.1234", "1 to 3")
