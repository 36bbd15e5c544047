"""Migrations: plain SQL files run by Alembic, under a lock, each in a transaction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from ...errors import ConfigError, StoreUnavailable
from ..pool import Pool, is_outage, reached

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["is_current", "migrate", "pending"]

# Any number will do, as long as all versions of Clarion use the same.
_LOCK = 0x636C6172696F6E
_SCRIPTS = Path(__file__).parent / "migrations"
_READ_VERSION = "SELECT version_num FROM alembic_version"


async def migrate(url: str) -> str:
    """Bring the schema up to date; return its version. Safe to run by several processes at once.

    Raises:
        ConfigError: the database is from a newer version of Clarion.
        StoreUnavailable: the database cannot be reached.
    """
    # Here and below, not above: they take 0.3 s to import, and every start but a migration does without them.
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    async def connect() -> Any:
        return await asyncpg.connect(url)

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
    """Tell whether `migrate` has something to do.

    Raises:
        StoreUnavailable: the database cannot be reached.
    """
    async with reached():
        connection = await asyncpg.connect(url)
        try:
            exists = await connection.fetchval("SELECT to_regclass('alembic_version')")
            return not exists or bool(await connection.fetchval(_READ_VERSION) != _head())
        finally:
            await connection.close()


async def is_current(pool: Pool) -> bool:
    """Tell whether the schema is at least ours. A newer one will do: migrations only add.

    Raises:
        StoreUnavailable: the database cannot be reached.
    """
    async with reached():
        try:
            version: str | None = await pool.fetchval(_READ_VERSION)
        except asyncpg.UndefinedTableError:
            return False
    return version is not None and version >= _head()


def _head() -> str:
    """Return the newest version. Files are named by their revision, so this needs no Alembic."""
    return max(script.name for script in (_SCRIPTS / "versions").glob("*.py")).partition("_")[0]


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigError(f"the database's schema is not one that this version knows: {error}") from error
