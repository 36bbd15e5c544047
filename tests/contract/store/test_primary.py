"""Connections to the primary: a silent host delays no other, and a silent primary is left."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from server.store.pool import Pool, open_pool
from server.store.primary import Primary
from tests.kit.silent_proxy import silent_proxy
from tests.kit.until import until


def folder_of(url: str) -> Path:
    """Return the folder of the socket in the URL of an embedded PostgreSQL."""
    return Path(parse_qs(urlsplit(url).query)["host"][0])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


async def test_silent_host_does_not_keep_the_others_waiting(url: str, silent_port: int) -> None:
    both = f"postgresql://clarion@/clarion?host=127.0.0.1,{folder_of(url)}&port={silent_port},5432"
    primary = Primary(both, connect_timeout=30)
    pool = await open_pool(both, size=4, connect_timeout=30, primary=primary)
    try:
        for connection in [await pool.acquire() for _ in range(4)]:
            assert await connection.fetchval("SELECT 1") == 1
    finally:
        pool.terminate()


async def test_user_without_rights_can_compare_timelines(url: str) -> None:
    superuser = await asyncpg.connect(url)
    await superuser.execute("DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN")
    await superuser.close()
    folder = folder_of(url)
    twice = f"postgresql://plain@/clarion?host={folder},{folder}"
    connection = await Primary(twice, connect_timeout=30).connect()
    assert await connection.fetchval("SELECT current_user") == "plain"
    await connection.execute("SELECT pg_logical_emit_message(true, 'clarion', '')")
    await connection.close()


@pytest.mark.parametrize(
    "watched",
    [
        pytest.param(True, id="after the watch began", marks=pytest.mark.long),
        pytest.param(False, id="before"),
    ],
)
async def test_silent_primary_fails_what_waits_for_it(url: str, *, watched: bool) -> None:
    async with silent_proxy(folder_of(url) / ".s.PGSQL.5432") as proxy:
        through = f"postgresql://clarion@127.0.0.1:{proxy.port}/clarion?sslmode=disable"
        primary = Primary(through, connect_timeout=5)
        pool = await open_pool(through, size=3, connect_timeout=5, primary=primary)
        watch = primary.watch()
        if watched:
            watching = await _begun(watch, url)
            proxy.open.clear()
        else:
            proxy.open.clear()
            watching = asyncio.create_task(watch)
        try:
            waiting = asyncio.create_task(pool.fetchval("SELECT 1", timeout=300))
            with pytest.raises(asyncpg.ConnectionDoesNotExistError):
                await asyncio.wait_for(waiting, 60)
            proxy.open.set()
            await until(lambda: _answers(pool), "the pool answers again")
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            pool.terminate()


async def _begun(watch: Coroutine[None, None, None], url: str) -> asyncio.Task[None]:
    """Start a watch and wait until it has asked on its own connection."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%AS started_at%' AND backend_start > $1"
    connection = await asyncpg.connect(url)
    started = await connection.fetchval("SELECT clock_timestamp()")
    watching = asyncio.create_task(watch)
    await until(lambda: connection.fetchval(query, started), "the watch has its connection")
    await connection.close()
    return watching


async def _answers(pool: Pool) -> bool:
    try:
        return bool(await pool.fetchval("SELECT 1") == 1)
    except (OSError, asyncpg.InterfaceError):
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="other systems lack some of the options")
async def test_sockets_notice_a_lost_network(url: str) -> None:
    async with silent_proxy(folder_of(url) / ".s.PGSQL.5432") as proxy:
        through = f"postgresql://clarion@127.0.0.1:{proxy.port}/clarion?sslmode=disable"
        pool = await open_pool(through, size=1, connect_timeout=30)
        async with pool.acquire() as connection:
            used = connection._con._transport.get_extra_info("socket")  # type: ignore[attr-defined]
            assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) < 10
            assert 0 < used.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 10_000
        pool.terminate()
