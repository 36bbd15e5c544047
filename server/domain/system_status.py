"""The state of the whole system."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from .campaign import TEST_PROVIDER
from .figures import Crowd, DatabaseFigures
from .sending_hold import SendingHold
from .shorter_retention import ShorterRetention
from .waiting import DispatcherReport, Hold

__all__ = [
    "ChannelStatus",
    "DeadLetters",
    "Disk",
    "Process",
    "ProviderSummary",
    "Replication",
    "SystemStatus",
    "WebhookSummary",
    "provider_summaries",
]


@dataclass(frozen=True, slots=True)
class Process:
    """A server or a dispatcher. Older versions of Clarion report only its role.

    Attributes:
        id: Identifies it until it ends.
        role: `server` or `dispatcher`.
        version: Its version.
        host: Its machine.
        started_at: When it started, by the database's clock.
        seen_at: When it last reported, by the database's clock.
        clock_offset: Seconds by which its clock is ahead of the database's; None if it is not known.
        write_seconds: How long its last report took; None if it is not known.
    """

    id: str
    role: str
    version: str
    host: str
    started_at: dt.datetime
    seen_at: dt.datetime
    clock_offset: float | None = None
    write_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """The queue of one channel, without tests.

    Attributes:
        channel: The channel.
        due: Triggers that are due; an upper bound limits each number.
        later: Triggers that are due later.
        sending: Triggers that are being sent.
        oldest_due: Seconds since the oldest due trigger became due.
        why: What the due triggers wait for.
    """

    channel: str
    due: int
    later: int
    sending: int
    oldest_due: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class ProviderSummary:
    """A provider in all dispatchers.

    Attributes:
        name: Its name.
        dispatchers: The number of dispatchers that have it.
        error: Its last failure, if a breaker is open.
        breaker_open: Whether a dispatcher's breaker is open.
        suppression_paused: Whether a dispatcher has paused suppression.
        seconds: The median duration of a send, of the slowest dispatcher; 0 if nothing was sent lately.
    """

    name: str
    dispatchers: int
    breaker_open: bool
    error: str
    suppression_paused: bool
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Recent dead letters with the same error, but for its digits.

    Attributes:
        error: The error, with digits replaced.
        count: How many there are.
        last_at: When the last one died.
        campaign_id: The campaign of the last one; 0 if it is not known.
        project: The name of its project.
    """

    error: str
    count: int
    last_at: dt.datetime
    campaign_id: int
    project: str


@dataclass(frozen=True, slots=True)
class WebhookSummary:
    """An endpoint whose messages fail.

    Attributes:
        id: Its ID.
        project: The name of its project.
        waiting: How many messages wait for it; an upper bound limits the number.
        error: The error of a failed attempt.
    """

    id: str
    project: str
    waiting: int
    error: str


@dataclass(frozen=True, slots=True)
class Replication:
    """The replicas that are connected, and whether commits wait for one."""

    replicas: int
    is_synchronous: bool


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk of the data folder of the process that answers, in bytes."""

    size: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemStatus:
    """Everything that `clarion status` shows; `now` is the database's time."""

    now: dt.datetime
    processes: Sequence[Process]
    schema_version: str
    schema_needed: str
    missing_indexes: Sequence[str]
    channels: Sequence[ChannelStatus]
    providers: Sequence[ProviderSummary]
    dead_letters: int
    dead_letters_last_hour: int
    dead_letter_errors: Sequence[DeadLetters]
    database: DatabaseFigures
    replication: Replication
    disk: Disk | None = None
    crowds: Sequence[Crowd] = ()
    failing_webhooks: Sequence[WebhookSummary] = ()
    held: SendingHold | None = None
    shorter_retentions: Sequence[ShorterRetention] = ()


def provider_summaries(reports: Sequence[DispatcherReport]) -> list[ProviderSummary]:
    """Return the providers of all dispatchers by name."""
    names = {name for report in reports for name in report.providers or {}} - {TEST_PROVIDER}
    found = []
    for name in sorted(names):
        statuses = [one.providers[name] for one in reports if one.providers and name in one.providers]
        broken = [status for status in statuses if status.hold is Hold.BREAKER]
        paused = any(status.suppression_paused for status in statuses)
        error = broken[0].error if broken else ""
        slowest = max(status.seconds for status in statuses)
        found.append(ProviderSummary(name, len(statuses), bool(broken), error, paused, slowest))
    return found
