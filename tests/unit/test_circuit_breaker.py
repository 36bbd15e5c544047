"""The circuit breaker, by moments that the test names."""

from __future__ import annotations

import pytest

from server.dispatcher.circuit_breaker import LONGEST_PAUSE, Breaker, BreakerState

CLOSED, OPEN, HALF_OPEN = BreakerState


def opened(failures: int = 1, pause: float = 10.0, *, at: float = 0.0, retry_after: float = 0.0) -> Breaker:
    breaker = Breaker(failures, pause)
    for _ in range(failures - 1):
        assert not breaker.failed(at)
    assert breaker.failed(at, retry_after)
    return breaker


def test_a_new_breaker_is_closed() -> None:
    breaker = Breaker(5, 10.0)
    assert breaker.state(0.0) is CLOSED
    assert breaker.probe_at is None
    assert breaker.room(0.0, 64) == 64


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker(3, 10.0)
    assert [breaker.failed(7.0) for _ in range(3)] == [False, False, True]
    assert breaker.state(7.0) is OPEN
    assert breaker.probe_at == 17.0
    assert breaker.room(7.0, 64) == 0


def test_a_success_resets_the_failure_count() -> None:
    breaker = Breaker(3, 10.0)
    for _ in range(5):
        assert not breaker.failed(0.0)
        assert not breaker.failed(0.0)
        assert not breaker.succeeded()
    assert breaker.state(0.0) is CLOSED


def test_a_limit_of_zero_never_opens() -> None:
    breaker = Breaker(0, 10.0)
    assert not any(breaker.failed(0.0, 60.0) for _ in range(1000))
    assert breaker.room(0.0, 4) == 4


@pytest.mark.parametrize(
    ("moment", "state", "room"),
    [(0.0, OPEN, 0), (9.999, OPEN, 0), (10.0, HALF_OPEN, 1), (1e9, HALF_OPEN, 1)],
)
def test_after_the_pause_it_is_half_open_for_one_message(
    moment: float, state: BreakerState, room: int
) -> None:
    breaker = opened()
    assert breaker.state(moment) is state
    assert breaker.room(moment, 64) == room


def test_half_open_it_needs_a_free_slot() -> None:
    assert opened().room(10.0, 0) == 0


def test_only_one_message_probes() -> None:
    breaker = opened()
    breaker.started(10.0)
    assert breaker.state(10.0) is HALF_OPEN
    assert breaker.room(10.0, 64) == 0
    assert breaker.room(1e9, 64) == 0


def test_a_message_sent_before_opening_is_not_the_probe() -> None:
    breaker = Breaker(1, 10.0)
    breaker.started(0.0)
    breaker.failed(0.0)
    breaker.started(5.0)  # claimed before, begun after
    assert breaker.room(10.0, 64) == 1


def test_a_success_closes_it() -> None:
    breaker = opened(2)
    breaker.started(10.0)
    assert breaker.succeeded()
    assert breaker.state(10.0) is CLOSED
    assert breaker.room(10.0, 64) == 64
    assert not breaker.failed(10.0)  # and all its failures are forgotten


def test_each_failed_probe_doubles_the_pause() -> None:
    breaker, now, pauses = opened(), 10.0, []
    for _ in range(7):
        breaker.started(now)
        assert breaker.failed(now)
        assert breaker.probe_at is not None
        pauses.append(breaker.probe_at - now)
        now = breaker.probe_at
    assert pauses == [20.0, 40.0, 80.0, 160.0, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]


def test_a_success_resets_the_pause() -> None:
    breaker = opened()
    breaker.started(10.0)
    breaker.failed(10.0)
    breaker.started(30.0)
    breaker.succeeded()
    breaker.failed(40.0)
    assert breaker.probe_at == 50.0


@pytest.mark.parametrize(
    ("retry_after", "pause"), [(0.0, 10.0), (5.0, 10.0), (60.0, 60.0), (1e6, LONGEST_PAUSE)]
)
def test_retry_after_extends_the_pause_within_bounds(retry_after: float, pause: float) -> None:
    assert opened(retry_after=retry_after).probe_at == pause


def test_a_first_pause_longer_than_the_maximum_is_kept() -> None:
    breaker = opened(pause=900.0)
    assert breaker.probe_at == 900.0
    breaker.started(900.0)
    breaker.failed(900.0)
    assert breaker.probe_at == 1800.0


def test_late_failures_change_nothing() -> None:
    breaker = opened()
    assert not any(breaker.failed(moment, 60.0) for moment in (1.0, 9.0, 10.0, 11.0))
    assert breaker.probe_at == 10.0
    assert breaker.room(11.0, 64) == 1


def test_a_late_success_closes_it() -> None:
    breaker = opened()
    assert breaker.succeeded()
    assert breaker.state(1.0) is CLOSED


def test_an_abandoned_probe_lets_another_message_probe() -> None:
    breaker = opened()
    breaker.started(10.0)
    breaker.abandoned()
    assert breaker.state(10.0) is HALF_OPEN
    assert breaker.room(10.0, 64) == 1
