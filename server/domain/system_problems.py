"""What is wrong with the whole system, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .system_status import Process, SystemStatus

__all__ = ["Problem", "problems_of"]

RUNNING_SECONDS = 10.0
"""A process that was not seen for so long hangs or was killed; see store/presence.py."""
LATE_SECONDS = 300.0
CROWDED_SECONDS = 30.0
"""If messages wait for less, the project that sends the most delays no other."""
SLOW_PROVIDER_SECONDS = 5.0
SLOW_WRITE_SECONDS = 0.5
CLOCK_SECONDS = 5.0
"""Clocks that differ by less do no harm: receivers of webhooks accept signatures that are 5 minutes old."""
LONG_TRANSACTION_SECONDS = 900.0
MOST_DEAD = 10
"""Dead letters in an hour that are normal."""
LEAST_FREE = 0.1
MOST_CONNECTIONS = 0.9
_HOUR = 3600.0


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


def problems_of(status: SystemStatus) -> list[Problem]:
    """Return everything that is wrong, the most urgent first."""
    return [
        *_of_hold(status),
        *_of_processes(status),
        *_of_database(status),
        *_of_retention(status),
        *_of_providers(status),
        *(_of_channels(status) if not status.held else ()),
        *_of_dead_letters(status),
        *_of_webhooks(status),
        *_of_clocks(status),
    ]


def _of_hold(status: SystemStatus) -> Iterator[Problem]:
    if status.held:
        yield Problem(
            str(status.held),
            "cancel what must not be sent (`clarion deliveries cancel`), then run `clarion release`",
            "ClarionSendingHeld",
        )


def _of_retention(status: SystemStatus) -> Iterator[Problem]:
    for one in status.shorter_retentions:
        yield Problem(str(one), one.action, "ClarionRetentionStuck")


def _of_processes(status: SystemStatus) -> Iterator[Problem]:
    for role, runbook in (("server", "ClarionServerAbsent"), ("dispatcher", "ClarionDispatcherAbsent")):
        found = [one for one in status.processes if one.role == role]
        lost = [one for one in found if _silence(status, one) > RUNNING_SECONDS]
        if len(lost) == len(found):
            yield Problem(f"no {role} is running", f"start one, or read the log of the {role}", runbook)
        elif unreplaced := _unreplaced(lost, found):
            one = unreplaced[0]
            which = f"a {role} on {one.host}" if one.host else f"a {role}"
            others = f" (and {len(unreplaced) - 1} more)" if len(unreplaced) > 1 else ""
            yield Problem(
                f"{which} hangs or was killed: it last reported {_silence(status, one):.0f} s ago{others}",
                "find its process on that machine; if it still exists, kill it, and start another one",
                "ClarionProcessDown",
            )


def _silence(status: SystemStatus, one: Process) -> float:
    return (status.now - one.seen_at).total_seconds()


def _unreplaced(lost: Sequence[Process], processes: Sequence[Process]) -> list[Process]:
    """Return the lost processes, without one for each process that started later."""
    if not lost:
        return []
    first = min(one.seen_at for one in lost)
    newer = sum(one not in lost and one.started_at > first for one in processes)
    return sorted(lost, key=lambda one: one.seen_at)[newer:]


def _of_channels(status: SystemStatus) -> Iterator[Problem]:
    waits = {one.channel: one.oldest_due for one in status.channels}
    for crowd in status.crowds:
        if (seconds := waits.get(crowd.channel, 0.0)) > CROWDED_SECONDS:
            yield Problem(
                f"project {crowd.project} delays others: it has {crowd.share:.0%} of the due {crowd.channel}"
                f" messages, and those of {_names(crowd.behind)} wait behind them, for up to {seconds:.0f} s",
                f"run `clarion projects limit {crowd.project} --rate …`, or pause its campaign",
                "ClarionProjectCrowds",
            )
    for one in status.channels:
        if one.oldest_due > LATE_SECONDS:
            why = f": {one.why}" if one.why else ""
            yield Problem(
                f"the oldest due {one.channel} message has waited for {one.oldest_due:.0f} s{why}",
                "run `clarion deliveries backlog` and `clarion providers`",
                "ClarionOldestDue",
            )


def _names(projects: Sequence[str]) -> str:
    first = ", ".join(projects[:3])
    return f"{first} and {len(projects) - 3} more" if len(projects) > 3 else first  # noqa: PLR2004 - shown


def _of_providers(status: SystemStatus) -> Iterator[Problem]:
    for one in status.providers:
        if one.breaker_open:
            yield Problem(
                f"the circuit breaker of {one.name} is open: {one.error}",
                "correct the provider's settings, or wait until the provider works again",
                "ClarionBreakerOpen",
            )
        elif one.seconds > SLOW_PROVIDER_SECONDS:
            yield Problem(
                f"the provider {one.name} is slow: half of the sends take longer than {one.seconds:.0f} s",
                "read the provider's status page; if messages must not wait, add a second one to campaigns",
                "ClarionProviderSlow",
            )
        if one.suppression_paused:
            yield Problem(
                f"{one.name} refuses too many recipients, so none is suppressed",
                "run `clarion deliveries groups` and read the provider's replies",
                "ClarionSuppressionPaused",
            )


def _of_dead_letters(status: SystemStatus) -> Iterator[Problem]:
    if status.dead_letters_last_hour > MOST_DEAD:
        recent = [
            one for one in status.dead_letter_errors if (status.now - one.last_at).total_seconds() < _HOUR
        ]
        why = ""
        if recent:
            first = recent[0]
            campaign = f" (campaign {first.campaign_id} of {first.project})" if first.project else ""
            why = f", most often with the error: {first.error}{campaign}"
        yield Problem(
            f"{status.dead_letters_last_hour} messages became dead letters in the last hour{why}",
            "run `clarion deliveries groups`; correct the cause, then `clarion deliveries retry`",
            "ClarionDeadLettersGrowing",
        )


def _of_webhooks(status: SystemStatus) -> Iterator[Problem]:
    for one in status.failing_webhooks:
        yield Problem(
            f"the webhook receiver {one.id} of project {one.project} fails, and {one.waiting} messages wait:"
            f" {one.error}",
            f"run `clarion webhooks log --failed {one.id}`, and inform the owner of the receiver",
            "ClarionWebhooksFailing",
        )


def _of_clocks(status: SystemStatus) -> Iterator[Problem]:
    for one in status.processes:
        offset = one.clock_offset or 0.0
        if abs(offset) > CLOCK_SECONDS and _silence(status, one) <= RUNNING_SECONDS:
            direction = "ahead of" if offset > 0 else "behind"
            yield Problem(
                f"the clock of a {one.role} on {one.host} is {abs(offset):.0f} s {direction} the database's",
                "set the clocks of both machines by NTP",
                "ClarionClockSkew",
            )


def _of_database(status: SystemStatus) -> Iterator[Problem]:
    yield from _of_capacity(status)
    found = status.database
    if status.missing_indexes or status.schema_version < status.schema_needed:
        missing = ", ".join(status.missing_indexes) or f"migrations up to {status.schema_needed}"
        yield Problem(f"the database lacks {missing}", "run `clarion migrate`", "ClarionMigrationPending")
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


def _of_capacity(status: SystemStatus) -> Iterator[Problem]:
    """Return the problems of disk, speed and connections."""
    if status.disk and status.disk.free < LEAST_FREE * status.disk.size:
        share = status.disk.free / status.disk.size
        yield Problem(
            f"only {share:.0%} of the disk of the data folder is free",
            "find what grows, and delete or move it; never delete files of the database",
            "ClarionDiskNearlyFull",
        )
    writes = [one for one in status.processes if _silence(status, one) <= RUNNING_SECONDS]
    slowest = max(writes, key=lambda one: one.write_seconds or 0.0, default=None)
    if slowest and (slowest.write_seconds or 0.0) > SLOW_WRITE_SECONDS:
        yield Problem(
            f"the database is slow: a write by a {slowest.role} on {slowest.host} takes"
            f" {slowest.write_seconds:.1f} s",
            "look at the load and the disk of the database's machine, and at the network to it",
            "ClarionDatabaseSlow",
        )
    found = status.database
    if found.connections > MOST_CONNECTIONS * found.max_connections:
        yield Problem(
            f"{found.connections} of {found.max_connections} connections to the database are in use",
            "raise max_connections, or lower `[database] pool_size`",
            "ClarionConnectionsNearlyUsed",
        )
