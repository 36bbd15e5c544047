"""The limit of a provider, by moments that the test names."""

from __future__ import annotations

import pytest

from server.dispatcher.provider_rate import ProviderRate

MOMENT = 1e-5
"""Seconds; more than rounding."""


def leave(limit: ProviderRate, now: float, slots: int = 1000) -> int:
    """Let leave what may; return how many."""
    room = limit.room(now, slots)
    limit.take(now, room)
    return room


def counted(limit: ProviderRate, seconds: float, step: float, begin: float = 0.0) -> int:
    """Return how many leave in so many seconds, if asked at every step."""
    return sum(leave(limit, begin + number * step) for number in range(round(seconds / step)))


def test_without_a_rate_all_slots_may_be_used_at_once() -> None:
    limit = ProviderRate(0, 0.0)
    assert [leave(limit, 0.0, 64) for _ in range(3)] == [64, 64, 64]
    assert limit.wait(0.0) == 0.0


def test_it_begins_with_one_message() -> None:
    assert leave(ProviderRate(1000, 5.0), 5.0) == 1


def test_no_more_may_leave_than_there_are_slots() -> None:
    limit = ProviderRate(1000, 0.0)
    limit.room(0.0, 0)
    assert limit.room(10.0, 3) == 3
    assert limit.room(10.0, 0) == 0


@pytest.mark.parametrize(("rate", "burst"), [(1000, 100), (25, 2), (9, 1), (0.01, 1)])
def test_after_a_rest_a_tenth_of_a_second_leaves_at_once_and_one_at_least(rate: float, burst: int) -> None:
    limit = ProviderRate(rate, 0.0)
    leave(limit, 0.0)
    assert leave(limit, 1e6) == burst
    assert leave(limit, 1e6) == 0


@pytest.mark.parametrize("rate", [0.5, 3, 14.3, 250])
def test_over_time_the_rate_is_kept(rate: float) -> None:
    assert counted(ProviderRate(rate, 0.0), 20, 0.001) == pytest.approx(20 * rate, rel=0.02, abs=1)


@pytest.mark.parametrize("rate", [0.5, 3, 14.3, 250])
def test_over_time_the_rate_is_never_exceeded_however_seldom_one_asks(rate: float) -> None:
    for step in (0.0333, 0.25, 2.5):
        assert counted(ProviderRate(rate, 0.0), 20, step) <= 20 * rate + 1


@pytest.mark.parametrize("rate", [0.25, 7, 300])
def test_waiting_as_long_as_told_is_enough_and_less_is_not(rate: float) -> None:
    limit = ProviderRate(rate, 0.0)
    leave(limit, 0.0)
    told = limit.wait(0.0)
    assert told == pytest.approx(1 / rate)
    assert limit.room(told - MOMENT, 1) == 0
    assert limit.room(told + MOMENT, 1) == 1
    assert limit.wait(told + MOMENT) == 0.0


def test_what_did_not_leave_after_all_is_given_back() -> None:
    limit = ProviderRate(2, 0.0)
    leave(limit, 0.0)
    limit.take(0.0, -1)
    assert limit.room(0.0, 8) == 1


def test_nothing_that_is_given_back_makes_a_greater_burst() -> None:
    limit = ProviderRate(20, 0.0)
    for _ in range(50):
        limit.take(0.0, -1)
    assert leave(limit, 0.0) == 2


def test_more_than_there_was_room_for_is_made_up_for() -> None:
    limit = ProviderRate(10, 0.0)
    limit.take(0.0, 5)
    assert limit.wait(0.0) == pytest.approx(0.5)
    assert limit.room(0.5 + MOMENT, 8) == 1


@pytest.mark.parametrize("dispatchers", [2, 3, 8])
def test_dispatchers_together_keep_the_rate(dispatchers: int) -> None:
    rates = [ProviderRate(40, 0.0) for _ in range(dispatchers)]
    for limit in rates:
        limit.share_among(dispatchers, 0.0)
    assert sum(counted(limit, 10, 0.01) for limit in rates) == pytest.approx(400, abs=2 * dispatchers)


def test_a_share_that_changes_is_in_force_at_once() -> None:
    limit = ProviderRate(10, 0.0)
    leave(limit, 0.0)
    limit.share_among(5, 0.0)
    assert limit.wait(0.0) == pytest.approx(0.5)
    limit.share_among(0, 0.0)  # nobody counted anybody: then this one is alone
    assert limit.wait(0.0) == pytest.approx(0.1)
