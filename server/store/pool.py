"""Opens connections and pools, and converts the driver's errors for callers."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from ..errors import ConfigError, StoreUnavailable
from .connection_errors import NO_SESSIONS, explained
from .primary import Primary, RawConnection, ServerConnection
from .sql import Statement, load

__all__ = [
    "READING",
    "Connection",
    "Pool",
    "connect",
    "is_outage",
    "open_pool",
    "reached",
    "reading",
    "require_session",
    "run_in_chunks",
]

# Generic in the type stubs only.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

READING = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_sort": "off",
    "enable_memoize": "off",
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
    "statement_timeout": "3s",
}
"""Settings of PostgreSQL for the connections of lists and watchers.

These statements stop when a page is full. To read few rows until then, they follow an index and look up
related rows one by one. A statement that still takes too long is cancelled.
"""

log = structlog.get_logger(__name__)
warnings.filterwarnings("ignore", message="password file", module="asyncpg")  # see `explained`

_SQL = load("pool.sql")
_BACKEND = _SQL["backend"]
_POOLING_CHECKS = 10
"""Number of checks whether two connections share a session; without other clients, one is enough."""
# SQLSTATE prefixes: connection errors (08), full disk and other exhausted resources (53), shutdown and crash
# (57P), and a server that became a read-only replica in a failover (25006). Also errors for which a retry
# helps: deadlocks (40), a lock_timeout (55P03) or statement_timeout (57014) that an operator has set, and I/O
# errors (58). A missing column (42703) or table (42P01) means that a version of Clarion that
# is incompatible with this one has migrated the schema: the server is then not ready.
_OUTAGE_STATES = ("53", "57P", "25006", "08", "40", "55P03", "57014", "58", "42703", "42P01")


def is_outage(error: BaseException) -> bool:
    """Return whether the error means that the database is unavailable, not that a statement is wrong."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "").startswith(_OUTAGE_STATES)
    if isinstance(error, ValueError):  # asyncpg raises one for a bad URL that is also an InterfaceError
        return False
    # asyncpg raises InternalClientError if a connection ends unexpectedly.
    return isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError)


@asynccontextmanager
async def reached() -> AsyncIterator[None]:
    """Convert errors that mean an outage to StoreUnavailable.

    Raises:
        StoreUnavailable: The database is unavailable.
    """
    try:
        yield
    except Exception as error:
        if not is_outage(error):
            raise
        log.warning("store unavailable", error=type(error).__name__)
        raise StoreUnavailable from error


@asynccontextmanager
async def reading(pool: Pool, **settings: str) -> AsyncIterator[Connection]:
    """Use a connection with the settings READING, and others, in one transaction for the block."""
    chosen = {**READING, **settings}
    async with pool.acquire() as connection, connection.transaction(readonly=True):
        await connection.execute(
            *_SQL["apply_local_settings"](names=list(chosen), values=list(chosen.values()))
        )
        yield connection


async def run_in_chunks(pool: Pool, statement: Statement, chunk: int, **values: object) -> int:
    """Run a statement until it returns fewer rows than the chunk; return the total number of rows.

    Args:
        pool: The database.
        statement: Returns a row for each row that it changes, up to its parameter `limit`.
        chunk: The value of `limit`.
        values: The statement's other parameters.
    """
    total = 0
    while True:
        count = len(await pool.fetch(*statement(**values, limit=chunk)))
        total += count
        if count < chunk:
            return total


async def connect(
    url: str, *, connect_timeout: float = 10.0, primary: Primary | None = None
) -> RawConnection:
    """Open one connection, with the URL's settings.

    Args:
        url: The URL of the database.
        connect_timeout: Seconds, unless the URL sets `connect_timeout`.
        primary: The primary of this URL, if there are several connections, so that it warns once.

    Raises:
        ConfigError: The URL is wrong, or the server rejects the login.
        OSError: The server cannot be reached.
    """
    primary = primary or Primary(url, connect_timeout=connect_timeout)
    with explained(primary.database):
        connection = await primary.connect(server_settings=primary.startup)
        await _prepare(connection, primary.database.settings)
    return connection


async def _prepare(connection: Connection, settings: Mapping[str, str]) -> None:
    """Apply settings, and require durable commits; a stricter setting of the cluster is kept.

    The settings are not startup parameters, because a connection pooler refuses those that it does not know.
    """
    if settings:
        names, values = list(settings), list(settings.values())
        await connection.execute(*_SQL["apply_settings"](names=names, values=values))
    await connection.execute(*_SQL["require_durable_commits"]())


async def open_pool(
    url: str,
    *,
    size: int,
    connect_timeout: float,
    settings: Mapping[str, str] | None = None,
    primary: Primary | None = None,
    on_connect: Callable[[Connection], Awaitable[None]] | None = None,
) -> Pool:
    """Open a pool of up to `size` connections.

    Args:
        url: The URL of the database.
        size: The maximum number of connections.
        connect_timeout: Seconds, unless the URL sets `connect_timeout`.
        settings: Settings of PostgreSQL for each connection.
        primary: Opens the connections; by default, the pool creates its own.
        on_connect: Called with each new connection before it is used.

    Raises:
        ConfigError: The URL is wrong, the server rejects the login, or a pooler does not keep sessions.
        StoreUnavailable: The server cannot be reached.
    """
    primary = primary or Primary(url, connect_timeout=connect_timeout)
    database = primary.database

    async def prepare(connection: Connection) -> None:
        await _prepare(connection, {**database.settings, **(settings or {})})
        if on_connect:
            await on_connect(connection)

    async with reached():
        with explained(database):
            pool = await asyncpg.create_pool(
                database.driver_url,
                min_size=1,
                max_size=size,
                connect=primary.connect,
                timeout=database.connect_timeout or connect_timeout,
                command_timeout=30,
                connection_class=ServerConnection,
                server_settings=primary.startup,
                init=prepare,
            )
        try:
            with explained(database):
                await _require_sessions(pool)
        except BaseException:
            pool.terminate()
            raise
    return pool


async def _require_sessions(pool: Pool) -> None:
    """Check that a connection keeps its session; a pooler in transaction mode shares sessions.

    Without a pooler, the session's process ID is the one that the server sent at the start.

    Raises:
        ConfigError: The connection goes through a pooler in transaction mode.
    """
    async with pool.acquire() as ours:
        if await ours.fetchval(*_BACKEND()) != ours.get_server_pid():
            async with pool.acquire() as other:
                await require_session(ours, other)


async def require_session(ours: Connection, other: Connection) -> None:
    """Check that two connections have a session each.

    Raises:
        ConfigError: They share sessions, because they go through a pooler in transaction mode.
    """
    backend = await ours.fetchval(*_BACKEND())
    for _ in range(_POOLING_CHECKS):
        others = await other.fetchval(*_BACKEND())
        if others == backend or await ours.fetchval(*_BACKEND()) != backend:
            raise ConfigError(f"database.url: {NO_SESSIONS}")
