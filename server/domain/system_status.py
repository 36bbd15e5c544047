"""The state of the whole system, and what is wrong with it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .campaign import TEST_PROVIDER
from .figures import DatabaseFigures
from .waiting import DispatcherReport, Hold

__all__ = [
    "ChannelStatus",
    "DeadLetters",
    "Disk",
    "Problem",
    "Process",
    "ProviderSummary",
    "Replication",
    "SystemStatus",
    "problems_of",
    "provider_summaries",
]

RUNNING_SECONDS = 10.0
"""A process that was not seen for so long may have been killed; see store/presence.py."""
LATE_SECONDS = 300.0
LONG_TRANSACTION_SECONDS = 900.0
MOST_DEAD = 10
"""Dead letters in an hour that are normal."""
LEAST_FREE = 0.1
MOST_CONNECTIONS = 0.9


@dataclass(frozen=True, slots=True)
class Process:
    """A server or a dispatcher. Older versions of Clarion report neither version nor host."""

    id: str
    role: str
    version: str
    host: str
    seen_at: dt.datetime


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
    """

    name: str
    dispatchers: int
    breaker_open: bool
    error: str
    suppression_paused: bool


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Recent dead letters with the same error, but for its digits."""

    error: str
    count: int
    last_at: dt.datetime


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


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and what to do about it.

    Attributes:
        text: What is wrong.
        action: What to do, in the imperative.
        runbook: The name of the page in docs/runbooks.
    """

    text: str
    action: str
    runbook: str


def provider_summaries(reports: Sequence[DispatcherReport]) -> list[ProviderSummary]:
    """Return the providers of all dispatchers by name."""
    names = {name for report in reports for name in report.providers or {}} - {TEST_PROVIDER}
    found = []
    for name in sorted(names):
        statuses = [one.providers[name] for one in reports if one.providers and name in one.providers]
        broken = [status for status in statuses if status.hold is Hold.BREAKER]
        paused = any(status.suppression_paused for status in statuses)
        error = broken[0].error if broken else ""
        found.append(ProviderSummary(name, len(statuses), bool(broken), error, paused))
    return found


def problems_of(status: SystemStatus) -> list[Problem]:
    """Return everything that is wrong, the most urgent first."""
    return [
        *_of_processes(status),
        *_of_channels(status),
        *_of_providers(status),
        *_of_dead_letters(status),
        *_of_database(status),
    ]


def _of_processes(status: SystemStatus) -> Iterator[Problem]:
    for role, runbook in (("server", "ClarionServerAbsent"), ("dispatcher", "ClarionDispatcherAbsent")):
        ages = [(status.now - one.seen_at).total_seconds() for one in status.processes if one.role == role]
        if all(age > RUNNING_SECONDS for age in ages):
            yield Problem(f"no {role} is running", f"start one, or read the log of the {role}", runbook)
        elif lost := [age for age in ages if age > RUNNING_SECONDS]:
            yield Problem(
                f"{len(lost)} of {len(ages)} {role}s were last seen {max(lost):.0f} s ago",
                "find out whether they were killed or hang; one that is stopped leaves the list",
                "ClarionProcessDown",
            )


def _of_channels(status: SystemStatus) -> Iterator[Problem]:
    for one in status.channels:
        if one.oldest_due > LATE_SECONDS:
            why = f": {one.why}" if one.why else ""
            yield Problem(
                f"the oldest due {one.channel} message has waited for {one.oldest_due:.0f} s{why}",
                "run `clarion deliveries backlog` and `clarion providers`",
                "ClarionOldestDue",
            )


def _of_providers(status: SystemStatus) -> Iterator[Problem]:
    for one in status.providers:
        if one.breaker_open:
            yield Problem(
                f"the circuit breaker of {one.name} is open: {one.error}",
                "correct the provider's settings, or wait until the provider works again",
                "ClarionBreakerOpen",
            )
        if one.suppression_paused:
            yield Problem(
                f"{one.name} refuses too many recipients, so none is suppressed",
                "run `clarion deliveries errors` and read the provider's replies",
                "ClarionSuppressionPaused",
            )


def _of_dead_letters(status: SystemStatus) -> Iterator[Problem]:
    if status.dead_letters_last_hour > MOST_DEAD:
        yield Problem(
            f"{status.dead_letters_last_hour} messages became dead letters in the last hour",
            "run `clarion deliveries errors`; correct the cause, then `clarion deliveries retry`",
            "ClarionDeadLettersGrowing",
        )


def _of_database(status: SystemStatus) -> Iterator[Problem]:
    found = status.database
    if status.missing_indexes or status.schema_version < status.schema_needed:
        missing = ", ".join(status.missing_indexes) or f"migrations up to {status.schema_needed}"
        yield Problem(f"the database lacks {missing}", "run `clarion migrate`", "ClarionMigrationPending")
    if found.connections > MOST_CONNECTIONS * found.max_connections:
        yield Problem(
            f"{found.connections} of {found.max_connections} connections to the database are in use",
            "raise max_connections, or lower `[database] pool_size`",
            "ClarionConnectionsNearlyUsed",
        )
    if found.oldest_transaction > LONG_TRANSACTION_SECONDS:
        yield Problem(
            f"a transaction has been open for {found.oldest_transaction:.0f} s",
            "find it in pg_stat_activity and end it, unless it is a backup",
            "ClarionLongTransaction",
        )
    if status.replication.is_synchronous and not status.replication.replicas:
        yield Problem(
            "commits wait for a synchronous replica, but none is connected",
            "start a replica, or change synchronous_standby_names",
            "ClarionDatabaseUnreachable",
        )
    if status.disk and status.disk.free < LEAST_FREE * status.disk.size:
        share = status.disk.free / status.disk.size
        yield Problem(
            f"only {share:.0%} of the disk of the data folder is free",
            "find what grows, and delete or move it; never delete files of the database",
            "ClarionDiskNearlyFull",
        )
