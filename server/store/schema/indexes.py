"""Builds the indexes of large tables, without blocking writers and outside the migrations' transaction.

`CREATE INDEX CONCURRENTLY` cannot run in a transaction. A build that is interrupted leaves an invalid index,
which is deleted and built again. Servers work without these indexes, only more slowly.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import asyncpg
import structlog

from ...errors import StoreUnavailable
from ..pool import Connection
from ..sql import Statement, load

__all__ = [
    "INDEXES",
    "LOCK_TRIES",
    "build_indexes",
    "execute_locked",
    "one_at_a_time",
    "table_of",
    "unfinished",
]

log = structlog.get_logger(__name__)

# An arbitrary number, the same in all versions of Clarion. Migrations have another: see `lock_indexes`.
_LOCK = 0x636C6172697820
_POLL = 0.2
"""Seconds between two attempts to get the lock."""
LOCK_TRIES = 30
"""How often to try to lock a table: for a second each time, with a second in between."""
_SQL = load("schema/migrate.sql")
_STATEMENT = re.compile(r"CREATE INDEX CONCURRENTLY \w+ ON (\w+) (.*)", re.DOTALL)
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
    async with one_at_a_time(connection):
        for name, is_invalid in (await unfinished(connection, indexes)).items():
            log.info("building an index", index=name, again=is_invalid)
            try:
                await _build(connection, name, indexes[name].text, is_invalid=is_invalid)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                log.error("index not built; run `clarion migrate` again", index=name, error=str(error))
                raise


@asynccontextmanager
async def one_at_a_time(connection: Connection) -> AsyncIterator[None]:
    """Let no other process change indexes or partitions meanwhile.

    Args:
        connection: A session outside a transaction. Its `statement_timeout` and `lock_timeout` are set to 0.
    """
    await connection.execute(*_SQL["allow_time"]())
    while not await connection.fetchval(*_SQL["lock_indexes"](key=_LOCK)):  # noqa: ASYNC110 - another process holds it
        await asyncio.sleep(_POLL)
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute(*_SQL["unlock_indexes"](key=_LOCK))


async def _build(connection: Connection, name: str, statement: str, *, is_invalid: bool) -> None:
    """Build an index. That of a partitioned table is built for each partition, and then consists of these."""
    table, definition = _STATEMENT.fullmatch(statement).groups()  # type: ignore[union-attr]
    partitions = [row["name"] for row in await connection.fetch(*_SQL["partitions"](name=table))]
    if is_invalid:
        await connection.execute(f"DROP INDEX CONCURRENTLY {name}")
    for part in partitions:
        if await connection.fetchval(*_SQL["index_is_valid"](name=f"{part}_{name}")) is False:
            await connection.execute(f"DROP INDEX CONCURRENTLY {part}_{name}")
        await connection.execute(
            f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {part}_{name} ON {part} {definition}"
        )
    if partitions:
        await execute_locked(connection, table, f"CREATE INDEX {name} ON {table} {definition}")
    else:
        await connection.execute(statement)


async def execute_locked(connection: Connection, table: str, *statement: object) -> None:
    """Run a statement that locks a table. While it waits for the lock, all who use the table wait for it.

    So it gives up after a second, and tries again a second later.

    Args:
        connection: A session outside a transaction.
        table: The table, for messages.
        statement: The text, followed by the values of its parameters.

    Raises:
        StoreUnavailable: Another session has used the table for a minute.
    """
    for _ in range(LOCK_TRIES):
        try:
            async with connection.transaction():
                await connection.execute(*_SQL["set_lock_timeout"]())
                await connection.execute(*statement)  # type: ignore[arg-type]
        except asyncpg.LockNotAvailableError:
            log.info("waiting for other sessions to release a table", table=table)
            await asyncio.sleep(1)
        else:
            return
    raise StoreUnavailable(
        f"the table {table!r} could not be locked, because another session has been using it for a minute;"
        " end long transactions (see pg_stat_activity) and run `clarion migrate` again"
    )


def table_of(statement: Statement) -> str:
    """Return the table whose index a statement builds."""
    return str(_STATEMENT.fullmatch(statement.text)[1])  # type: ignore[index]


async def unfinished(connection: Connection, indexes: Mapping[str, Statement]) -> dict[str, bool]:
    """Return the indexes that are not ready by name, and whether each exists but is invalid."""
    found = {name: await connection.fetchval(*_SQL["index_is_valid"](name=name)) for name in indexes}
    return {name: is_valid is False for name, is_valid in found.items() if not is_valid}
