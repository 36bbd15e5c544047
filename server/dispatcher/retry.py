"""Decides whether and when to retry a failed attempt. It does no I/O and reads no clock."""

from __future__ import annotations

import datetime as dt
import math

from msgspec import structs

from ..domain.campaign import RetryPolicy
from ..domain.delivery import Claim
from ..domain.delivery_errors import Verdict
from .ports import DoubtPolicy, SendResult

__all__ = ["decide", "expires_at", "if_in_doubt"]

RETRYABLE = frozenset({Verdict.LATER, Verdict.PROVIDER_DOWN, Verdict.IN_DOUBT})
MAX_RETRY_AFTER = 86_400.0
"""Seconds; a provider that asks for a longer wait is tried again after a day."""


def decide(
    result: SendResult, tries: int, policy: RetryPolicy, jitter: float, time_left: float = math.inf
) -> float | None:
    """Return the seconds until the next attempt, or None to give up.

    The delay is exponential backoff with full jitter
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), and at least the
    provider's `retry_after`.

    Args:
        result: Why the attempt failed.
        tries: The number of the failed attempt, from 1, since acceptance or the last redrive.
        policy: The campaign's or the provider's policy.
        jitter: A random number, 0 ≤ jitter < 1.
        time_left: Seconds until the message expires. It is not retried after that.
    """
    if result.verdict not in RETRYABLE or tries >= policy.max_attempts:
        return None
    delay = max(jitter * _ceiling(tries, policy), min(result.retry_after or 0.0, MAX_RETRY_AFTER))
    return delay if delay < time_left else None


def if_in_doubt(
    result: SendResult, doubts: int, policy: RetryPolicy, doubt: DoubtPolicy
) -> tuple[SendResult, RetryPolicy]:
    """Return what `decide` should decide on: for a message in doubt, a longer wait or no more attempts.

    Args:
        result: Why the attempt failed. Unless its verdict is IN_DOUBT, everything is returned as it is.
        doubts: The number of earlier attempts that ended in doubt. A held message is repeated only once.
        policy: The campaign's or the provider's retry policy.
        doubt: The provider's policy for messages in doubt.
    """
    if result.verdict is not Verdict.IN_DOUBT or doubt.action == "repeat":
        return result, policy
    if doubt.action == "give_up" or doubts:
        return result, structs.replace(policy, max_attempts=0)
    return structs.replace(result, retry_after=max(result.retry_after or 0.0, doubt.hold)), policy


def expires_at(claim: Claim, policy: RetryPolicy) -> dt.datetime | None:
    """Return when the trigger expires, or None if it does not.

    An expiry that was set when the trigger was accepted takes precedence over the policy's time to live. A
    trigger that an operator has redriven does not expire.
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
