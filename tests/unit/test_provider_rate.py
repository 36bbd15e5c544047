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
    """Return how many are sent in this many seconds with a check at every step."""
    return sum(leave(limit, begin + number * step) for number in range(round(seconds / step)))


def test_without_a_rate_all_slots_may_be_used() -> None:
    limit = ProviderRate(0, 0.0)
    assert [leave(limit, 0.0, 64) for _ in range(3)] == [64, 64, 64]
    assert limit.wait(0.0) == 0.0


def test_it_starts_with_one_message() -> None:
    assert leave(ProviderRate(1000, 5.0), 5.0) == 1


def test_slots_limit_the_room() -> None:
    limit = ProviderRate(1000, 0.0)
    limit.room(0.0, 0)
    assert limit.room(10.0, 3) == 3
    assert limit.room(10.0, 0) == 0


@pytest.mark.parametrize(("rate", "burst"), [(1000, 100), (25, 2), (9, 1), (0.01, 1)])
def test_the_burst_is_a_tenth_of_a_second_and_at_least_one(rate: float, burst: int) -> None:
    limit = ProviderRate(rate, 0.0)
    leave(limit, 0.0)
    assert leave(limit, 1e6) == burst
    assert leave(limit, 1e6) == 0


@pytest.mark.parametrize("rate", [0.5, 3, 14.3, 250])
def test_the_rate_is_reached(rate: float) -> None:
    assert counted(ProviderRate(rate, 0.0), 20, 0.001) == pytest.approx(20 * rate, rel=0.02, abs=1)


@pytest.mark.parametrize("rate", [0.5, 3, 14.3, 250])
def test_the_rate_is_not_exceeded_at_any_polling_interval(rate: float) -> None:
    for step in (0.0333, 0.25, 2.5):
        assert counted(ProviderRate(rate, 0.0), 20, step) <= 20 * rate + 1


@pytest.mark.parametrize("rate", [0.25, 7, 300])
def test_the_returned_wait_is_exact(rate: float) -> None:
    limit = ProviderRate(rate, 0.0)
    leave(limit, 0.0)
    stated = limit.wait(0.0)
    assert stated == pytest.approx(1 / rate)
    assert limit.room(stated - MOMENT, 1) == 0
    assert limit.room(stated + MOMENT, 1) == 1
    assert limit.wait(stated + MOMENT) == 0.0


def test_unsent_messages_return_their_tokens() -> None:
    limit = ProviderRate(2, 0.0)
    leave(limit, 0.0)
    limit.take(0.0, -1)
    assert limit.room(0.0, 8) == 1


def test_returned_tokens_do_not_exceed_the_burst() -> None:
    limit = ProviderRate(20, 0.0)
    for _ in range(50):
        limit.take(0.0, -1)
    assert leave(limit, 0.0) == 2


def test_taking_too_much_delays_the_next_message() -> None:
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


def test_a_changed_share_applies_at_once() -> None:
    limit = ProviderRate(10, 0.0)
    leave(limit, 0.0)
    limit.share_among(5, 0.0)
    assert limit.wait(0.0) == pytest.approx(0.5)
    limit.share_among(0, 0.0)  # no process was counted: this one is alone
    assert limit.wait(0.0) == pytest.approx(0.1)
