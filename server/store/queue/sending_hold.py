"""Holds and releases all sending. The hold is in the database: it applies to all dispatchers, and stays."""

from __future__ import annotations

import asyncpg
import structlog

from ...domain.sending_hold import SendingHold
from ...errors import StoreUnavailable
from ..accept.notify import NOTIFY
from ..pool import Connection, Pool
from ..sql import load

__all__ = ["find_hold", "hold", "hold_if_restored", "release"]

log = structlog.get_logger(__name__)

_SQL = load("queue/sending_hold.sql")


async def find_hold(database: Pool | Connection) -> SendingHold | None:
    """Return since when sending is held, or None if it is not."""
    row = await database.fetchrow(*_SQL["find"]())
    return SendingHold(**row) if row else None


async def hold(connection: Connection, held_by: str, reason: str) -> bool:
    """Hold sending, in the caller's transaction; return False if it was already held.

    Args:
        connection: The database.
        held_by: The name of the operator.
        reason: Why; may be empty.
    """
    return await connection.execute(*_SQL["hold"](held_by=held_by, reason=reason)) == "UPDATE 1"


async def release(connection: Connection) -> SendingHold | None:
    """Release sending, in the caller's transaction; return the hold that ended, or None."""
    row = await connection.fetchrow(*_SQL["find_locked"]())
    if row is None:
        return None
    await connection.execute(*_SQL["release"]())
    await connection.execute(*NOTIFY)  # sent at the end of the transaction
    return SendingHold(**row)


async def hold_if_restored(connection: Connection) -> None:
    """Hold sending if the database was restored. Each new connection of a dispatcher calls this first.

    Raises:
        StoreUnavailable: The database was restored to a schema before this version's.
    """
    try:
        sign = await connection.fetchval(*_SQL["hold_if_restored"]())
    except asyncpg.UndefinedFunctionError as error:
        raise StoreUnavailable from error
    if sign:
        log.warning("the database was restored, so sending is held; see `clarion status`", sign=sign)
