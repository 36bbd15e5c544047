"""Which results open and close a provider's circuit breaker, and how that is reported."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from server.dispatcher.circuit_breaker import BreakerState
from server.dispatcher.ports import SendResult
from server.domain.delivery_errors import RenderError, Verdict
from server.domain.waiting import Hold, ProviderStatus
from tests.kit.clock import FakeClock
from tests.kit.router import CLOSED, DOWN, HALF_OPEN, OPEN, YES, make_traffic, sent

UNKNOWN = SendResult(Verdict.RECIPIENT_REFUSED, "550 unknown")
GREYLISTED = SendResult(Verdict.LATER, "451 greylisted")
SPAM = SendResult(Verdict.NEVER, "554 spam")
TOO_LARGE = SendResult(Verdict.NEVER, "too large", reached_provider=False)
NOT_A_TOKEN = SendResult(Verdict.RECIPIENT_REFUSED, "not a token", reached_provider=False)
UNRENDERED = SendResult.of(RenderError("no template"))


@pytest.mark.parametrize("silent", [None, UNRENDERED, TOO_LARGE])
def test_a_send_that_did_not_happen_frees_slot_token_and_probe(
    clock: FakeClock, silent: SendResult | None
) -> None:
    traffic = make_traffic(clock, rate=1, slots=1)
    sent(traffic, "first", silent)
    assert traffic.room("first") == 1
    sent(traffic, "first", DOWN)
    sent(traffic, "first", DOWN)
    clock.advance(10)
    sent(traffic, "first", silent)
    assert traffic.breaker_states()["first"] is HALF_OPEN
    assert traffic.room("first") == 1


@pytest.mark.parametrize(
    ("result", "state"),
    [
        (YES, CLOSED),
        (UNKNOWN, CLOSED),
        (GREYLISTED, CLOSED),
        (SPAM, CLOSED),
        (TOO_LARGE, OPEN),
        (NOT_A_TOKEN, OPEN),
        (UNRENDERED, OPEN),
        (None, OPEN),
        (DOWN, OPEN),
    ],
)
def test_which_results_reset_the_failure_count(result: SendResult | None, state: BreakerState) -> None:
    traffic = make_traffic(FakeClock())
    sent(traffic, "first", DOWN, result, DOWN)
    assert traffic.breaker_states()["first"] is state


@pytest.mark.parametrize(
    ("result", "state"),
    [
        (YES, CLOSED),
        (SPAM, CLOSED),
        (UNKNOWN, CLOSED),
        (GREYLISTED, CLOSED),
        (TOO_LARGE, HALF_OPEN),
        (None, HALF_OPEN),
        (DOWN, OPEN),
    ],
)
def test_which_results_of_a_probe_close_the_breaker(
    clock: FakeClock, result: SendResult | None, state: BreakerState
) -> None:
    traffic = make_traffic(clock)
    sent(traffic, "first", DOWN, DOWN)
    clock.advance(10)
    sent(traffic, "first", result)
    assert traffic.breaker_states()["first"] is state


def test_opening_and_closing_are_logged_once_each(clock: FakeClock) -> None:
    with capture_logs() as logs:
        traffic = make_traffic(clock)
        sent(
            traffic, "first", DOWN, SendResult(Verdict.PROVIDER_DOWN, "slow down", retry_after=30), DOWN, DOWN
        )
        clock.now += 30
        sent(traffic, "first", YES, YES)
    assert logs == [
        {"event": "breaker_opened", "log_level": "warning", "provider": "first", "pause_s": 30.0},
        {"event": "breaker_closed", "log_level": "info", "provider": "first"},
    ]


def test_the_status_names_what_holds_a_provider(clock: FakeClock) -> None:
    traffic = make_traffic(clock, rate=2.0)
    assert traffic.statuses()["second"] == ProviderStatus()
    assert traffic.statuses()["first"] == ProviderStatus(rate=2.0)
    traffic.began("first")
    assert traffic.statuses()["first"] == ProviderStatus(Hold.RATE, 0.5, 2.0)
    for _ in range(4):
        traffic.began("second")
    assert traffic.statuses()["second"] == ProviderStatus(Hold.SLOTS)


def test_the_status_of_an_open_breaker_has_its_error(clock: FakeClock) -> None:
    traffic = make_traffic(clock)
    sent(traffic, "first", DOWN, DOWN)
    clock.now += 4
    assert traffic.statuses()["first"] == ProviderStatus(Hold.BREAKER, 6.0, error="no connection")
    clock.now += 6
    assert traffic.statuses()["first"].hold is None, "one message may be tried"
    traffic.began("first")
    assert traffic.statuses()["first"] == ProviderStatus(Hold.BREAKER, 0.0, error="no connection")
    traffic.ended("first", YES)
    assert traffic.statuses()["first"] == ProviderStatus()
