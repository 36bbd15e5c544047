"""A real PostgreSQL for the session, migrated once, with empty tables for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from server.postgres.embedded import EmbeddedPostgres
from server.store.pool import Pool, open_pool
from server.store.queue.triggers import SESSION
from server.store.schema.migrate import migrate
from server.up.data_folder import RunDir
from tests.kit.store import TABLES


@pytest.fixture(scope="session")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    with RunDir(tmp_path_factory.mktemp("store")) as run:
        async with EmbeddedPostgres(run.data, run.sockets).running() as url:
            await migrate(url)
            yield url


@pytest.fixture
async def pool(url: str) -> AsyncIterator[Pool]:
    """A dispatcher's or a server's pool; the tables are empty."""
    pool = await open_pool(url, size=6, connect_timeout=5, settings=SESSION)
    await pool.execute(f"TRUNCATE {TABLES}")
    await pool.execute("INSERT INTO project (id, name) VALUES (1, 'one'), (2, 'two')")
    await pool.execute("ALTER TABLE project ALTER COLUMN id RESTART WITH 3")
    yield pool
    pool.terminate()
