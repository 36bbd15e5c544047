"""Cancels queued triggers."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from ...domain.webhook import POLICY
from ..id_ranges import range_of
from ..pool import Connection, Pool
from ..sql import load
from .admin_lists import AdminFilter

__all__ = ["AT_ONCE", "FIRST", "cancel", "cancel_some"]

AT_ONCE = 1000
FIRST = uuid.UUID(int=0)
_SQL = load("records/cancel.sql")
_CANCEL, _CHOOSE_QUEUED = _SQL["cancel"], _SQL["choose_queued"]


async def cancel(pool: Pool | Connection, trigger_id: uuid.UUID) -> bool:
    """Remove a trigger from the queue for good; return whether it was queued and not leased."""
    cancelled = await pool.fetchval(*_cancelling([trigger_id]))
    return cancelled is not None


async def cancel_some(
    connection: Connection, wanted: AdminFilter, after: uuid.UUID, ids: Sequence[uuid.UUID] | None = None
) -> tuple[list[uuid.UUID], uuid.UUID | None]:
    """Cancel up to AT_ONCE waiting triggers that match, the oldest first.

    Args:
        connection: The database, in a transaction.
        wanted: Which triggers.
        after: Only triggers newer than this one, which the previous call returned; FIRST at the beginning.
        ids: Only these of them.

    Returns:
        Which were cancelled, and the last trigger that was tried; None if none is left.
    """
    values = {**wanted.arguments(), "ids": None if ids is None else list(ids), "limit": AT_ONCE}
    rows = await connection.fetch(*_CHOOSE_QUEUED(**values, after=after))
    if not rows:
        return [], None
    chosen = [row["trigger_id"] for row in rows]
    cancelled = await connection.fetch(*_cancelling(chosen))
    return [row["trigger_id"] for row in cancelled], chosen[-1] if len(chosen) == AT_ONCE else None


def _cancelling(ids: Sequence[uuid.UUID]) -> tuple[str, *tuple[object, ...]]:
    return _CANCEL(ids=ids, message_ttl=POLICY.ttl, **range_of(ids))
