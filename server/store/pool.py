"""The connection pool, and what its errors mean to callers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from ..errors import ConfigError, StoreUnavailable

__all__ = ["READING", "Connection", "Pool", "in_portions", "is_outage", "open_pool", "reached"]

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
"""What PostgreSQL must be told on connections for lists and watchers.

Their statements end when a page is full, and are to read no more rows than that needs: in the order of an
index, each row's kin by their own. What takes longer all the same is refused rather than finished.
"""

log = structlog.get_logger(__name__)

# Beside lost connections: full disk and other exhausted resources (class 53), shutdown and crash (57P), and
# a server that became a read-only replica in a failover (25006). Also what passes when it is tried again:
# deadlocks (40), somebody's lock_timeout (55P03) or statement_timeout (57014), I/O errors (58).
_OUTAGE_STATES = ("53", "57P", "25006", "08", "40", "55P03", "57014", "58")


class _PlainConnection(asyncpg.Connection):  # generic in the stubs only
    """A connection without state to reset: it saves a round trip on each return to the pool."""

    def get_reset_query(self) -> str:
        return ""


def is_outage(error: BaseException) -> bool:
    """Tell whether the error means that the database cannot be used now (not that our SQL is wrong)."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "").startswith(_OUTAGE_STATES)
    if isinstance(error, ValueError):  # asyncpg's word for a bad URL is an InterfaceError, too
        return False
    # asyncpg calls it an InternalClientError when a connection breaks off where it expects no end.
    return isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError)


@asynccontextmanager
async def reached() -> AsyncIterator[None]:
    """Turn what means an outage into StoreUnavailable.

    Raises:
        StoreUnavailable: the database could not be used.
    """
    try:
        yield
    except Exception as error:
        if not is_outage(error):
            raise
        log.warning("store unavailable", error=type(error).__name__)
        raise StoreUnavailable from error


async def in_portions(pool: Pool, statement: str, *arguments: object, at_once: int) -> int:
    """Run a statement that returns each row it did, `at_once` (its last argument) at the most, until all are.

    Returns how many they are.
    """
    total = 0
    while True:
        rows = await pool.fetch(statement, *arguments, at_once)
        total += len(rows)
        if len(rows) < at_once:
            return total


async def _prepare(connection: Connection) -> None:
    """Insist on durable commits, without weakening a cluster that asks for more (remote_apply)."""
    await connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
    )


async def open_pool(
    url: str, *, size: int, connect_timeout: float, settings: dict[str, str] | None = None
) -> Pool:
    """Open a pool of up to `size` connections; `connect_timeout` in seconds.

    Raises:
        ConfigError: the URL is no PostgreSQL URL, or the server refuses the login.
        StoreUnavailable: the server cannot be reached.
    """
    options: dict[str, Any] = {"application_name": "clarion", **(settings or {})}
    try:
        async with reached():
            return await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=size,
                timeout=connect_timeout,
                command_timeout=30,
                connection_class=_PlainConnection,
                server_settings=options,
                init=_prepare,
            )
    except (ValueError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise ConfigError(f"database.url: {_without_url(error, url)}") from error
    except asyncpg.InvalidCatalogNameError as error:
        raise ConfigError(f"database.url: {error}") from error


def _without_url(error: Exception, url: str) -> str:
    """Leave the URL, which may hold a password, out of an error's text."""
    return str(error).replace(url, "<url>")
