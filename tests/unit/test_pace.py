"""The pace of a provider, by moments that the test names."""

from __future__ import annotations

import pytest

from server.dispatcher.provider_rate import Pace

MOMENT = 1e-6
"""Seconds; more than rounding."""


def leave(pace: Pace, now: float, slots: int = 1000) -> int:
    """Let leave what may; return how many."""
    room = pace.room(now, slots)
    pace.took(room)
    return room


def counted(pace: Pace, seconds: float, step: float, begin: float = 0.0) -> int:
    """Return how many leave in so many seconds, if asked at every step."""
    return sum(leave(pace, begin + number * step) for number in range(round(seconds / step)))


def test_without_a_rate_all_slots_may_be_used_at_once() -> None:
    pace = Pace(0)
    assert [leave(pace, 0.0, 64) for _ in range(3)] == [64, 64, 64]
    assert pace.wait(0.0) == 0.0


def test_it_begins_with_one_message() -> None:
    assert leave(Pace(1000), 5.0) == 1


def test_no_more_may_leave_than_there_are_slots() -> None:
    pace = Pace(1000)
    pace.room(0.0, 0)
    assert pace.room(10.0, 3) == 3
    assert pace.room(10.0, 0) == 0


@pytest.mark.parametrize(("rate", "burst"), [(1000, 100), (25, 2), (9, 1), (0.01, 1)])
def test_after_a_rest_a_tenth_of_a_second_leaves_at_once_and_one_at_least(rate: float, burst: int) -> None:
    pace = Pace(rate)
    leave(pace, 0.0)
    assert leave(pace, 1e6) == burst
    assert leave(pace, 1e6) == 0


@pytest.mark.parametrize("rate", [0.5, 3, 14.3, 250])
def test_over_time_the_rate_is_kept(rate: float) -> None:
    assert counted(Pace(rate), 20, 0.001) == pytest.approx(20 * rate, rel=0.02, abs=1)


@pytest.mark.parametrize("rate", [0.5, 3, 14.3, 250])
def test_over_time_the_rate_is_never_exceeded_however_seldom_one_asks(rate: float) -> None:
    for step in (0.0333, 0.25, 2.5):
        assert counted(Pace(rate), 20, step) <= 20 * rate + 1


@pytest.mark.parametrize("rate", [0.25, 7, 300])
def test_waiting_as_long_as_told_is_enough_and_less_is_not(rate: float) -> None:
    pace = Pace(rate)
    leave(pace, 0.0)
    told = pace.wait(0.0)
    assert told == pytest.approx(1 / rate)
    assert pace.room(told - MOMENT, 1) == 0
    assert pace.room(told + MOMENT, 1) == 1
    assert pace.wait(told + MOMENT) == 0.0


def test_what_did_not_leave_after_all_is_given_back() -> None:
    pace = Pace(2)
    leave(pace, 0.0)
    pace.took(-1)
    assert pace.room(0.0, 8) == 1


def test_nothing_that_is_given_back_makes_a_greater_burst() -> None:
    pace = Pace(20)
    for _ in range(50):
        pace.took(-1)
    assert leave(pace, 0.0) == 2


def test_more_than_there_was_room_for_is_made_up_for() -> None:
    pace = Pace(10)
    pace.took(5)
    assert pace.wait(0.0) == pytest.approx(0.5)
    assert pace.room(0.5 + MOMENT, 8) == 1


@pytest.mark.parametrize("dispatchers", [2, 3, 8])
def test_dispatchers_together_keep_the_rate(dispatchers: int) -> None:
    paces = [Pace(40) for _ in range(dispatchers)]
    for pace in paces:
        pace.share_among(dispatchers)
    assert sum(counted(pace, 10, 0.01) for pace in paces) == pytest.approx(400, abs=2 * dispatchers)


def test_a_share_that_changes_is_in_force_at_once() -> None:
    pace = Pace(10)
    leave(pace, 0.0)
    pace.share_among(5)
    assert pace.wait(0.0) == pytest.approx(0.5)
    pace.share_among(0)  # nobody counted anybody: then this one is alone
    assert pace.wait(0.0) == pytest.approx(0.1)


def test_a_clock_that_is_set_back_gives_nothing_and_takes_nothing() -> None:
    pace = Pace(10)
    leave(pace, 100.0)
    assert pace.room(50.0, 8) == 0
    assert pace.room(50.1 + MOMENT, 8) == 1
