"""A real PostgreSQL for the session, with empty tables for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from server.postgres.embedded import EmbeddedPostgres
from server.store.pool import Pool, open_pool
from server.store.queue.triggers import SESSION
from server.up.data_folder import RunDir
from tests.kit.cluster import copy_cluster
from tests.kit.query_plans import reading
from tests.kit.rollup import all_counted
from tests.kit.store import empty, truncate


@pytest.fixture(scope="session")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    data = tmp_path_factory.mktemp("store")
    await copy_cluster(data)
    with RunDir(data) as run:
        async with EmbeddedPostgres(run.data, run.sockets).running() as url:
            yield url


@pytest.fixture
def new_tables() -> None:
    """Make `pool` start with new tables, for tests of query plans."""


@pytest.fixture
async def pool(url: str, request: pytest.FixtureRequest) -> AsyncIterator[Pool]:
    """Open a pool as dispatchers and servers do, on empty tables."""
    pool = await open_pool(url, size=6, connect_timeout=60, settings=SESSION)
    await (truncate if "new_tables" in request.fixturenames else empty)(pool)
    await pool.execute("INSERT INTO project (id, name) VALUES (1, 'one'), (2, 'two')")
    await pool.execute("ALTER TABLE project ALTER COLUMN id RESTART WITH 3")
    yield pool
    pool.terminate()


@pytest.fixture
async def counting(url: str, pool: Pool) -> AsyncIterator[Pool]:
    """The connections of a server's rollup, which has nothing left to count."""
    async with reading(url) as opened:
        await all_counted(opened)
        await pool.execute("DELETE FROM statistic; DELETE FROM provider_result")
        yield opened
