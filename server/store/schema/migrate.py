"""Migrations: plain SQL files that Alembic runs under a lock, all in one transaction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from ...errors import ConfigError, StoreUnavailable
from ..pool import Pool, is_outage, reached
from ..primary import Primary
from ..sql import load

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["is_current", "migrate", "pending"]

# An arbitrary number, the same in all versions of Clarion.
_LOCK = 0x636C6172696F6E
_CONNECT_SECONDS = 10.0
_SCRIPTS = Path(__file__).parent / "migrations"
_SQL = load("schema/migrate.sql")
_VERSION = _SQL["version"]


async def migrate(url: str) -> str:
    """Bring the schema up to date and return its version. Several processes may run this at once.

    Raises:
        ConfigError: The database is from a newer version of Clarion.
        StoreUnavailable: The database cannot be reached.
    """
    # Imported here because they take 0.3 s, and only a migration needs them.
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    async def connect() -> Any:
        return await Primary(url, connect_timeout=_CONNECT_SECONDS).connect()

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with reached(), engine.begin() as connection:
            await connection.run_sync(_upgrade)
    except DBAPIError as error:  # SQLAlchemy wraps the driver's error twice
        cause = error.orig.__cause__ if error.orig else None
        if cause is None or not is_outage(cause):
            raise
        raise StoreUnavailable from error
    finally:
        await engine.dispose()
    return _head()


async def pending(url: str) -> bool:
    """Return whether there are migrations to run.

    Raises:
        StoreUnavailable: The database cannot be reached.
    """
    async with reached():
        connection = await Primary(url, connect_timeout=_CONNECT_SECONDS).connect()
        try:
            exists = await connection.fetchval(*_SQL["has_version"]())
            return not exists or bool(await connection.fetchval(*_VERSION()) != _head())
        finally:
            await connection.close()


async def is_current(pool: Pool) -> bool:
    """Return whether the schema is at least as new as this version; migrations only add.

    Raises:
        StoreUnavailable: The database cannot be reached.
    """
    async with reached():
        try:
            version: str | None = await pool.fetchval(*_VERSION())
        except asyncpg.UndefinedTableError:
            return False
    return version is not None and version >= _head()


def _head() -> str:
    """Return the newest version. Files are named for their revision, so Alembic is not needed."""
    return max(script.name for script in (_SCRIPTS / "versions").glob("*.py")).partition("_")[0]


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    connection.exec_driver_sql(_SQL["lock"].text, (_LOCK,))
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigError(f"the database's schema is unknown to this version of Clarion: {error}") from error
