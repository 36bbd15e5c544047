"""The dispatcher's figures, in Prometheus' form."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

from prometheus_client import Counter, Gauge, Histogram

from ..domain.campaign import Channel
from ..domain.delivery import Attempt
from ..errors import StoreUnavailable
from .circuit_breaker import BreakerState

__all__ = [
    "Look",
    "attempted",
    "buried",
    "report",
    "report_webhooks",
    "webhook_attempted",
    "webhooks_expired",
]

Look = Callable[[], Awaitable[tuple[Mapping[Channel, float], int]]]
"""Tells the age in seconds of each channel's oldest due trigger, and how many dead letters there are."""
EVERY = 10.0

_ATTEMPTS = Counter(
    "clarion_attempts",
    "Attempts by how they ended; `dead` are new dead letters.",
    ["channel", "provider", "outcome"],
)
_SECONDS = Histogram(
    "clarion_attempt_seconds",
    "How long attempts took.",
    ["channel", "provider"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_EXPIRED = Counter("clarion_expired", "Dead letters whose time to live ended while they waited.")
_BREAKER = Gauge(
    "clarion_breaker_open",
    "Whether a provider's breaker is open (1), half-open (0.5), closed (0).",
    ["provider"],
)
_OLDEST = Gauge("clarion_oldest_due_seconds", "For how long the oldest due trigger has waited.", ["channel"])
_DEAD = Gauge("clarion_dead_letters", "Dead letters there are.")
_WEBHOOK_ATTEMPTS = Counter(
    "clarion_webhook_attempts", "Attempts of messages to webhooks by how they ended.", ["outcome"]
)
_WEBHOOK_SECONDS = Histogram(
    "clarion_webhook_attempt_seconds",
    "How long attempts of messages to webhooks took.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_WEBHOOKS_EXPIRED = Counter("clarion_webhooks_expired", "Messages to webhooks given up while they waited.")
_WEBHOOKS_WAITING = Gauge("clarion_webhooks_waiting", "Messages to webhooks that wait, due or not.")

_LEVELS = {BreakerState.CLOSED: 0.0, BreakerState.HALF_OPEN: 0.5, BreakerState.OPEN: 1.0}


def attempted(channel: Channel, attempt: Attempt) -> None:
    """Count an attempt."""
    _ATTEMPTS.labels(channel.value, attempt.provider, attempt.outcome.value).inc()
    _SECONDS.labels(channel.value, attempt.provider).observe(attempt.duration)


def buried(count: int) -> None:
    """Count what expired while it waited."""
    _EXPIRED.inc(count)


def webhook_attempted(attempt: Attempt) -> None:
    """Count an attempt of a message to an endpoint."""
    _WEBHOOK_ATTEMPTS.labels(attempt.outcome.value).inc()
    _WEBHOOK_SECONDS.observe(attempt.duration)


def webhooks_expired(count: int) -> None:
    """Count messages to endpoints that were given up while they waited."""
    _WEBHOOKS_EXPIRED.inc(count)


async def report_webhooks(waiting: Callable[[], Awaitable[int]]) -> None:
    """Keep the figure of waiting messages up to date until cancelled."""
    while True:
        with contextlib.suppress(StoreUnavailable):  # the dispatcher itself tells
            _WEBHOOKS_WAITING.set(await waiting())
        await asyncio.sleep(EVERY)


async def report(look: Look, breakers: Callable[[], Mapping[str, BreakerState]]) -> None:
    """Keep the figures of the backlog and of the breakers up to date until cancelled."""
    while True:
        for provider, state in breakers().items():
            _BREAKER.labels(provider).set(_LEVELS[state])
        with contextlib.suppress(StoreUnavailable):  # the dispatcher itself tells
            oldest, dead = await look()
            for channel in Channel:
                _OLDEST.labels(channel.value).set(oldest.get(channel, 0.0))
            _DEAD.set(dead)
        await asyncio.sleep(EVERY)
