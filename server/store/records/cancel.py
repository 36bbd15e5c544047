"""Cancels queued triggers."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from ...domain.webhook import POLICY
from ..pool import Connection, Pool
from ..sql import load
from .admin_lists import AdminFilter

__all__ = ["cancel", "cancel_all"]

_AT_ONCE = 1000
_NIL = uuid.UUID(int=0)
_SQL = load("records/cancel.sql")
_CANCEL, _CHOOSE_QUEUED = _SQL["cancel"], _SQL["choose_queued"]


async def cancel(pool: Pool | Connection, trigger_id: uuid.UUID) -> bool:
    """Remove a trigger from the queue for good; return whether it was queued and not leased."""
    cancelled = await pool.fetchval(*_CANCEL(ids=[trigger_id], message_ttl=POLICY.ttl))
    return cancelled is not None


async def cancel_all(pool: Pool, wanted: AdminFilter, ids: Sequence[uuid.UUID] | None = None) -> int:
    """Cancel all queued triggers that match; return how many.

    Args:
        pool: The database.
        wanted: Which triggers.
        ids: Only these of them.
    """
    total, after = 0, _NIL
    values = {**wanted.arguments(), "ids": None if ids is None else list(ids), "limit": _AT_ONCE}
    while rows := await pool.fetch(*_CHOOSE_QUEUED(**values, after=after)):
        chosen = [row["trigger_id"] for row in rows]
        total += len(await pool.fetch(*_CANCEL(ids=chosen, message_ttl=POLICY.ttl)))
        after = chosen[-1]
    return total
