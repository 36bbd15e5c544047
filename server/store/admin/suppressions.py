"""Suppressions: recipients that a provider rejected for good. Nothing is sent to them any more."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass

from ...domain.campaign import Channel
from ..pool import Pool
from ..sql import load

__all__ = ["Suppression", "list_suppressions", "remove_suppression"]

_SQL = load("admin/suppressions.sql")


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


async def list_suppressions(
    pool: Pool, *, project: str | None, channel: Channel | None, address: str | None, limit: int
) -> list[Suppression]:
    """Return the newest suppressions; only those of a project, a channel or an address, if given."""
    values = {"project": project, "channel": channel.value if channel else None, "address": address}
    rows = await pool.fetch(*_SQL["list"](**values, limit=limit))
    return [Suppression(**{**row, "channel": Channel(row["channel"])}) for row in rows]


async def remove_suppression(pool: Pool, *, project: str | None, channel: Channel, address: str) -> int:
    """Remove a recipient's suppression from one project, or from all; return from how many."""
    rows = await pool.fetch(*_SQL["remove"](project=project, channel=channel.value, address=address))
    return len(rows)
