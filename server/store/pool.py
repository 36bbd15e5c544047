"""The connection pool, and the meaning of its errors for callers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from ..errors import ConfigError, StoreUnavailable
from .primary import APPLICATION, Primary, ServerConnection
from .sql import Statement, load

__all__ = ["READING", "Connection", "Pool", "is_outage", "open_pool", "reached", "run_in_chunks"]

# Generic in the type stubs only.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

READING = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_sort": "off",
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
    "statement_timeout": "3s",
}
"""Settings of PostgreSQL for the connections of lists and watchers.

Their statements end when a page is full, and should read no more rows than that takes: in the order of an
index, with related rows looked up one by one. A statement that still takes too long is cancelled.
"""

log = structlog.get_logger(__name__)

_REQUIRE_DURABLE_COMMITS = load("pool.sql")["require_durable_commits"]
# SQLSTATE prefixes: connection errors (08), full disk and other exhausted resources (53), shutdown and crash
# (57P), and a server that became a read-only replica in a failover (25006). Also errors for which a retry
# helps: deadlocks (40), a lock_timeout (55P03) or statement_timeout (57014) that an operator has set, and I/O
# errors (58).
_OUTAGE_STATES = ("53", "57P", "25006", "08", "40", "55P03", "57014", "58")


def is_outage(error: BaseException) -> bool:
    """Return whether the error means that the database is unavailable, and not that a statement is wrong."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "").startswith(_OUTAGE_STATES)
    if isinstance(error, ValueError):  # asyncpg raises one for a bad URL that is also an InterfaceError
        return False
    # asyncpg raises InternalClientError if a connection ends where it does not expect it.
    return isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError)


@asynccontextmanager
async def reached() -> AsyncIterator[None]:
    """Raise StoreUnavailable instead of errors that mean an outage.

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


async def run_in_chunks(pool: Pool, statement: Statement, chunk: int, **values: object) -> int:
    """Run a statement until it returns fewer rows than the chunk; return how many rows in all.

    Args:
        pool: The database.
        statement: Returns a row for each row that it changes, up to its parameter `limit`.
        chunk: The limit.
        values: The statement's other parameters.
    """
    total = 0
    while True:
        count = len(await pool.fetch(*statement(**values, limit=chunk)))
        total += count
        if count < chunk:
            return total


async def _prepare(connection: Connection) -> None:
    """Require durable commits, without weakening a cluster that is configured for more (remote_apply)."""
    await connection.execute(*_REQUIRE_DURABLE_COMMITS())


async def open_pool(
    url: str,
    *,
    size: int,
    connect_timeout: float,
    settings: dict[str, str] | None = None,
    primary: Primary | None = None,
) -> Pool:
    """Open a pool of up to `size` connections.

    Args:
        url: The URL of the database.
        size: The number of connections at most.
        connect_timeout: Seconds.
        settings: Settings of PostgreSQL for each connection.
        primary: Makes the connections; by default, the pool has its own.

    Raises:
        ConfigError: The URL is not a PostgreSQL URL, or the server rejects the login.
        StoreUnavailable: The server cannot be reached.
    """
    options: dict[str, Any] = {**APPLICATION, **(settings or {})}
    try:
        primary = primary or Primary(url, connect_timeout=connect_timeout)
        async with reached():
            return await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=size,
                connect=primary.connect,
                timeout=connect_timeout,
                command_timeout=30,
                connection_class=ServerConnection,
                server_settings=options,
                init=_prepare,
            )
    except (ValueError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise ConfigError(f"database.url: {_without_url(error, url)}") from error
    except asyncpg.InvalidCatalogNameError as error:
        raise ConfigError(f"database.url: {error}") from error


def _without_url(error: Exception, url: str) -> str:
    """Return an error's text without the URL, which may contain a password."""
    return str(error).replace(url, "<url>")
