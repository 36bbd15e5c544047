"""What follows an attempt: done, another try, or the dead letters. Pure."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace

from ..domain.campaign import RetryPolicy
from ..domain.delivery import Attempt, AttemptOutcome, Claim, Finished
from ..errors import Verdict
from .ports import SendResult
from .redact import scrub

__all__ = ["CUT_OFF", "EXPIRED", "USED_UP", "conclude", "decide", "expires_at", "lost", "not_sent"]

EXPIRED = "its time to live ended"
"""The error of what was not sent in time."""
USED_UP = "all its attempts are made, and the last one was lost"
CUT_OFF = "cut off by a shutdown: whether the provider took the message is not known"

RETRYABLE = frozenset({Verdict.LATER, Verdict.PROVIDER_DOWN})
MAX_RETRY_AFTER = 86_400.0
"""Seconds; a provider that asks for longer is asked again after a day."""


def decide(
    result: SendResult, tries: int, policy: RetryPolicy, jitter: float, time_left: float = math.inf
) -> float | None:
    """Return the seconds until the next attempt, or None to give up.

    Exponential backoff with full jitter
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). The provider's
    own `retry_after` is the least that is waited.

    Args:
        result: Why the attempt failed.
        tries: The number of the attempt that failed, from 1, since acceptance or the last redrive.
        policy: The campaign's or the provider's policy.
        jitter: A random number, 0 ≤ jitter < 1.
        time_left: Seconds until the trigger expires; an attempt after that would be for nothing.
    """
    if result.verdict not in RETRYABLE or tries >= policy.max_attempts:
        return None
    delay = max(jitter * _ceiling(tries, policy), min(result.retry_after or 0.0, MAX_RETRY_AFTER))
    return delay if delay < time_left else None


def expires_at(claim: Claim, policy: RetryPolicy) -> dt.datetime | None:
    """Return the moment after which the trigger is worth nothing, or None.

    What was promised when it was accepted holds. A redriven trigger has no such moment: it is wanted now.
    """
    if claim.earlier:
        return None
    begins = claim.trigger.send_at or claim.trigger.accepted_at
    if claim.expires_at is None and policy.ttl and begins:
        return begins + dt.timedelta(seconds=policy.ttl)
    return claim.expires_at


def _ceiling(attempt: int, policy: RetryPolicy) -> float:
    """Return the longest delay after this attempt, in seconds."""
    try:
        grown = policy.first_delay * policy.factor ** (attempt - 1)
    except OverflowError:
        grown = math.inf
    return min(grown, policy.max_delay)


def conclude(
    claim: Claim,
    result: SendResult,
    policy: RetryPolicy,
    *,
    jitter: float,
    started_at: dt.datetime,
    duration: float,
) -> Finished:
    """Turn what came of a claim into what is recorded: done, retry (with its delay) or dead."""
    if result.verdict is Verdict.SENT:
        attempt = _attempt(claim, AttemptOutcome.DELIVERED, started_at, duration)
        return Finished(claim, replace(attempt, provider_message_id=result.message_id))
    end, now = expires_at(claim, policy), started_at + dt.timedelta(seconds=duration)
    time_left = (end - now).total_seconds() if end else math.inf
    delay = decide(result, claim.tries, policy, jitter, time_left)
    outcome = AttemptOutcome.DEAD if delay is None else AttemptOutcome.RETRY
    error = scrub(result.words, claim.trigger.address)
    if delay is None and decide(result, claim.tries, policy, jitter) is not None:
        error += f"; {EXPIRED} before another attempt"
    attempt = replace(_attempt(claim, outcome, started_at, duration), error=error)
    refusal = error if result.verdict is Verdict.RECIPIENT_REFUSED else ""
    return Finished(claim, attempt, delay, refusal)


def not_sent(claim: Claim, policy: RetryPolicy, now: dt.datetime) -> Finished | None:
    """Return what to record of a claim for which nothing must be sent, or None if it may be."""
    if claim.suppressed:
        error = f"the recipient is suppressed since a provider refused it: {claim.suppressed}"
        attempt = _attempt(claim, AttemptOutcome.SUPPRESSED, now, 0.0)
        return Finished(claim, replace(attempt, error=scrub(error, claim.trigger.address)))
    if (
        claim.tries > policy.max_attempts
    ):  # the last of them were lost: this message may be what ends dispatchers
        return Finished(claim, replace(_attempt(claim, AttemptOutcome.DEAD, now, 0.0), error=USED_UP))
    end = expires_at(claim, policy)
    if end is not None and now >= end:
        return Finished(claim, replace(_attempt(claim, AttemptOutcome.DEAD, now, 0.0), error=EXPIRED))
    return None


def lost(claim: Claim, started_at: dt.datetime, duration: float) -> Finished:
    """Return what to record of an attempt that a shutdown cut off: it is made again, at once."""
    attempt = replace(_attempt(claim, AttemptOutcome.LOST, started_at, duration), error=CUT_OFF)
    return Finished(claim, attempt, 0.0)


def _attempt(claim: Claim, outcome: AttemptOutcome, started_at: dt.datetime, duration: float) -> Attempt:
    return Attempt(claim.attempt, claim.provider, outcome, started_at, duration)
