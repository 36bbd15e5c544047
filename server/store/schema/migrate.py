"""Migrations: plain SQL files that Alembic runs under a lock, all in one transaction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from ...errors import ConfigError
from ..connection_errors import explained
from ..database_url import parse_database_url
from ..pool import Pool, connect, reached
from ..sql import load

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["is_current", "migrate", "pending"]

# An arbitrary number, the same in all versions of Clarion.
_LOCK = 0x636C6172696F6E
_SCRIPTS = Path(__file__).parent / "migrations"
_SQL = load("schema/migrate.sql")
_VERSION = _SQL["version"]


async def migrate(url: str) -> str:
    """Bring the schema up to date and return its version. Several processes may run this at once.

    Raises:
        ConfigError: The database is of a newer version, or its URL or its user's rights are wrong.
        StoreUnavailable: The database cannot be reached.
    """
    # Imported here because they take 0.3 s, and only a migration needs them.
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    async def creator() -> Any:
        return await connect(url)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=creator, poolclass=NullPool)
    try:
        async with reached():
            with explained(parse_database_url(url)):
                try:
                    async with engine.begin() as connection:
                        await connection.run_sync(_upgrade)
                except DBAPIError as error:  # SQLAlchemy wraps the driver's error twice
                    raise (error.orig and error.orig.__cause__) or error  # noqa: B904 - its cause is lost
    finally:
        await engine.dispose()
    return _head()


async def pending(url: str) -> bool:
    """Return whether there are migrations to run.

    Raises:
        ConfigError: The URL is wrong, or its user may not log in or not read.
        StoreUnavailable: The database cannot be reached.
    """
    async with reached():
        connection = await connect(url)
        try:
            with explained(parse_database_url(url)):
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
