"""Builds what servers, dispatchers and commands share: pool, catalog, providers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from msgspec import structs

from ..config import Settings
from ..errors import ConfigError
from ..store.catalog import Catalog
from ..store.pool import Connection, Pool, open_pool
from ..store.primary import Primary
from ..store.schema.migrate import require_schema

if TYPE_CHECKING:
    from ..dispatcher.providers.base import Provider


__all__ = ["build_catalog", "build_providers", "opened_pool", "primary_of", "with_database"]


@asynccontextmanager
async def opened_pool(
    settings: Settings,
    session: Mapping[str, str] | None = None,
    *,
    migrated: bool = False,
    size: int | None = None,
    primary: Primary | None = None,
    on_connect: Callable[[Connection], Awaitable[None]] | None = None,
) -> AsyncIterator[Pool]:
    """Open a connection pool for the duration of the block.

    Args:
        settings: the settings.
        session: PostgreSQL settings for its connections.
        migrated: require a schema that this version can use.
        size: maximum number of connections; by default `database.pool_size`.
        primary: makes the connections, and may be shared between pools; see `primary_of`.
        on_connect: called with each new connection before it is used.

    Raises:
        ConfigError: no database is configured, or this version cannot use its schema.
        StoreUnavailable: the database cannot be reached.
    """
    database = settings.database
    primary = primary or primary_of(settings)
    if migrated:
        await require_schema(database.url)
    pool = await open_pool(
        database.url,
        size=size or database.pool_size,
        connect_timeout=database.connect_timeout,
        settings=session,
        primary=primary,
        on_connect=on_connect,
    )
    try:
        yield pool
    finally:
        pool.terminate()


def primary_of(settings: Settings) -> Primary:
    """Return the object that connects to the database. A long-running process also awaits its `watch`.

    Raises:
        ConfigError: no database is configured, or its URL is wrong.
    """
    if not settings.database.url:
        raise ConfigError(
            "database.url is empty; set CLARION_DATABASE_URL, or run all of Clarion with `clarion up`"
        )
    return Primary(settings.database.url, connect_timeout=settings.database.connect_timeout)


def build_catalog(pool: Pool, settings: Settings, *, for_dispatch: bool = False) -> Catalog:
    """Return the in-memory catalog, with templates and webhook endpoints if it is `for_dispatch`."""
    return Catalog(
        pool,
        interval=settings.server.catalog_interval,
        max_age=settings.server.catalog_max_age,
        templates=for_dispatch,
        endpoints=for_dispatch,
    )


def with_database(settings: Settings, url: str) -> Settings:
    """Return the settings with another database."""
    return structs.replace(settings, database=structs.replace(settings.database, url=url))


def build_providers(settings: Settings) -> dict[str, Provider]:
    """Build the configured providers, by name.

    Raises:
        ConfigError: a provider's setting is wrong.
    """
    from ..dispatcher.providers import build as build_provider  # noqa: PLC0415 - see above

    data_dir = settings.data_dir.absolute()
    return {
        name: build_provider(name, table, data_dir=data_dir) for name, table in settings.providers.items()
    }
