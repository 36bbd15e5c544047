"""What follows an attempt: done, another try, or the dead letters. Pure."""

from __future__ import annotations

import datetime as dt
import math

from ..domain.campaign import RetryPolicy
from ..domain.delivery import Attempt, AttemptOutcome, Claim, Finished
from ..errors import DeliveryError, Transient
from .providers.base import Receipt
from .scrub import scrub

__all__ = ["conclude", "decide"]

MAX_RETRY_AFTER = 86_400.0
"""Seconds; a provider that asks for longer is asked again after a day."""


def decide(error: DeliveryError, attempt: int, policy: RetryPolicy, jitter: float) -> float | None:
    """Return the seconds until the next attempt, or None to give up.

    Exponential backoff with full jitter
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). The provider's
    own `retry_after` is the least that is waited.

    Args:
        error: Why the attempt failed. Only `Transient` errors are worth another try.
        attempt: The number of the attempt that failed, from 1.
        policy: The campaign's policy.
        jitter: A random number, 0 ≤ jitter < 1.
    """
    if not isinstance(error, Transient) or attempt >= policy.max_attempts:
        return None
    delay = jitter * _ceiling(attempt, policy)
    return max(delay, min(error.retry_after or 0.0, MAX_RETRY_AFTER))


def _ceiling(attempt: int, policy: RetryPolicy) -> float:
    """Return the longest delay after this attempt, in seconds."""
    try:
        grown = policy.first_delay * policy.factor ** (attempt - 1)
    except OverflowError:
        grown = math.inf
    return min(grown, policy.max_delay)


def conclude(
    claim: Claim,
    result: Receipt | DeliveryError,
    policy: RetryPolicy,
    *,
    jitter: float,
    started_at: dt.datetime,
    duration: float,
) -> Finished:
    """Turn what came of a claim into what is recorded: done, retry (with its delay) or dead."""
    delay, message_id, error = None, "", ""
    if isinstance(result, Receipt):
        outcome = AttemptOutcome.DELIVERED
        message_id = result.provider_message_id
    else:
        delay = decide(result, claim.attempt, policy, jitter)
        outcome = AttemptOutcome.DEAD if delay is None else AttemptOutcome.RETRY
        error = scrub(str(result), claim.trigger.address)
    attempt = Attempt(claim.attempt, claim.provider, outcome, started_at, duration, message_id, error)
    return Finished(claim, attempt, delay)
