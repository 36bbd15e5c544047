"""Operations on many deliveries: lists by state, redriving dead letters, and the size of the backlog."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from ...domain.campaign import Channel
from ...domain.delivery import DeliveryState
from ..accept.notify import NOTIFY
from ..pool import Pool
from ..sql import load

__all__ = [
    "AdminFilter",
    "Backlog",
    "DeliveryRow",
    "backlog",
    "dead_letters",
    "list_deliveries",
    "oldest_due",
    "redrive",
]

_SQL = load("records/admin_lists.sql")
_LISTS = {
    None: _SQL["list_all"],
    DeliveryState.PENDING: _SQL["list_queued"],
    DeliveryState.SENDING: _SQL["list_queued"],
    DeliveryState.RETRYING: _SQL["list_queued"],
    DeliveryState.DELIVERED: _SQL["list_all"],
    DeliveryState.DEAD: _SQL["list_dead"],
    DeliveryState.SUPPRESSED: _SQL["list_suppressed"],
    DeliveryState.CANCELLED: _SQL["list_cancelled"],
}
_REDRIVE, _REDRIVE_SUPPRESSED = _SQL["redrive"], _SQL["redrive_suppressed"]
_REDRIVEN_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class AdminFilter:
    """Which deliveries an operation applies to. A field that is None matches all."""

    campaign_id: int | None = None
    channel: Channel | None = None
    external_id: str | None = None
    since: dt.datetime | None = None
    """The earliest time of acceptance."""
    error: str | None = None
    """Text that the last error contains, in any case."""
    project: str | None = None
    """The project's name."""

    def arguments(self) -> dict[str, object]:
        """Return the arguments for the fragment `matches_admin_filter`."""
        return {
            "campaign_id": self.campaign_id,
            "channel": self.channel.value if self.channel else None,
            "external_id": self.external_id,
            "since": self.since,
            "error": f"%{_escape_like(self.error)}%" if self.error else None,
            "project": self.project,
        }


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One delivery in a list."""

    trigger_id: uuid.UUID
    campaign_id: int
    channel: Channel
    external_id: str
    state: DeliveryState
    accepted_at: dt.datetime
    attempts: int
    provider: str
    error: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """The number of queued triggers in one lane."""

    channel: Channel
    providers: str
    due: int
    later: int
    sending: int
    oldest_due: float
    """Seconds since the oldest due trigger became due."""

    @property
    def lane(self) -> str:
        """The lane's name in the queue."""
        return f"{self.channel}/{self.providers}"


async def list_deliveries(
    pool: Pool, state: DeliveryState | None, wanted: AdminFilter, limit: int
) -> list[DeliveryRow]:
    """Return the newest deliveries that match, in one state or (None) in any."""
    values = {**wanted.arguments(), "state": state.value if state else None, "limit": limit}
    return [_delivery_row(row) for row in await pool.fetch(*_LISTS[state](**values))]


async def redrive(pool: Pool, wanted: AdminFilter, ids: Sequence[uuid.UUID] | None = None) -> int:
    """Put dead letters back into the queue, due at once; return how many.

    With `ids`, messages that were not sent because their recipient was suppressed return, too, unless the
    recipient still is. Triggers that fail again meanwhile stay dead; otherwise, this would not end while a
    provider rejects all.

    Args:
        pool: The database.
        wanted: Which dead letters.
        ids: Only these of them.
    """
    selected = {**wanted.arguments(), "ids": list(ids) if ids is not None else None}
    values = {
        **selected,
        "died_by": await pool.fetchval(*_SQL["now"]()),
        "limit": _REDRIVEN_AT_ONCE,
    }
    total = 0
    while True:
        async with pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(*_REDRIVE(**values))
            rows += await connection.fetch(*_REDRIVE_SUPPRESSED(**selected)) if ids else []
            await connection.execute(*NOTIFY)
        total += len(rows)
        if len(rows) < _REDRIVEN_AT_ONCE:
            return total


async def oldest_due(pool: Pool, lanes: Sequence[str]) -> dict[Channel, float]:
    """Return for each channel the seconds since its oldest due trigger became due."""
    rows = await pool.fetch(*_SQL["oldest_due"](lanes=list(lanes)))
    return {Channel(row["channel"]): row["age"] for row in rows}


async def dead_letters(pool: Pool) -> int:
    """Return the number of dead letters."""
    count: int = await pool.fetchval(*_SQL["count_dead_letters"]())
    return count


async def backlog(pool: Pool) -> list[Backlog]:
    """Return the size of the backlog by lane."""
    return [
        Backlog(
            Channel(row["channel"]),
            row["providers"],
            row["due"],
            row["later"],
            row["sending"],
            row["oldest_due"],
        )
        for row in await pool.fetch(*_SQL["backlog"]())
    ]


def _escape_like(text: str) -> str:
    """Return a LIKE pattern that matches exactly this text."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _delivery_row(row: asyncpg.Record) -> DeliveryRow:
    return DeliveryRow(
        trigger_id=row["id"],
        campaign_id=row["campaign_id"],
        channel=Channel(row["channel"]),
        external_id=row["external_id"],
        state=DeliveryState(row["state"]),
        accepted_at=row["accepted_at"],
        attempts=row["attempts"],
        provider=row["provider"],
        error=row["error"],
    )
