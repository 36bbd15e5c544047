"""Checks that commits are on the synchronous replicas, if the cluster has any.

PostgreSQL waits for them after it has committed on the primary's disk. If an operator, a time limit or a lost
client ends that wait, the rows stay and other sessions read them, but a failover loses them. PostgreSQL then
reports success with a warning. A session that only reads never waits for replicas.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import asyncpg

from ..errors import StoreUnavailable
from .pool import Connection, Pool, reached
from .sql import load

__all__ = ["NotReplicated", "changed", "confirm_replicated", "replicated"]

_WAITING_CODE = "syncrep.c"
"""The PostgreSQL source file that emits the warning, whose text depends on the server's language."""
_CONFIRM = load("replication.sql")["confirm"]


class NotReplicated(StoreUnavailable):
    """The synchronous replicas did not confirm the change; it may or may not be kept. Try again shortly."""


@contextmanager
def replicated(connection: Connection) -> Iterator[None]:
    """Require that all commits of the block on this connection reach the synchronous replicas.

    Raises:
        NotReplicated: A commit stopped waiting for the synchronous replicas.
    """
    unconfirmed: list[str] = []

    def note(_: object, message: Any) -> None:
        if message.server_source_filename == _WAITING_CODE:
            unconfirmed.append(message.message)

    connection.add_log_listener(note)
    try:
        yield
    finally:
        with suppress(asyncpg.InterfaceError):  # the connection was lost and is back in the pool
            connection.remove_log_listener(note)
    if unconfirmed:
        raise NotReplicated


@asynccontextmanager
async def changed(pool: Pool) -> AsyncIterator[None]:
    """Change the database in the block, and wait at its end until the synchronous replicas have the changes.

    Raises:
        StoreUnavailable: The database is unavailable, or the synchronous replicas did not confirm them.
    """
    async with reached():
        yield
        async with pool.acquire() as connection:
            await confirm_replicated(connection)


async def confirm_replicated(connection: Connection) -> None:
    """Wait until the synchronous replicas have everything that the connection has read.

    Raises:
        NotReplicated: They did not confirm it.
    """
    with replicated(connection):
        await connection.execute(*_CONFIRM())
