"""The life cycle of one attempt, the same for triggers and webhook messages.

An attempt ends in one of six ways: the message is not sent (its recipient is suppressed, it has no attempts
left, or it expired), it is sent, sending fails (and is retried or given up), it is in doubt whether it was
sent, a shutdown cuts it off, or its claim is released because it must wait.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import random
from collections.abc import Callable
from typing import Generic

import structlog
from msgspec import structs
from opentelemetry.trace import Span

from ..domain.clock import SYSTEM_CLOCK, Clock
from ..domain.delivery import Attempt, AttemptOutcome, ClaimT, Finished, Leased, Released
from ..domain.delivery_errors import DeliveryError, Verdict
from ..tracing import attempt_span, failed
from .ports import AttemptResult, Sender, SendPlan, SendResult
from .redact import safe_traceback, scrub
from .retry import decide, if_in_doubt

__all__ = [
    "CUT_OFF",
    "EXPIRED",
    "EXPIRED_IN_DOUBT",
    "USED_UP",
    "AttemptRunner",
    "conclude",
    "cut_off",
    "not_sent",
]

EXPIRED = "its time to live ended"
"""The error of a message that was not sent in time."""
ARRIVED = "; the message may have arrived"
"""Appended to the error of an attempt in doubt."""
ARRIVED_EARLIER = "; an earlier attempt may have delivered it"
"""Appended to the error of a message that is given up after an attempt that was lost or ended in doubt."""
EXPIRED_IN_DOUBT = EXPIRED + ARRIVED_EARLIER
USED_UP = "no attempts left; the outcome of the last one is unknown"
CUT_OFF = "cut off by a shutdown; the provider may have received the message"


class AttemptRunner(Generic[ClaimT]):
    """Makes attempts.

    Args:
        sender: Plans, sends and reports this kind of message.
        clock: Measures the duration of attempts.
        jitter: Returns a random number from 0 up to 1, which spreads retries.
    """

    def __init__(
        self,
        sender: Sender[ClaimT],
        clock: Clock = SYSTEM_CLOCK,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._sender = sender
        self._clock = clock
        self._jitter = jitter
        self._log = structlog.get_logger("clarion.dispatch").bind()

    async def attempt(self, claim: ClaimT) -> AttemptResult[ClaimT]:
        """Make one attempt, report it, and return what to record.

        If it is cancelled while sending, the attempt's outcome is LOST. An earlier cancellation propagates.

        Raises:
            StoreUnavailable: The claim could not be planned; nothing was sent.
        """
        started_at, start = self._clock.utc(), self._clock.monotonic()
        plan = await self._sender.plan(claim, started_at)
        if isinstance(plan, Released):
            return AttemptResult(plan)
        unsent = not_sent(claim, plan, started_at)
        if plan.wait and not unsent:
            return AttemptResult(Released(claim, plan.wait))
        with attempt_span(plan.span, int(started_at.timestamp() * 1e9)) as span:
            attempted = self._reported(unsent) if unsent else await self._sent(claim, plan, started_at, start)
            _describe(span, attempted)
            return attempted

    async def _sent(
        self, claim: ClaimT, plan: SendPlan, started_at: dt.datetime, start: float
    ) -> AttemptResult[ClaimT]:
        """Send a message, report the attempt, and return what to record."""
        try:
            result = await self._send(claim, plan)
        except asyncio.CancelledError:
            return self._reported(
                cut_off(claim, started_at, self._clock.monotonic() - start, plan.campaign_version)
            )
        duration = self._clock.monotonic() - start
        finished = conclude(
            claim, plan, result, jitter=self._jitter(), started_at=started_at, duration=duration
        )
        return self._reported(finished, result)

    def _reported(
        self, finished: Finished[ClaimT], result: SendResult | None = None
    ) -> AttemptResult[ClaimT]:
        self._sender.report(finished)
        return AttemptResult(finished, result)

    async def _send(self, claim: ClaimT, plan: SendPlan) -> SendResult:
        """Send the message, and convert every error to a result."""
        try:
            return await plan.send()
        except DeliveryError as error:
            return SendResult.of(error)
        except Exception as error:
            self._log.error(
                "send_fault",
                id=str(claim.id),
                provider=claim.provider,
                exception=safe_traceback(error),
            )
            text = f"unexpected {type(error).__name__} in provider {claim.provider}"
            return SendResult(Verdict.PROVIDER_DOWN, text)


def _describe(span: Span, attempted: AttemptResult[ClaimT]) -> None:
    """Add to an attempt's span how it ended."""
    finished = attempted.outcome
    if isinstance(finished, Released) or not span.is_recording():
        return
    outcome = finished.attempt.outcome
    span.set_attribute("clarion.attempt.outcome", outcome.value)
    if outcome is not AttemptOutcome.DELIVERED:
        failed(span, attempted.result.verdict.value if attempted.result else outcome.value)


def not_sent(claim: ClaimT, plan: SendPlan, now: dt.datetime) -> Finished[ClaimT] | None:
    """Return what to record for a claim that must not be sent, or None if it may be sent."""
    outcome = AttemptOutcome.DEAD
    if plan.suppressed:
        outcome = AttemptOutcome.SUPPRESSED
        error = f"the recipient is suppressed: {plan.suppressed}"
    elif claim.tries > plan.policy.max_attempts + plan.spare_attempts:
        # The outcomes of the last attempts were lost, perhaps because this message crashes dispatchers.
        error = USED_UP
    elif plan.expires_at is not None and now >= plan.expires_at:
        error = EXPIRED
    else:
        return None
    error = scrub(error, plan.address) + (ARRIVED_EARLIER if claim.may_have_arrived else "")
    return Finished(claim, _attempt(claim, outcome, now, 0.0, error, reached_provider=False))


def cut_off(
    claim: ClaimT, started_at: dt.datetime, duration: float, campaign_version: int | None = None
) -> Finished[ClaimT]:
    """Return what to record for an attempt that a shutdown cut off. The message is due again at once."""
    attempt = _attempt(
        claim, AttemptOutcome.LOST, started_at, duration, CUT_OFF, campaign_version=campaign_version
    )
    return Finished(claim, attempt, 0.0)


def conclude(
    claim: ClaimT,
    plan: SendPlan,
    result: SendResult,
    *,
    jitter: float,
    started_at: dt.datetime,
    duration: float,
) -> Finished[ClaimT]:
    """Turn the result of a send into what is recorded: delivered, to be retried (and when), or given up.

    Args:
        claim: What was sent.
        plan: How it was sent.
        result: The result of the send.
        jitter: A random number, 0 ≤ jitter < 1.
        started_at: When the attempt started.
        duration: The duration of the attempt in seconds.
    """
    version = plan.campaign_version
    if result.verdict is Verdict.SENT:
        attempt = _attempt(
            claim,
            AttemptOutcome.DELIVERED,
            started_at,
            duration,
            message_id=result.message_id,
            campaign_version=version,
        )
        return Finished(claim, attempt, reply=result.reply)
    now = started_at + dt.timedelta(seconds=duration)
    delay, too_late = _next_attempt(claim, plan, result, jitter, now)
    error = scrub(result.error, plan.address)
    refusal = error if result.verdict is Verdict.RECIPIENT_REFUSED else ""
    outcome = _given_up(result.verdict) if delay is None else AttemptOutcome.RETRY
    if result.verdict is Verdict.IN_DOUBT:
        outcome, error = AttemptOutcome.IN_DOUBT, error + ARRIVED
    elif delay is None and claim.may_have_arrived:
        error += ARRIVED_EARLIER
    attempt = _attempt(
        claim,
        outcome,
        started_at,
        duration,
        error + too_late,
        campaign_version=version,
        reached_provider=result.reached_provider,
    )
    return Finished(claim, attempt, delay, refusal, result.reply)


def _next_attempt(
    claim: Leased, plan: SendPlan, result: SendResult, jitter: float, now: dt.datetime
) -> tuple[float | None, str]:
    """Return the seconds until the next attempt, or None, and a note if only the expiry prevents it."""
    policy = plan.policy
    if result.verdict.blames_provider:
        policy = structs.replace(policy, max_attempts=policy.max_attempts + plan.spare_attempts)
    result, policy = if_in_doubt(result, claim.doubts, policy, plan.in_doubt)
    time_left = (plan.expires_at - now).total_seconds() if plan.expires_at else math.inf
    delay = decide(result, claim.tries, policy, jitter, time_left)
    if delay is None and decide(result, claim.tries, policy, jitter) is not None:
        return None, "; its time to live ends before the next attempt"
    return delay, ""


def _given_up(verdict: Verdict) -> AttemptOutcome:
    return AttemptOutcome.SUPPRESSED if verdict is Verdict.OPTED_OUT else AttemptOutcome.DEAD


def _attempt(
    claim: Leased,
    outcome: AttemptOutcome,
    started_at: dt.datetime,
    duration: float,
    error: str = "",
    *,
    message_id: str = "",
    campaign_version: int | None = None,
    reached_provider: bool = True,
) -> Attempt:
    return Attempt(
        claim.attempt,
        claim.provider,
        outcome,
        started_at,
        duration,
        message_id,
        error,
        campaign_version,
        reached_provider,
    )
