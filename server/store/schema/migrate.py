"""Runs the migrations, which are SQL files, in one transaction; then builds indexes and partitions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import structlog

from ...errors import ConfigError, StoreUnavailable
from ..connection_errors import explained
from ..database_url import parse_database_url
from ..pool import Connection, Pool, connect, reached, require_session
from ..primary import Primary
from ..sql import load
from .indexes import INDEXES, LOCK_TRIES, build_indexes, one_at_a_time, unfinished
from .partitions import is_partitioned, partition_tables
from .version import HEAD, SCRIPTS, SchemaVersion

if TYPE_CHECKING:
    from sqlalchemy import Connection as SyncConnection
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["is_usable", "migrate", "missing_indexes", "read_version", "require_schema", "schema_of"]

log = structlog.get_logger(__name__)

# An arbitrary number, the same in all versions of Clarion.
_LOCK = 0x636C6172696F6E
_CONNECT_TIMEOUT = 10.0
"""Seconds, unless the URL sets `connect_timeout`."""
_SQL = load("schema/migrate.sql")


async def migrate(url: str) -> str:
    """Bring the schema up to date and return its version. Several processes may run this at once.

    Raises:
        ConfigError: The schema is too new for this version, or the URL or its user's privileges are wrong.
        StoreUnavailable: The database cannot be reached.
    """
    # Imported here, and below, because they take 0.3 s, and only a migration needs them.
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    primary = Primary(url, connect_timeout=_CONNECT_TIMEOUT)

    async def creator() -> Any:
        return await connect(url, primary=primary)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=creator, poolclass=NullPool)
    try:
        async with reached():
            with explained(primary.database):
                version = await _run_migrations(engine)
                if version == HEAD:  # a newer version completes its own schema
                    await _complete(url, primary)
    finally:
        await engine.dispose()
    return version


async def _run_migrations(engine: AsyncEngine) -> str:
    """Run the missing migrations in one transaction; return the schema's version.

    While a migration waits for the lock of a table, all who use the table wait for it. So it gives up after a
    second, and all migrations are tried again a second later.

    Raises:
        StoreUnavailable: Another session has used a table for a minute.
    """
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    for _ in range(LOCK_TRIES):
        try:
            async with engine.begin() as connection:
                return await connection.run_sync(_upgrade)
        except DBAPIError as error:  # SQLAlchemy wraps the driver's error twice
            raise (error.orig and error.orig.__cause__) or error  # noqa: B904 - its cause is lost
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):  # of a migration, not wrapped
            log.info("waiting for other sessions to release the tables that the migrations change")
        await asyncio.sleep(1)
    raise StoreUnavailable(
        "the migrations have changed nothing, because another session has been using a table that they change"
        " for a minute; end long transactions (see pg_stat_activity) and run `clarion migrate` again"
    )


async def _complete(url: str, primary: Primary) -> None:
    """Build the indexes and partitions that are missing, which needs a session outside the transaction.

    Raises:
        ConfigError: A pooler in transaction mode would leave the lock of the builds in a shared session.
        StoreUnavailable: A table could not be locked.
    """
    connection = await connect(url, primary=primary)
    try:
        if not await unfinished(connection, INDEXES) and await is_partitioned(connection):
            return
        other = await connect(url, primary=primary)
        try:
            await require_session(connection, other)
        finally:
            await other.close()
        await build_indexes(connection, INDEXES)
        async with one_at_a_time(connection):
            await partition_tables(connection)
    finally:
        await connection.close()


async def require_schema(url: str) -> None:
    """Check that this version can use the database's schema.

    Raises:
        ConfigError: It cannot, the URL is wrong, or its user cannot log in or read the schema.
        StoreUnavailable: The database cannot be reached.
    """
    async with reached():
        connection = await connect(url)
        try:
            with explained(parse_database_url(url)):
                found = await read_version(connection)
        finally:
            await connection.close()
    if found.problem:
        raise ConfigError(found.problem)


async def is_usable(pool: Pool) -> bool:
    """Return whether this version can use the database's schema.

    Raises:
        StoreUnavailable: The database cannot be reached.
    """
    return not (await schema_of(pool)).problem


async def schema_of(pool: Pool) -> SchemaVersion:
    """Return the version of the database's schema.

    Raises:
        StoreUnavailable: The database cannot be reached.
    """
    async with reached():
        return await read_version(pool)


async def missing_indexes(pool: Pool) -> list[str]:
    """Return the indexes that `migrate` has yet to build.

    Raises:
        StoreUnavailable: The database cannot be reached.
    """
    async with reached(), pool.acquire() as connection:
        return sorted(await unfinished(connection, INDEXES))


async def read_version(connection: Pool | Connection) -> SchemaVersion:
    """Return the version of the schema that a connection sees."""
    if not await connection.fetchval(*_SQL["has_version"]()):
        return SchemaVersion("", "")
    number: str = await connection.fetchval(*_SQL["version"]()) or ""
    if number <= HEAD:  # the other table may be missing, or not readable
        return SchemaVersion(number, "")
    return SchemaVersion(number, await connection.fetchval(*_SQL["oldest"]()))


def _upgrade(connection: SyncConnection) -> str:
    """Run the missing migrations, and return the version of the schema.

    A newer schema stays as it is.

    Raises:
        ConfigError: This version cannot use the schema.
    """
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    connection.exec_driver_sql(_SQL["lock"].text, (_LOCK,))
    connection.exec_driver_sql(_SQL["set_lock_timeout"].text)  # not before: another migration may take long
    found = _read_again(connection)
    if found.is_newer:
        if found.problem:
            raise ConfigError(found.problem)
        return found.number
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigError(f"the database's schema is unknown to this version of Clarion: {error}") from error
    return HEAD


def _read_again(connection: SyncConnection) -> SchemaVersion:
    """Read the version inside the lock."""

    def value(name: str) -> str:
        return str(connection.exec_driver_sql(_SQL[name].text).scalar() or "")

    number = value("version") if value("has_version") else ""
    return SchemaVersion(number, value("oldest") if number > HEAD else "")
