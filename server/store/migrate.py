"""Migrations: plain SQL files run by Alembic, under a lock, each in a transaction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ..errors import ConfigError
from .pool import reached

__all__ = ["migrate", "pending"]

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

    async def connect() -> Any:
        return await asyncpg.connect(url)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with reached(), engine.begin() as connection:
            await connection.run_sync(_upgrade)
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


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config


def _head() -> str:
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _upgrade(connection: Connection) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigError(f"the database's schema is not one that this version knows: {error}") from error
