"""Migrations and the pool, against a real PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import asyncpg
import pytest

from server.errors import ConfigError, StoreUnavailable
from server.rundir import RunDir
from server.store.embedded import EmbeddedPostgres
from server.store.migrate import migrate, pending
from server.store.pool import open_pool

from .support import a_trigger, writing

_numbers = itertools.count()


@pytest.fixture
async def empty(url: str) -> str:
    """The URL of a new database."""
    name = f"empty_{next(_numbers)}"
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return url.replace("/clarion?", f"/{name}?")


async def test_migrating_twice_is_migrating_once(empty: str) -> None:
    assert await pending(empty)
    version = await migrate(empty)
    assert not await pending(empty)
    assert await migrate(empty) == version


async def test_several_processes_may_migrate_at_once(empty: str) -> None:
    assert len({*await asyncio.gather(*(migrate(empty) for _ in range(4)))}) == 1
    assert not await pending(empty)


async def test_a_schema_of_a_newer_version_is_one_clear_line(empty: str) -> None:
    await migrate(empty)
    connection = await asyncpg.connect(empty)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    await connection.close()
    with pytest.raises(ConfigError, match="schema is not one that this version knows"):
        await migrate(empty)


@pytest.mark.parametrize("wrong", ["nonsense", "mysql://u:hunter2@h/d", "postgresql://u:hunter2@h:port/d"])
async def test_a_url_that_is_none_is_a_setting_to_mend_and_is_not_shown(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"database\.url: ") as raised:
        await open_pool(wrong, size=2, connect_timeout=1)
    assert "hunter2" not in str(raised.value)


async def test_a_database_that_is_not_there_is_a_setting_to_mend(url: str) -> None:
    with pytest.raises(ConfigError, match='database "nowhere" does not exist'):
        await open_pool(url.replace("/clarion?", "/nowhere?"), size=2, connect_timeout=1)


async def test_a_server_that_is_not_there_is_an_outage(tmp_path: Path) -> None:
    for wrong in ("postgresql://u@127.0.0.1:1/d", f"postgresql://u@/d?host={tmp_path}"):
        with pytest.raises(StoreUnavailable):
            await open_pool(wrong, size=2, connect_timeout=1)
        with pytest.raises(StoreUnavailable):
            await migrate(wrong)


async def test_connections_insist_on_durable_commits(url: str) -> None:
    pool = await open_pool(url, size=2, connect_timeout=5, settings={"synchronous_commit": "off"})
    assert await pool.fetchval("SHOW synchronous_commit") == "on"
    pool.terminate()
    pool = await open_pool(url, size=2, connect_timeout=5, settings={"synchronous_commit": "remote_apply"})
    assert await pool.fetchval("SHOW synchronous_commit") == "remote_apply"
    pool.terminate()


async def test_a_stopped_database_is_an_outage(tmp_path_factory: pytest.TempPathFactory) -> None:
    with RunDir(tmp_path_factory.mktemp("stopped")) as run:
        async with EmbeddedPostgres(run.data, run.sockets).running() as url:
            await migrate(url)
            pool = await open_pool(url, size=2, connect_timeout=2)
        async with writing(pool) as writer:
            with pytest.raises(StoreUnavailable):
                await asyncio.wait_for(writer.add(a_trigger(), "sandbox"), 10)
        with pytest.raises(StoreUnavailable):
            await pending(url)
        pool.terminate()
