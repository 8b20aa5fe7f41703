from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlperf.clock import ACCOUNTS, Clock
from dlperf.processor import CoreSeconds


def counting_clock() -> Clock:
    """A clock whose every look takes one second."""
    ticks = itertools.count()
    return Clock(lambda: float(next(ticks)))


def test_an_inner_account_pauses_the_outer() -> None:
    times = iter([0.0, 10.0, 12.0, 15.0, 20.0, 20.0])
    clock = Clock(lambda: next(times))
    with clock.account("train"), clock.account("tracking"):
        pass
    assert clock.seconds("train") == (12 - 10) + (20 - 15)
    assert clock.seconds("tracking") == 15 - 12
    assert clock.wall == 20


@given(st.lists(st.sampled_from(ACCOUNTS), min_size=1, max_size=8))
def test_accounts_never_exceed_the_wall(names: list[str]) -> None:
    clock = counting_clock()

    def nest(rest: list[str]) -> None:
        if rest:
            with clock.account(rest[0]):
                nest(rest[1:])

    nest(names)
    seconds = clock.snapshot()
    wall = seconds.pop("wall")
    # All but the looks before the first account and after the last one.
    assert sum(seconds[name] for name in ACCOUNTS) == wall - 2


def test_accounts_of_an_earlier_start_are_carried() -> None:
    first, second = counting_clock(), counting_clock()
    with first.account("train"):
        pass
    with second.account("train"):
        second.carry(first.snapshot())
    assert second.seconds("train") == 2
    # Three looks of the first clock up to its snapshot, three of the second.
    assert second.metrics()["wall_seconds"] == 3 + 3


def test_accounts_that_were_not_used_have_no_metric() -> None:
    clock, earlier = counting_clock(), counting_clock()
    assert clock.metrics().keys() == {"wall_seconds"}
    with clock.account("setup"), clock.account("compile"):
        pass
    assert clock.metrics().keys() == {"setup_seconds", "compile_seconds", "wall_seconds"}
    with earlier.account("train"):
        pass
    clock.carry(earlier.snapshot())
    assert clock.metrics().keys() == {"setup_seconds", "compile_seconds", "train_seconds", "wall_seconds"}


def test_an_exception_closes_the_account() -> None:
    clock = counting_clock()
    with pytest.raises(KeyError), clock.account("train"):
        raise KeyError
    with clock.account("evaluation"):
        pass
    assert clock.seconds("train") == 1
    assert clock.seconds("evaluation") == 1


def test_who_has_the_cores_is_counted_from_when_they_are_watched_and_carried() -> None:
    first = Clock()
    assert "others_share" not in first.metrics()
    now = CoreSeconds(5.0, 100.0, 200.0)
    first.watch(lambda: now)
    now = CoreSeconds(8.0, 104.0, 208.0)
    taken = first.snapshot()
    assert [taken[name] for name in CoreSeconds._fields] == [3.0, 4.0, 8.0]
    second = Clock()
    second.carry(taken)
    assert second.cores == (3.0, 4.0, 8.0)
    assert second.metrics()["others_share"] == 1 / 8
    second.carry({name: value for name, value in Clock().snapshot().items() if name not in CoreSeconds._fields})
    assert second.cores == (3.0, 4.0, 8.0)  # a state of an earlier version has none
