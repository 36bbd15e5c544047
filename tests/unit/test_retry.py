from __future__ import annotations

import datetime as dt

import pytest

from server.dispatch.providers.base import Receipt
from server.dispatch.retry import conclude, decide
from server.domain.campaign import RetryPolicy
from server.domain.delivery import AttemptOutcome, Finished
from server.errors import (
    DeliveryError,
    Permanent,
    ProviderError,
    RecipientRefused,
    RenderError,
    Transient,
)

from .dispatch_doubles import ADDRESS, make_claim

POLICY = RetryPolicy(max_attempts=5, first_delay=2.0, factor=3.0, max_delay=30.0)
BUSY = Transient("busy")


@pytest.mark.parametrize(
    ("error", "attempt", "jitter", "expected"),
    [
        (BUSY, 1, 0.0, 0.0),
        (BUSY, 1, 0.5, 1.0),
        (BUSY, 2, 0.5, 3.0),
        (BUSY, 3, 0.5, 9.0),
        (BUSY, 4, 0.5, 15.0),  # 54 s, but for max_delay
        (BUSY, 5, 0.5, None),
        (BUSY, 6, 0.5, None),
        (Transient("busy", retry_after=10), 1, 0.5, 10.0),
        (Transient("busy", retry_after=10), 3, 0.9, 16.2),
        (Transient("busy", retry_after=100), 1, 0.5, 100.0),
        (Transient("busy", retry_after=10**9), 1, 0.5, 86_400.0),
        (Transient("busy", retry_after=10), 5, 0.5, None),
        (Permanent("no"), 1, 0.5, None),
        (RecipientRefused("no"), 1, 0.5, None),
        (RenderError("no"), 1, 0.5, None),
        (ProviderError("no"), 1, 0.5, None),
    ],
)
def test_the_delay_follows_from_error_attempt_and_policy(
    error: DeliveryError, attempt: int, jitter: float, expected: float | None
) -> None:
    delay = decide(error, attempt, POLICY, jitter)
    assert delay == (None if expected is None else pytest.approx(expected))


def test_a_policy_of_a_thousand_attempts_never_overflows() -> None:
    patient = RetryPolicy(max_attempts=2000, max_delay=60.0)
    assert decide(BUSY, 1999, patient, 0.5) == 30.0


def concluded(result: Receipt | DeliveryError, attempt: int = 1) -> Finished:
    started = dt.datetime.now(dt.UTC)
    claim = make_claim(attempt=attempt)
    return conclude(claim, result, POLICY, jitter=0.5, started_at=started, duration=0.25)


def test_a_receipt_means_delivered() -> None:
    finished = concluded(Receipt("queue-7"))
    assert finished.attempt.outcome is AttemptOutcome.DELIVERED
    assert finished.attempt.provider_message_id == "queue-7"
    assert finished.retry_in is None


def test_a_transient_error_means_retry_with_its_delay() -> None:
    finished = concluded(BUSY)
    assert finished.attempt.outcome is AttemptOutcome.RETRY
    assert finished.retry_in == 1.0
    assert finished.attempt.error == "busy"


def test_the_last_attempts_error_means_dead() -> None:
    finished = concluded(BUSY, attempt=5)
    assert finished.attempt.outcome is AttemptOutcome.DEAD
    assert finished.retry_in is None


def test_a_permanent_error_means_dead_at_once() -> None:
    assert concluded(Permanent("no")).attempt.outcome is AttemptOutcome.DEAD


@pytest.mark.parametrize(
    "text",
    [
        f"550 <{ADDRESS}>: unknown",
        f"550 {ADDRESS.upper()} unknown",
        "550 zoe.sommer: unknown here",
        "GET /users/zoe.sommer%40example.org failed",
    ],
)
def test_a_recorded_error_never_holds_the_recipient(text: str) -> None:
    recorded = concluded(Permanent(text)).attempt.error
    assert "[recipient]" in recorded
    assert "sommer" not in recorded.lower()


def test_a_recorded_error_is_one_short_line_that_a_database_takes() -> None:
    recorded = concluded(Permanent("a\x00b\r\nc\udce4" + "x" * 5000)).attempt.error
    assert recorded.startswith("a b c?x")
    assert len(recorded) == 500
