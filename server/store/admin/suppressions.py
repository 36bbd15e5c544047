"""Suppressions: recipients that a provider rejected for good. Nothing is sent to them any more."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import asyncpg

from ...domain.campaign import Channel
from ..pool import Connection, Pool, reading
from ..sql import load

__all__ = [
    "NO_TRIGGER",
    "REMOVED_AT_ONCE",
    "Position",
    "Removed",
    "Suppression",
    "SuppressionCount",
    "SuppressionFilter",
    "SuppressionPage",
    "add_suppressions",
    "count_stopped",
    "count_suppressions",
    "database_time",
    "list_suppressions",
    "remove_suppressions",
]

_SQL = load("admin/suppressions.sql")
_REMOVE = _SQL["remove"]
REMOVED_AT_ONCE = 1000
NO_TRIGGER = uuid.UUID(int=0)
"""Stands for the trigger of a suppression that an operator added."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """A suppressed recipient of one project."""

    project_id: int
    project: str
    channel: Channel
    address: str
    reason: str
    """The provider's message, or what an operator gave as the reason."""
    provider: str
    """Empty if an operator added it."""
    trigger_id: uuid.UUID
    """The trigger that the provider rejected; NO_TRIGGER if an operator added it."""
    created_at: dt.datetime

    def __repr__(self) -> str:
        """Return the facts without the address, because a repr may be logged."""
        return f"Suppression({self.project}, {self.channel}, trigger {self.trigger_id})"


_SCANNED = 20_000
"""Suppressions that a page or a count looks at: up to 25 ms."""
_FROM_THE_NEWEST = dict.fromkeys(("before", "before_project", "before_channel", "before_address"))
_STOPPED = 2_500
"""Dead letters, and unsent messages, that a count looks at: up to 40 ms."""


@dataclass(frozen=True, slots=True)
class SuppressionFilter:
    """Which suppressions an operation applies to. A field that is None matches all."""

    project: str | None = None
    """The project's name."""
    channel: Channel | None = None
    address: str | None = None
    """In the form in which triggers are stored; the case of its domain does not count."""
    provider: str | None = None
    reason: str | None = None
    """Text that the provider's message contains, in any case."""
    since: dt.datetime | None = None
    """The earliest time of suppression."""
    visible: frozenset[int] | None = None
    """The IDs of the projects to which the operation is restricted."""

    @property
    def only_visible(self) -> int | None:
        """The only project to which the operation is restricted, if it is to one."""
        return next(iter(self.visible)) if self.visible and len(self.visible) == 1 else None

    def arguments(self) -> dict[str, object]:
        """Return the arguments for the fragment `matches`."""
        return {
            "project": self.project,
            "channel": self.channel.value if self.channel else None,
            "address": self.address,
            "provider": self.provider,
            "reason": self.reason,
            "since": self.since,
            "visible": None if self.visible is None else sorted(self.visible),
        }


@dataclass(frozen=True, slots=True)
class SuppressionCount:
    """The number of recipients that a provider rejected for the same reason."""

    project: str
    channel: Channel
    provider: str
    reason: str
    recipients: int
    first_at: dt.datetime
    last_at: dt.datetime


class Position(NamedTuple):
    """The place of a suppression in lists."""

    created_at: dt.datetime
    project_id: int
    channel: str
    address: str

    @classmethod
    def of(cls, one: Suppression) -> Self:
        """Return the place of a suppression."""
        return cls(one.created_at, one.project_id, one.channel.value, one.address)


class SuppressionPage(NamedTuple):
    """A page, and where it ends; None on the last page."""

    rows: Sequence[Suppression]
    end: Position | None


class Removed(NamedTuple):
    """What was removed.

    Attributes:
        suppressions: How many suppressions, by the IDs of their projects.
        retried: The messages that they stopped, which are retried.
    """

    suppressions: Counter[int]
    retried: Sequence[uuid.UUID]


async def list_suppressions(
    pool: Pool, wanted: SuppressionFilter, limit: int, after: Position | None = None
) -> SuppressionPage:
    """Return the newest suppressions that match. A page may be short, or empty, although more pages follow.

    Args:
        pool: The database.
        wanted: Which suppressions.
        limit: The maximum number of suppressions.
        after: Where the page before ended.
    """
    values = {
        **wanted.arguments(),
        "before": after and after.created_at,
        "before_project": after and after.project_id,
        "before_channel": after and after.channel,
        "before_address": after and after.address,
    }
    async with reading(pool) as connection:
        if wanted.address is not None:
            rows = await connection.fetch(*_SQL["list_of_address"](**values, limit=limit + 1))
        else:
            scanning = {**values, "only_visible": wanted.only_visible, "scan": _SCANNED}
            rows = await connection.fetch(*_SQL["list"](**scanning, limit=limit + 1))
        found = [Suppression(**{**row, "channel": Channel(row["channel"])}) for row in rows[:limit]]
        if len(rows) > limit:
            return SuppressionPage(found, Position.of(found[-1]))
        if wanted.address is not None:
            return SuppressionPage(found, None)
        statement = _SQL["last_scanned"]
        last = await connection.fetchrow(
            *statement(**{name: scanning[name] for name in statement.parameters})
        )
    return SuppressionPage(found, Position(**last) if last else None)


async def add_suppressions(
    connection: Connection, project_id: int, channel: Channel, addresses: Sequence[str], reason: str
) -> int:
    """Suppress recipients, given by their addresses as stored; return how many were not suppressed before."""
    rows = await connection.fetch(
        *_SQL["add"](
            project_id=project_id,
            channel=channel.value,
            addresses=list(addresses),
            reason=reason,
            no_trigger=NO_TRIGGER,
        )
    )
    return len(rows)


async def count_suppressions(
    pool: Pool, wanted: SuppressionFilter, limit: int, scan: int = _SCANNED
) -> tuple[list[SuppressionCount], int, bool]:
    """Count the suppressions that match by reason.

    Args:
        pool: The database.
        wanted: Which suppressions.
        limit: The maximum number of reasons.
        scan: How many of the newest suppressions are looked at.

    Returns:
        The numbers, the most frequent reason first; their total; and whether there may be more.
    """
    values = wanted.arguments()
    async with reading(pool) as connection:
        if wanted.address is not None:
            rows = await connection.fetch(*_SQL["count_of_address"](**values, limit=limit))
            is_partial = False
        else:
            scanning = {**values, **_FROM_THE_NEWEST, "only_visible": wanted.only_visible, "scan": scan}
            rows = await connection.fetch(*_SQL["count"](**scanning, limit=limit))
            statement = _SQL["last_scanned"]
            chosen = {name: scanning[name] for name in statement.parameters}
            is_partial = await connection.fetchrow(*statement(**chosen)) is not None
    counts = [
        SuppressionCount(
            row["project"],
            Channel(row["channel"]),
            row["provider"],
            row["reason"],
            row["recipients"],
            row["first_at"],
            row["last_at"],
        )
        for row in rows
    ]
    return counts, rows[0]["total"] if rows else 0, is_partial


async def count_stopped(pool: Pool, wanted: SuppressionFilter) -> tuple[int, bool]:
    """Return how many messages `remove_suppressions` would retry, and whether there may be more.

    Only the newest dead letters and unsent messages are looked at.
    """
    async with reading(pool) as connection:
        row = await connection.fetchrow(*_SQL["count_stopped"](**wanted.arguments(), scan=_STOPPED))
    assert row is not None  # noqa: S101 - an aggregate always has one row
    return row["stopped"], row["scanned"] == _STOPPED


async def database_time(connection: Connection | Pool) -> dt.datetime:
    """Return the database's time, by which suppressions are dated."""
    now: dt.datetime = await connection.fetchval(*_SQL["now"]())
    return now


async def remove_suppressions(
    connection: Connection, wanted: SuppressionFilter, until: dt.datetime, *, retry: bool = False
) -> Removed:
    """Remove up to REMOVED_AT_ONCE suppressions that match; fewer are removed only if no more match.

    Args:
        connection: The database, in a transaction.
        wanted: Which suppressions.
        until: The time after which suppressions stay, so that removing ends while others are added.
        retry: Whether to queue the messages that they stopped: dead letters since then, and unsent messages.
    """
    values = {**wanted.arguments(), "until": until, "limit": REMOVED_AT_ONCE}
    rows = await connection.fetch(*_REMOVE(**values))
    retried = await _retry_stopped(connection, rows) if retry and rows else ()
    return Removed(Counter(row["project_id"] for row in rows), retried)


async def _retry_stopped(connection: Connection, rows: list[asyncpg.Record]) -> Sequence[uuid.UUID]:
    """Queue the messages that removed suppressions stopped; return which. Dispatchers poll for them."""
    queued = await connection.fetch(
        *_SQL["retry_stopped"](
            projects=[row["project_id"] for row in rows],
            channels=[row["channel"] for row in rows],
            addresses=[row["address"] for row in rows],
            since=[row["created_at"] for row in rows],
        )
    )
    return [row["trigger_id"] for row in queued]
