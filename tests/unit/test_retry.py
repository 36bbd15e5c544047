from __future__ import annotations

import datetime as dt
import math

import msgspec
import pytest

from server.dispatcher.attempt import EXPIRED, conclude, not_sent
from server.dispatcher.ports import SendPlan, SendResult
from server.dispatcher.retry import decide, expires_at
from server.domain.campaign import RetryPolicy
from server.domain.delivery import AttemptOutcome, Claim, Finished
from server.domain.delivery_errors import RenderError, Verdict
from tests.kit.cases import each_case
from tests.kit.dispatch import ADDRESS, make_claim, make_trigger

POLICY = RetryPolicy(max_attempts=5, first_delay=2.0, factor=3.0, max_delay=30.0)
BUSY = SendResult(Verdict.PROVIDER_DOWN, "busy")
NEVER = SendResult(Verdict.NEVER, "no")
UNRENDERED = SendResult.of(RenderError("no"))
IN_DOUBT = SendResult(Verdict.IN_DOUBT, "no answer")
TOO_LONG = SendResult(Verdict.NEVER, "too long", reached_provider=False)
SENT = SendResult(Verdict.SENT, message_id="queue-7")
NOON = dt.datetime(2026, 7, 1, 12, 0, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


def asked_to_wait(seconds: float) -> SendResult:
    return SendResult(Verdict.PROVIDER_DOWN, "busy", retry_after=seconds)


@each_case(
    ("error", "attempt", "jitter", "expected"),
    [
        (BUSY, 1, 0.0, 0.0),
        (BUSY, 1, 0.5, 1.0),
        (BUSY, 2, 0.5, 3.0),
        (BUSY, 3, 0.5, 9.0),
        (BUSY, 4, 0.5, 15.0),  # 54 s, but for max_delay
        (BUSY, 5, 0.5, None),
        (BUSY, 6, 0.5, None),
        (asked_to_wait(10), 1, 0.5, 10.0),
        (asked_to_wait(10), 3, 0.9, 16.2),
        (asked_to_wait(100), 1, 0.5, 100.0),
        (asked_to_wait(10**9), 1, 0.5, 86_400.0),
        (asked_to_wait(10), 5, 0.5, None),
        (NEVER, 1, 0.5, None),
        (SendResult(Verdict.RECIPIENT_REFUSED, "no"), 1, 0.5, None),
        (UNRENDERED, 1, 0.5, None),
        (SendResult(Verdict.LATER, "full"), 1, 0.5, 1.0),
        (SENT, 1, 0.5, None),
    ],
)
def test_the_delay_follows_from_verdict_attempt_and_policy(
    error: SendResult, attempt: int, jitter: float, expected: float | None
) -> None:
    delay = decide(error, attempt, POLICY, jitter)
    assert delay == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("error", "attempt", "time_left", "expected"),
    [
        (BUSY, 1, math.inf, 1.0),
        (BUSY, 1, 1.001, 1.0),
        (BUSY, 1, 1.0, None),  # it would have expired by then
        (BUSY, 1, 0.0, None),
        (BUSY, 1, -5.0, None),
        (BUSY, 4, 16.0, 15.0),
        (asked_to_wait(10), 1, 9.0, None),
        (asked_to_wait(10), 1, 11.0, 10.0),
        (NEVER, 1, 1e9, None),
    ],
)
def test_no_attempt_is_scheduled_after_the_ttl(
    error: SendResult, attempt: int, time_left: float, expected: float | None
) -> None:
    assert decide(error, attempt, POLICY, 0.5, time_left) == expected


def test_a_policy_of_many_attempts_never_overflows() -> None:
    patient = RetryPolicy(max_attempts=2000, max_delay=60.0)
    assert decide(BUSY, 1999, patient, 0.5) == 30.0


async def _unused() -> SendResult:
    raise AssertionError


def plan_of(claim: Claim, policy: RetryPolicy = POLICY) -> SendPlan:
    """Plan a send as for a trigger."""
    return SendPlan(
        _unused,
        policy,
        expires_at=expires_at(claim, policy),
        suppressed=claim.suppressed,
        address=claim.trigger.address,
    )


def concluded(result: SendResult, attempt: int = 1) -> Finished:
    started = dt.datetime.now(dt.UTC)
    claim = make_claim(attempt=attempt)
    return conclude(claim, plan_of(claim), result, jitter=0.5, started_at=started, duration=0.25)


def test_a_sent_message_is_delivered() -> None:
    finished = concluded(SENT)
    assert finished.attempt.outcome is AttemptOutcome.DELIVERED
    assert finished.attempt.provider_message_id == "queue-7"
    assert finished.retry_in is None


def test_a_provider_down_is_retried_after_the_delay() -> None:
    finished = concluded(BUSY)
    assert finished.attempt.outcome is AttemptOutcome.RETRY
    assert finished.retry_in == 1.0
    assert finished.attempt.error == "busy"


def test_the_last_failed_attempt_is_dead() -> None:
    finished = concluded(BUSY, attempt=5)
    assert finished.attempt.outcome is AttemptOutcome.DEAD
    assert finished.retry_in is None


def test_a_message_never_accepted_is_dead() -> None:
    assert concluded(NEVER).attempt.outcome is AttemptOutcome.DEAD


@pytest.mark.parametrize(
    "text",
    [
        f"550 <{ADDRESS}>: unknown",
        f"550 {ADDRESS.upper()} unknown",
        "550 zoe.sommer: unknown here",
        "GET /users/zoe.sommer%40example.org failed",
    ],
)
def test_a_recorded_error_never_contains_the_recipient(text: str) -> None:
    recorded = concluded(SendResult(Verdict.NEVER, text)).attempt.error
    assert "[recipient]" in recorded
    assert "sommer" not in recorded.lower()


def test_a_recorded_error_is_one_short_printable_line() -> None:
    recorded = concluded(SendResult(Verdict.NEVER, "a\x00b\r\nc\udce4" + "x" * 5000)).attempt.error
    assert recorded.startswith("a b c?x")
    assert len(recorded) == 500


def accepted(*, attempt: int = 1, send_at: dt.datetime | None = None, **changes: object) -> Claim:
    """Claim what was accepted at noon."""
    trigger = msgspec.structs.replace(make_trigger(), accepted_at=NOON, send_at=send_at)
    return msgspec.structs.replace(make_claim(trigger, attempt), **changes)


@pytest.mark.parametrize(
    ("claim", "ttl", "expected"),
    [
        (accepted(), 0.0, None),
        (accepted(), 60.0, NOON + 60 * SECOND),  # the provider's policy, which acceptance did not know
        (accepted(send_at=NOON + 90 * SECOND), 60.0, NOON + 150 * SECOND),  # it was not to be sent before
        (accepted(send_at=NOON + 90 * SECOND), 0.0, None),
        (accepted(expires_at=NOON + SECOND), 0.0, NOON + SECOND),
        (accepted(expires_at=NOON + SECOND), 60.0, NOON + SECOND),  # what was promised holds
        (accepted(attempt=4, earlier=3), 60.0, None),  # redriven: it is wanted now
        (accepted(attempt=4, earlier=3, expires_at=NOON), 60.0, None),
        (make_claim(), 60.0, None),
    ],
)
def test_the_accepted_ttl_holds_until_a_redrive(
    claim: Claim, ttl: float, expected: dt.datetime | None
) -> None:
    assert expires_at(claim, RetryPolicy(ttl=ttl)) == expected


def unsent(claim: Claim, now: dt.datetime, policy: RetryPolicy = POLICY) -> Finished | None:
    return not_sent(claim, plan_of(claim, policy), now)


def at_noon(result: SendResult, claim: Claim, *, took: float = 0.0) -> Finished:
    return conclude(claim, plan_of(claim), result, jitter=0.5, started_at=NOON, duration=took)


def test_a_retry_after_the_ttl_is_given_up_with_a_reason() -> None:
    finished = at_noon(BUSY, accepted(expires_at=NOON + SECOND))
    assert finished.attempt.outcome is AttemptOutcome.DEAD
    assert finished.attempt.error == "busy; its time to live ends before the next attempt"
    assert finished.retry_in is None


def test_the_attempts_duration_counts_for_the_ttl() -> None:
    claim = accepted(expires_at=NOON + 3 * SECOND)
    assert at_noon(BUSY, claim, took=1.5).attempt.outcome is AttemptOutcome.RETRY
    assert at_noon(BUSY, claim, took=2.5).attempt.outcome is AttemptOutcome.DEAD


@pytest.mark.parametrize("error", [NEVER, UNRENDERED])
def test_other_failures_do_not_mention_the_ttl(error: SendResult) -> None:
    assert at_noon(error, accepted(expires_at=NOON)).attempt.error == "no"
    assert at_noon(BUSY, accepted(expires_at=NOON, attempt=5)).attempt.error == "busy"


def test_attempts_before_a_redrive_are_not_counted() -> None:
    assert at_noon(BUSY, accepted(attempt=9, earlier=5)).attempt.outcome is AttemptOutcome.RETRY
    last = at_noon(BUSY, accepted(attempt=10, earlier=5))
    assert (last.attempt.outcome, last.attempt.number) == (AttemptOutcome.DEAD, 10)


def test_only_a_refused_recipient_has_a_refusal() -> None:
    refused = concluded(SendResult(Verdict.RECIPIENT_REFUSED, f"550 <{ADDRESS}> unknown"))
    assert refused.refusal == refused.attempt.error == "550 <[recipient]> unknown"
    for other in (NEVER, BUSY, UNRENDERED, SENT):
        assert concluded(other).refusal == ""


@pytest.mark.parametrize(
    ("result", "reached"),
    [(SENT, True), (BUSY, True), (NEVER, True), (IN_DOUBT, True), (UNRENDERED, False), (TOO_LONG, False)],
)
def test_attempts_record_whether_the_provider_was_called(result: SendResult, *, reached: bool) -> None:
    assert concluded(result).attempt.reached_provider is reached


def test_a_message_that_must_not_be_sent_reaches_no_provider() -> None:
    for claim in (accepted(suppressed="550 unknown"), accepted(expires_at=NOON), make_claim(attempt=99)):
        finished = unsent(claim, NOON)
        assert finished is not None
        assert not finished.attempt.reached_provider


def test_an_opted_out_recipient_is_no_dead_letter() -> None:
    finished = concluded(SendResult(Verdict.OPTED_OUT, "replied STOP"))
    assert (finished.attempt.outcome, finished.retry_in) == (AttemptOutcome.SUPPRESSED, None)
    assert finished.refusal == ""  # the provider keeps the list


def test_a_suppressed_recipient_is_sent_nothing() -> None:
    finished = unsent(accepted(suppressed=f"550 {ADDRESS} unknown"), NOON)
    assert finished is not None
    assert finished.attempt.outcome is AttemptOutcome.SUPPRESSED
    assert finished.attempt.error == "the recipient is suppressed: 550 [recipient] unknown"
    assert (finished.retry_in, finished.refusal, finished.attempt.duration) == (None, "", 0.0)


@pytest.mark.parametrize(
    ("moment", "error"), [(NOON - SECOND, None), (NOON, EXPIRED), (NOON + 9 * SECOND, EXPIRED)]
)
def test_an_expired_message_is_not_sent(moment: dt.datetime, error: str | None) -> None:
    finished = unsent(accepted(expires_at=NOON), moment)
    assert (finished.attempt.error if finished else None) == error
    assert finished is None or finished.attempt.outcome is AttemptOutcome.DEAD


def test_other_messages_are_sent() -> None:
    assert unsent(accepted(), NOON) is None


def test_a_message_without_attempts_left_is_given_up() -> None:
    policy = RetryPolicy(max_attempts=2)
    now = dt.datetime.now(dt.UTC)
    assert unsent(make_claim(attempt=2), now, policy) is None
    finished = unsent(make_claim(attempt=3), now, policy)
    assert finished is not None
    assert finished.attempt.outcome is AttemptOutcome.DEAD
    assert finished.attempt.error == "no attempts left; the outcome of the last one is unknown"
