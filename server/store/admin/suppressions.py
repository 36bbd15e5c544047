"""Suppressions: recipients that a provider rejected for good. Nothing is sent to them any more."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg

from ...domain.campaign import Channel
from ..pool import Connection, Pool
from ..sql import load

__all__ = [
    "Removed",
    "Suppression",
    "SuppressionCount",
    "SuppressionFilter",
    "count_stopped",
    "count_suppressions",
    "list_suppressions",
    "remove_suppressions",
]

_SQL = load("admin/suppressions.sql")
_REMOVE = _SQL["remove"]
_REMOVED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Suppression:
    """A suppressed recipient of one project."""

    project: str
    channel: Channel
    address: str
    reason: str
    """The provider's message."""
    provider: str
    trigger_id: uuid.UUID
    """The trigger that the provider rejected."""
    created_at: dt.datetime

    def __repr__(self) -> str:
        """Return the facts without the address, because a repr may be logged."""
        return f"Suppression({self.project}, {self.channel}, trigger {self.trigger_id})"


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

    def arguments(self) -> dict[str, object]:
        """Return the arguments for the fragment `matches`."""
        return {
            "project": self.project,
            "channel": self.channel.value if self.channel else None,
            "address": self.address,
            "provider": self.provider,
            "reason": self.reason,
            "since": self.since,
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


class Removed(NamedTuple):
    """How many suppressions were removed, and how many of the messages that they stopped are retried."""

    suppressions: int
    retried: int


async def list_suppressions(pool: Pool, wanted: SuppressionFilter, limit: int) -> list[Suppression]:
    """Return the newest suppressions that match."""
    rows = await pool.fetch(*_SQL["list"](**wanted.arguments(), limit=limit))
    return [Suppression(**{**row, "channel": Channel(row["channel"])}) for row in rows]


async def count_suppressions(pool: Pool, wanted: SuppressionFilter) -> list[SuppressionCount]:
    """Return the number of suppressions that match by reason, the most frequent first."""
    rows = await pool.fetch(*_SQL["count"](**wanted.arguments()))
    return [SuppressionCount(**{**row, "channel": Channel(row["channel"])}) for row in rows]


async def count_stopped(pool: Pool, wanted: SuppressionFilter) -> int:
    """Return how many messages `remove_suppressions` would retry."""
    count: int = await pool.fetchval(*_SQL["count_stopped"](**wanted.arguments()))
    return count


async def remove_suppressions(pool: Pool, wanted: SuppressionFilter, *, retry: bool = False) -> Removed:
    """Remove the suppressions that match; those that are added meanwhile stay.

    Args:
        pool: The database.
        wanted: Which suppressions.
        retry: Whether to queue the messages that they stopped: dead letters since then, and unsent messages.
    """
    values = {**wanted.arguments(), "until": await pool.fetchval(*_SQL["now"]()), "limit": _REMOVED_AT_ONCE}
    removed = retried = 0
    while True:
        async with pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(*_REMOVE(**values))
            retried += await _retry_stopped(connection, rows) if retry and rows else 0
        removed += len(rows)
        if len(rows) < _REMOVED_AT_ONCE:
            return Removed(removed, retried)


async def _retry_stopped(connection: Connection, rows: list[asyncpg.Record]) -> int:
    """Queue the messages that removed suppressions stopped; return how many. Dispatchers poll for them."""
    queued = await connection.fetch(
        *_SQL["retry_stopped"](
            projects=[row["project_id"] for row in rows],
            channels=[row["channel"] for row in rows],
            addresses=[row["address"] for row in rows],
            since=[row["created_at"] for row in rows],
        )
    )
    return len(queued)
