"""Recipients that a provider refused for good, and who are sent nothing any more."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass

from ...domain.campaign import Channel
from ..pool import Pool

__all__ = ["Suppression", "list_suppressions", "remove_suppression"]


@dataclass(frozen=True, slots=True)
class Suppression:
    """One recipient of one project, and why: the provider's words about the trigger that it refused."""

    project: str
    channel: Channel
    address: str
    reason: str
    provider: str
    trigger_id: uuid.UUID
    created_at: dt.datetime

    def __repr__(self) -> str:
        """Leave out the recipient: a repr ends in logs."""
        return f"Suppression({self.project}, {self.channel}, trigger {self.trigger_id})"


async def list_suppressions(
    pool: Pool, *, project: str | None, channel: Channel | None, address: str | None, limit: int
) -> list[Suppression]:
    """Return the newest suppressions; of a project, a channel, an address, if given."""
    rows = await pool.fetch(
        "SELECT p.name AS project, s.channel, s.address, s.reason, s.provider, s.trigger_id, s.created_at"
        " FROM suppression s JOIN project p ON p.id = s.project_id"
        " WHERE ($1::text IS NULL OR p.name = $1) AND ($2::text IS NULL OR s.channel = $2)"
        " AND ($3::text IS NULL OR s.address = $3) ORDER BY s.created_at DESC, s.address LIMIT $4",
        project,
        channel.value if channel else None,
        address,
        limit,
    )
    return [Suppression(**{**row, "channel": Channel(row["channel"])}) for row in rows]


async def remove_suppression(pool: Pool, *, project: str | None, channel: Channel, address: str) -> int:
    """Let a recipient be sent to again, in one project or in all; return in how many it was suppressed."""
    rows = await pool.fetch(
        "DELETE FROM suppression s USING project p WHERE p.id = s.project_id AND s.channel = $2"
        " AND s.address = $3 AND ($1::text IS NULL OR p.name = $1) RETURNING s.project_id",
        project,
        channel.value,
        address,
    )
    return len(rows)
