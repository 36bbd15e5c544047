"""Builds the indexes of large tables, without blocking writers and outside the migrations' transaction.

`CREATE INDEX CONCURRENTLY` cannot run in a transaction. A build that is interrupted leaves an invalid index,
which is deleted and built again. Servers work without these indexes, only more slowly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import asyncpg
import structlog

from ..pool import Connection
from ..sql import Statement, load

__all__ = ["INDEXES", "build_indexes", "unfinished"]

log = structlog.get_logger(__name__)

# An arbitrary number, the same in all versions of Clarion. Migrations have another: see `lock_indexes`.
_LOCK = 0x636C6172697820
_POLL = 0.2
"""Seconds between two attempts to get the lock."""
_SQL = load("schema/migrate.sql")
INDEXES = load("schema/indexes.sql")
"""The statements by the name of their index."""


async def build_indexes(connection: Connection, indexes: Mapping[str, Statement]) -> None:
    """Build the missing and the invalid indexes. Several processes may run this at once.

    Args:
        connection: A session outside a transaction. Its `statement_timeout` and `lock_timeout` are set to 0.
        indexes: The statements by the name of their index.
    """
    if not await unfinished(connection, indexes):
        return
    await connection.execute(*_SQL["allow_time"]())
    while not await connection.fetchval(*_SQL["lock_indexes"](key=_LOCK)):  # noqa: ASYNC110 - another process holds it
        await asyncio.sleep(_POLL)
    try:
        for name, is_invalid in (await unfinished(connection, indexes)).items():
            log.info("building an index", index=name, again=is_invalid)
            try:
                if is_invalid:
                    await connection.execute(f"DROP INDEX CONCURRENTLY {name}")
                await connection.execute(indexes[name].text)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                log.error("index not built; run `clarion migrate` again", index=name, error=str(error))
                raise
    finally:
        if not connection.is_closed():
            await connection.execute(*_SQL["unlock_indexes"](key=_LOCK))


async def unfinished(connection: Connection, indexes: Mapping[str, Statement]) -> dict[str, bool]:
    """Return the indexes that are not ready by name, and whether each exists but is invalid."""
    found = {name: await connection.fetchval(*_SQL["index_is_valid"](name=name)) for name in indexes}
    return {name: is_valid is False for name, is_valid in found.items() if not is_valid}
