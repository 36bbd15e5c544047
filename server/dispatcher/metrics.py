"""The dispatcher's Prometheus metrics."""

from __future__ import annotations

import datetime as dt
import functools
import math
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog
from prometheus_client import Counter, Histogram

from ..domain.campaign import Channel
from ..domain.clock import SYSTEM_CLOCK, Clock
from ..domain.delivery import Attempt, AttemptOutcome
from ..domain.figures import DatabaseFigures, QueueFigures, QueueState
from ..domain.trigger import Trigger
from ..errors import StoreUnavailable
from ..metrics import counter, gauge, histogram
from .circuit_breaker import BreakerState
from .redact import safe_traceback

__all__ = [
    "FigureReader",
    "attempted",
    "expired",
    "report",
    "suppressed",
    "watch_disk",
    "watch_receivers",
    "watch_suppression",
    "webhook_attempted",
    "webhooks_expired",
]

FigureReader = Callable[[], Awaitable[tuple[QueueFigures, DatabaseFigures]]]
"""Reads the figures of the queue and of the database."""
log = structlog.get_logger(__name__)

INTERVAL = 10.0
"""Seconds between updates of the gauges."""

_ATTEMPTS = counter(
    "clarion_attempts",
    "Attempts by outcome; `dead` counts new dead letters.",
    ["channel", "provider", "outcome"],
)
_SECONDS = histogram(
    "clarion_attempt_seconds",
    "Duration of attempts.",
    ["channel", "provider"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_SENT = histogram(
    "clarion_accepted_to_sent_seconds",
    "Time from acceptance, or from send_at, until the provider accepted the message, with waits and retries.",
    ["channel", "provider"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400),
)
_OF_CAMPAIGNS = counter(
    "clarion_campaign_attempts",
    "Attempts by campaign, if dispatch.metrics_by_campaign is set.",
    ["project", "campaign", "outcome"],
)
_EXPIRED = counter("clarion_expired", "Triggers that became dead letters because they expired in the queue.")
_BREAKER = gauge(
    "clarion_breaker_open",
    "State of a provider's breaker: open (1), half-open (0.5), closed (0).",
    ["provider"],
)
_SUPPRESSIONS = counter("clarion_suppressions", "Recipients that were suppressed.", ["provider"])
_WITHHELD = counter(
    "clarion_suppressions_withheld",
    "Refused recipients that were not suppressed, because the provider refused too many.",
    ["provider"],
)
_PAUSED = gauge(
    "clarion_suppression_paused",
    "Whether no recipient is suppressed, because the provider refuses too many (1).",
    ["provider"],
)
_OLDEST = gauge("clarion_oldest_due_seconds", "Seconds since the oldest due trigger became due.", ["channel"])
_QUEUED = gauge(
    "clarion_queued_triggers",
    "Queued triggers that are due, due later, or being sent; at most 100,000 of each lane are counted.",
    ["channel", "state"],
)
_HELD = gauge("clarion_sending_held", "Whether all sending is held (1), such as after a restore.")
_DEAD = gauge("clarion_dead_letters", "Number of dead letters.")
_DEAD.set(math.nan)  # until it is known: after a 0, all dead letters would look new
_WEBHOOK_ATTEMPTS = counter(
    "clarion_webhook_attempts", "Attempts to send webhook messages by outcome.", ["outcome"]
)
_WEBHOOK_SECONDS = histogram(
    "clarion_webhook_attempt_seconds",
    "Duration of attempts to send webhook messages.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_WEBHOOKS_EXPIRED = counter("clarion_webhooks_expired", "Webhook messages that expired in the queue.")
_RECEIVERS_FAILING = gauge(
    "clarion_webhook_receivers_failing", "Webhook endpoints whose circuit breaker is open or half-open."
)
_WEBHOOKS_WAITING = gauge("clarion_webhooks_waiting", "Queued webhook messages, due or not.")

_REACHABLE = gauge("clarion_database_reachable", "Whether the last figures could be read (1) or not (0).")
_CONNECTIONS = gauge(
    "clarion_database_connections", "Connections to the database cluster, those of other programs included."
)
_MAX_CONNECTIONS = gauge("clarion_database_max_connections", "Connections that the database cluster allows.")
_SIZE = gauge("clarion_database_size_bytes", "Size of the database on disk.")
_WAL = gauge(
    "clarion_database_wal_position_bytes", "Position in the write-ahead log; its rate is what is written."
)
_TRANSACTION = gauge(
    "clarion_database_oldest_transaction_seconds", "Seconds since the oldest open transaction began."
)
_ROWS = gauge(
    "clarion_database_rows",
    "PostgreSQL's estimate of a queue's rows; dead ones wait for vacuum.",
    ["table", "state"],
)
_DISK_FREE = gauge("clarion_data_disk_free_bytes", "Free space on the disk of the data folder.")
_DISK_SIZE = gauge("clarion_data_disk_size_bytes", "Size of the disk of the data folder.")

_MEDIAN = gauge(
    "clarion_provider_median_seconds",
    "Median duration of the sends that are in progress or ended within 30 seconds; 0 if there are none.",
    ["provider"],
)
_CROWDING = gauge(
    "clarion_crowding_share",
    "Share of the due triggers that a project has, if it delays those of other projects.",
    ["channel", "project"],
)

_LEVELS = {BreakerState.CLOSED: 0.0, BreakerState.HALF_OPEN: 0.5, BreakerState.OPEN: 1.0}


@functools.cache  # a look-up by labels takes longer than to count
def _attempts_of(channel: Channel, provider: str, outcome: AttemptOutcome) -> Counter:
    return _ATTEMPTS.labels(channel.value, provider, outcome.value)


@functools.cache
def _seconds_of(channel: Channel, provider: str) -> Histogram:
    return _SECONDS.labels(channel.value, provider)


@functools.cache
def _sent_of(channel: Channel, provider: str) -> Histogram:
    return _SENT.labels(channel.value, provider)


def attempted(trigger: Trigger, attempt: Attempt, *, by_campaign: bool = False) -> None:
    """Count an attempt, without a provider if it ended before the provider was called.

    Args:
        trigger: What was sent.
        attempt: The attempt.
        by_campaign: Whether to count it by campaign, too.
    """
    provider = attempt.provider if attempt.reached_provider else ""
    _attempts_of(trigger.channel, provider, attempt.outcome).inc()
    _seconds_of(trigger.channel, provider).observe(attempt.duration)
    begun = trigger.send_at or trigger.accepted_at
    if begun and attempt.outcome is AttemptOutcome.DELIVERED:
        sent = attempt.started_at + dt.timedelta(seconds=attempt.duration)
        seconds = max(0.0, (sent - begun).total_seconds())  # the clocks of machines may differ
        _sent_of(trigger.channel, provider).observe(seconds)
    if by_campaign:
        _OF_CAMPAIGNS.labels(str(trigger.project_id), str(trigger.campaign_id), attempt.outcome.value).inc()


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


def watch_receivers(breakers: Callable[[], Mapping[str, BreakerState]]) -> None:
    """Report how many webhook endpoints fail, whenever the metrics are read."""
    _RECEIVERS_FAILING.set_function(
        lambda: sum(state is not BreakerState.CLOSED for state in breakers().values())
    )


def watch_disk(folder: Path) -> None:
    """Report the space on the disk of a folder, or of its nearest parent that exists, whenever it is read."""
    _DISK_FREE.set_function(lambda: _disk(folder)[1])
    _DISK_SIZE.set_function(lambda: _disk(folder)[0])


def _disk(folder: Path) -> tuple[float, float]:
    """Return the size of the disk and its free space, in bytes."""
    for found in (folder, *folder.absolute().parents):
        try:
            usage = shutil.disk_usage(found)
        except FileNotFoundError:
            continue
        except OSError:
            break
        return float(usage.total), float(usage.free)
    return math.nan, math.nan


async def report(
    read_figures: FigureReader,
    breakers: Callable[[], Mapping[str, BreakerState]],
    medians: Callable[[], Mapping[str, float]],
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Update the gauges of the queue, the database and the breakers until cancelled.

    Args:
        read_figures: Reads the figures from the store.
        breakers: Returns the state of each provider's breaker.
        medians: Returns the median duration of each provider's sends, in seconds.
        clock: Measures the interval.
    """
    while True:
        for provider, state in breakers().items():
            _BREAKER.labels(provider).set(_LEVELS[state])
        for provider, seconds in medians().items():
            _MEDIAN.labels(provider).set(seconds)
        try:
            queue, database = await read_figures()
        except Exception as error:  # metrics must not stop the dispatcher
            _REACHABLE.set(0)
            if not isinstance(error, StoreUnavailable):  # which the dispatcher logs
                log.warning("figures not read", exception=safe_traceback(error))
        else:
            _REACHABLE.set(1)
            _report_queue(queue)
            _report_database(database)
        await clock.sleep(INTERVAL)


def _report_queue(figures: QueueFigures) -> None:
    for channel in Channel:
        _OLDEST.labels(channel.value).set(figures.oldest_due.get(channel, 0.0))
        for state in QueueState:
            _QUEUED.labels(channel.value, state.value).set(figures.queued.get((channel, state), 0))
    _CROWDING.clear()  # a project that no longer delays others has no series
    for crowd in figures.crowds:
        _CROWDING.labels(crowd.channel.value, crowd.project).set(crowd.share)
    _HELD.set(figures.held)
    _DEAD.set(figures.dead_letters)
    _WEBHOOKS_WAITING.set(figures.webhooks_waiting)


def _report_database(figures: DatabaseFigures) -> None:
    _CONNECTIONS.set(figures.connections)
    _MAX_CONNECTIONS.set(figures.max_connections)
    _SIZE.set(figures.size)
    _WAL.set(figures.wal)
    _TRANSACTION.set(figures.oldest_transaction)
    for name, rows in figures.rows.items():
        _ROWS.labels(name, "live").set(rows.live)
        _ROWS.labels(name, "dead").set(rows.dead)
