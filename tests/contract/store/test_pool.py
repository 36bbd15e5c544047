"""The pool: invalid addresses, outages, and durable commits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from server.errors import ConfigError, StoreUnavailable
from server.postgres.embedded import EmbeddedPostgres
from server.store.pool import open_pool
from server.store.schema.migrate import migrate, require_schema
from server.up.data_folder import RunDir
from tests.kit.store import PLACE, a_trigger, writing


@pytest.mark.parametrize("wrong", ["nonsense", "mysql://u:hunter2@h/d", "postgresql://u:hunter2@h:port/d"])
async def test_invalid_url_is_a_setting_error_without_the_url(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"database\.url: ") as raised:
        await open_pool(wrong, size=2, connect_timeout=60)
    assert "hunter2" not in str(raised.value)


async def test_missing_database_is_a_setting_error(url: str) -> None:
    with pytest.raises(ConfigError, match='database "nowhere" does not exist'):
        await open_pool(url.replace("/clarion?", "/nowhere?"), size=2, connect_timeout=60)


async def test_a_server_that_is_not_there_is_an_outage(tmp_path: Path) -> None:
    for wrong in ("postgresql://u@127.0.0.1:1/d", f"postgresql://u@/d?host={tmp_path}"):
        with pytest.raises(StoreUnavailable):
            await open_pool(wrong, size=2, connect_timeout=60)
        with pytest.raises(StoreUnavailable):
            await migrate(wrong)


async def test_connections_insist_on_durable_commits(url: str) -> None:
    pool = await open_pool(url, size=2, connect_timeout=60, settings={"synchronous_commit": "off"})
    assert await pool.fetchval("SHOW synchronous_commit") == "on"
    pool.terminate()
    pool = await open_pool(url, size=2, connect_timeout=60, settings={"synchronous_commit": "remote_apply"})
    assert await pool.fetchval("SHOW synchronous_commit") == "remote_apply"
    pool.terminate()


@pytest.mark.long
async def test_a_stopped_database_is_an_outage(tmp_path_factory: pytest.TempPathFactory) -> None:
    with RunDir(tmp_path_factory.mktemp("stopped")) as run:
        async with EmbeddedPostgres(run.data, run.sockets).running() as url:
            await migrate(url)
            pool = await open_pool(url, size=2, connect_timeout=60)
        async with writing(pool) as writer:
            with pytest.raises(StoreUnavailable):
                await asyncio.wait_for(writer.add(a_trigger(), PLACE), 60)
        with pytest.raises(StoreUnavailable):
            await require_schema(url)
        pool.terminate()
