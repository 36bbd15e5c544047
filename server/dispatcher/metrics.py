"""The dispatcher's Prometheus metrics."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable, Mapping

from prometheus_client import Counter, Gauge, Histogram

from ..domain.campaign import Channel
from ..domain.clock import SYSTEM_CLOCK, Clock
from ..domain.delivery import Attempt, AttemptOutcome
from ..errors import StoreUnavailable
from .circuit_breaker import BreakerState

__all__ = [
    "BacklogReader",
    "attempted",
    "expired",
    "report",
    "report_webhooks",
    "suppressed",
    "watch_suppression",
    "webhook_attempted",
    "webhooks_expired",
]

BacklogReader = Callable[[], Awaitable[tuple[Mapping[Channel, float], int]]]
"""Returns the age in seconds of each channel's oldest due trigger, and the number of dead letters."""
INTERVAL = 10.0
"""Seconds between updates of the gauges."""

_ATTEMPTS = Counter(
    "clarion_attempts",
    "Attempts by outcome; `dead` counts new dead letters.",
    ["channel", "provider", "outcome"],
)
_SECONDS = Histogram(
    "clarion_attempt_seconds",
    "Duration of attempts.",
    ["channel", "provider"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_EXPIRED = Counter("clarion_expired", "Triggers that became dead letters because they expired in the queue.")
_BREAKER = Gauge(
    "clarion_breaker_open",
    "State of a provider's breaker: open (1), half-open (0.5), closed (0).",
    ["provider"],
)
_SUPPRESSIONS = Counter("clarion_suppressions", "Recipients that were suppressed.", ["provider"])
_WITHHELD = Counter(
    "clarion_suppressions_withheld",
    "Refused recipients that were not suppressed, because the provider refused too many.",
    ["provider"],
)
_PAUSED = Gauge(
    "clarion_suppression_paused",
    "Whether no recipient is suppressed, because the provider refuses too many (1).",
    ["provider"],
)
_OLDEST = Gauge("clarion_oldest_due_seconds", "Seconds since the oldest due trigger became due.", ["channel"])
_DEAD = Gauge("clarion_dead_letters", "Number of dead letters.")
_WEBHOOK_ATTEMPTS = Counter(
    "clarion_webhook_attempts", "Attempts to send webhook messages by outcome.", ["outcome"]
)
_WEBHOOK_SECONDS = Histogram(
    "clarion_webhook_attempt_seconds",
    "Duration of attempts to send webhook messages.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_WEBHOOKS_EXPIRED = Counter("clarion_webhooks_expired", "Webhook messages that expired in the queue.")
_WEBHOOKS_WAITING = Gauge("clarion_webhooks_waiting", "Queued webhook messages, due or not.")

_LEVELS = {BreakerState.CLOSED: 0.0, BreakerState.HALF_OPEN: 0.5, BreakerState.OPEN: 1.0}


@functools.cache  # a look-up by labels takes longer than to count
def _attempts_of(channel: Channel, provider: str, outcome: AttemptOutcome) -> Counter:
    return _ATTEMPTS.labels(channel.value, provider, outcome.value)


@functools.cache
def _seconds_of(channel: Channel, provider: str) -> Histogram:
    return _SECONDS.labels(channel.value, provider)


def attempted(channel: Channel, attempt: Attempt) -> None:
    """Count an attempt, without a provider if it ended before the provider was called."""
    provider = attempt.provider if attempt.reached_provider else ""
    _attempts_of(channel, provider, attempt.outcome).inc()
    _seconds_of(channel, provider).observe(attempt.duration)


def expired(count: int) -> None:
    """Count triggers that expired in the queue."""
    _EXPIRED.inc(count)


def suppressed(provider: str, *, withheld: bool) -> None:
    """Count a refused recipient, who is suppressed unless that is withheld."""
    (_WITHHELD if withheld else _SUPPRESSIONS).labels(provider).inc()


def watch_suppression(provider: str, is_paused: Callable[[], bool]) -> None:
    """Report whether a provider's suppression is paused, whenever the metrics are read."""
    _PAUSED.labels(provider).set_function(lambda: float(is_paused()))


def webhook_attempted(attempt: Attempt) -> None:
    """Count an attempt of a webhook message."""
    _WEBHOOK_ATTEMPTS.labels(attempt.outcome.value).inc()
    _WEBHOOK_SECONDS.observe(attempt.duration)


def webhooks_expired(count: int) -> None:
    """Count webhook messages that expired in the queue."""
    _WEBHOOKS_EXPIRED.inc(count)


async def report_webhooks(waiting: Callable[[], Awaitable[int]], clock: Clock = SYSTEM_CLOCK) -> None:
    """Update the gauge of queued webhook messages until cancelled.

    Args:
        waiting: Returns the number of queued messages.
        clock: Measures the interval.
    """
    while True:
        with contextlib.suppress(StoreUnavailable):  # logged by the dispatcher
            _WEBHOOKS_WAITING.set(await waiting())
        await clock.sleep(INTERVAL)


async def report(
    read_backlog: BacklogReader,
    breakers: Callable[[], Mapping[str, BreakerState]],
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Update the gauges of the backlog and the breakers until cancelled.

    Args:
        read_backlog: Reads the backlog from the store.
        breakers: Returns the state of each provider's breaker.
        clock: Measures the interval.
    """
    while True:
        for provider, state in breakers().items():
            _BREAKER.labels(provider).set(_LEVELS[state])
        with contextlib.suppress(StoreUnavailable):  # logged by the dispatcher
            oldest, dead = await read_backlog()
            for channel in Channel:
                _OLDEST.labels(channel.value).set(oldest.get(channel, 0.0))
            _DEAD.set(dead)
        await clock.sleep(INTERVAL)
