"""Operations on many deliveries: redriving dead letters, counts, and the size of the backlog."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from ...domain.campaign import Channel
from ..accept.notify import NOTIFY
from ..pool import Connection, Pool, reading
from ..sql import load

__all__ = [
    "AT_ONCE",
    "MOST_COUNTED",
    "AdminFilter",
    "Backlog",
    "backlog",
    "count_dead",
    "count_queued",
    "database_time",
    "dead_letters",
    "find_without_content",
    "oldest_due",
    "redrive",
]

_SQL = load("records/admin_lists.sql")
AT_ONCE = 1000
"""The number of triggers that one statement changes."""
MOST_COUNTED = 10_000
"""The number of due triggers of a lane that are counted, and of others."""
_REDRIVE = _SQL["redrive"]


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
    visible: frozenset[int] | None = None
    """The IDs of the projects to which the operation is restricted."""
    before: dt.datetime | None = None
    """The time before which they were accepted."""
    address: str | None = None
    """The whole address, as it is stored."""
    provider: str | None = None
    """The provider of the last attempt."""
    error_group: str | None = None
    """The whole last error, with digits replaced by #."""

    def arguments(self) -> dict[str, object]:
        """Return the arguments for the fragment `matches_admin_filter`."""
        return {
            "campaign_id": self.campaign_id,
            "channel": self.channel.value if self.channel else None,
            "external_id": self.external_id,
            "since": self.since,
            "error": f"%{_escape_like(self.error)}%" if self.error else None,
            "project": self.project,
            "visible": None if self.visible is None else sorted(self.visible),
            "before": self.before,
            "address": self.address,
            "provider": self.provider,
            "error_group": self.error_group,
        }


@dataclass(frozen=True, slots=True)
class Backlog:
    """The number of queued triggers in one lane: at most `MOST_COUNTED` due, and of the others as many."""

    channel: Channel
    providers: str
    due: int
    later: int
    sending: int
    oldest_due: float
    """Seconds since the oldest due trigger became due."""

    @property
    def more_due(self) -> bool:
        """Whether more may be due."""
        return self.due >= MOST_COUNTED

    @property
    def more_later(self) -> bool:
        """Whether more may be due later."""
        return self.later + self.sending >= MOST_COUNTED

    @property
    def lane(self) -> str:
        """The lane's name in the queue."""
        return f"{self.channel}/{self.providers}"


async def redrive(
    connection: Connection,
    wanted: AdminFilter,
    died_by: dt.datetime,
    ids: Sequence[uuid.UUID] | None = None,
    *,
    with_suppressed: bool = True,
) -> list[uuid.UUID]:
    """Put up to AT_ONCE dead letters back into the queue, due at once.

    Args:
        connection: The database, in a transaction.
        wanted: Which deliveries.
        died_by: Triggers that die after this time stay dead; otherwise, repeating this call would not end
            while a provider rejects all.
        ids: Only these of them.
        with_suppressed: By ID, also suppressed messages, if their recipient is no longer suppressed.

    Returns:
        Which; fewer than AT_ONCE only if no dead letter is left.
    """
    chosen = None if ids is None else list(ids)
    values = {**wanted.arguments(), "ids": chosen, "died_by": died_by, "limit": AT_ONCE}
    queued = await connection.fetch(*_REDRIVE(**values))
    if chosen and with_suppressed:
        suppressed = _SQL["redrive_suppressed"](**wanted.arguments(), ids=chosen)
        queued += await connection.fetch(*suppressed)
    await connection.execute(*NOTIFY)
    return [row["trigger_id"] for row in queued]


async def by_project(connection: Connection, ids: Sequence[uuid.UUID]) -> dict[int, list[uuid.UUID]]:
    """Return the IDs of triggers by the IDs of their projects."""
    rows = await connection.fetch(*_SQL["by_project"](ids=list(ids)))
    return {row["project_id"]: row["ids"] for row in rows}


async def database_time(database: Pool | Connection) -> dt.datetime:
    """Return the database's time, by which dead letters are dated."""
    now: dt.datetime = await database.fetchval(*_SQL["now"]())
    return now


async def count_dead(pool: Pool, wanted: AdminFilter, ids: Sequence[uuid.UUID]) -> int:
    """Return how many of these triggers are dead letters that match."""
    count: int = await pool.fetchval(*_SQL["count_dead"](**wanted.arguments(), ids=list(ids)))
    return count


async def find_without_content(
    connection: Connection, wanted: AdminFilter, ids: Sequence[uuid.UUID]
) -> tuple[uuid.UUID, str] | None:
    """Return one of these triggers whose content has been removed and its `retain`, or None."""
    row = await connection.fetchrow(*_SQL["without_content"](**wanted.arguments(), ids=list(ids)))
    return (row["id"], row["retain"]) if row else None


async def count_queued(pool: Pool, wanted: AdminFilter, ids: Sequence[uuid.UUID]) -> int:
    """Return how many of these triggers wait and match."""
    count: int = await pool.fetchval(*_SQL["count_queued"](**wanted.arguments(), ids=list(ids)))
    return count


async def oldest_due(pool: Pool, lanes: Sequence[str]) -> dict[Channel, float]:
    """Return for each channel the seconds since its oldest due trigger became due."""
    rows = await pool.fetch(*_SQL["oldest_due"](lanes=list(lanes)))
    return {Channel(row["channel"]): row["age"] for row in rows}


async def dead_letters(database: Pool | Connection) -> int:
    """Return the number of dead letters."""
    count: int = await database.fetchval(*_SQL["count_dead_letters"]())
    return count


async def backlog(pool: Pool) -> list[Backlog]:
    """Return the size of the backlog by lane."""
    async with reading(pool) as connection:
        rows = await connection.fetch(*_SQL["backlog"](most=MOST_COUNTED))
    return [
        Backlog(
            Channel(row["channel"]),
            row["providers"],
            row["due"],
            row["later"],
            row["sending"],
            row["oldest_due"],
        )
        for row in rows
    ]


def _escape_like(text: str) -> str:
    """Return a LIKE pattern that matches exactly this text."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
