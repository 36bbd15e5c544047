"""How server processes count each other."""

from __future__ import annotations

import asyncio

import pytest

from server.errors import StoreUnavailable
from server.store.pool import Pool, open_pool
from server.store.presence import Presence


def _ignore(_count: int) -> None:
    pass


@pytest.fixture
async def counts(pool: Pool) -> list[int]:
    await pool.execute("TRUNCATE server_process")
    return []


async def test_processes_count_each_other(pool: Pool, counts: list[int]) -> None:
    processes = [Presence(pool, counts.append) for _ in range(3)]
    for one in processes:
        await one.beat()
    await processes[0].beat()
    assert counts == [1, 2, 3, 3]
    await processes[2].leave()
    await processes[2].beat()  # one that was under way
    assert await pool.fetchval("SELECT count(*) FROM server_process") == 2
    for _ in range(2):
        await processes[0].beat()
    assert counts[-1] == 2


async def test_servers_and_dispatchers_are_counted_separately(pool: Pool, counts: list[int]) -> None:
    servers = [Presence(pool, _ignore) for _ in range(3)]
    dispatchers = [Presence(pool, counts.append, role="dispatcher") for _ in range(2)]
    for one in (*servers, *dispatchers, *dispatchers):
        await one.beat()
    assert counts == [1, 2, 2, 2]
    found = await pool.fetch("SELECT role, count(*) FROM server_process GROUP BY role ORDER BY role")
    assert [tuple(row) for row in found] == [("dispatcher", 2), ("server", 3)]
    await dispatchers[1].leave()
    for _ in range(2):
        await dispatchers[0].beat()
    assert counts[-1] == 1


async def test_silent_process_is_forgotten_after_ten_seconds(pool: Pool, counts: list[int]) -> None:
    here, silent = Presence(pool, counts.append), Presence(pool, _ignore)
    await silent.beat()
    await pool.execute("UPDATE server_process SET seen_at = now() - interval '5 s'")
    await here.beat()
    await pool.execute("UPDATE server_process SET seen_at = seen_at - interval '6 s'")
    await here.beat()
    await here.beat()
    assert counts == [2, 2, 1]
    await pool.execute("UPDATE server_process SET seen_at = now() - interval '16 minutes'")
    await here.beat()
    assert await pool.fetchval("SELECT count(*) FROM server_process") == 1


async def test_first_process_after_a_crash_counts_the_others(pool: Pool, counts: list[int]) -> None:
    one, other = Presence(pool, counts.append), Presence(pool, _ignore)
    await other.beat()
    await one.beat()
    await pool.execute("TRUNCATE server_process")  # what a crash does to an unlogged table
    await one.beat()
    await other.beat()
    await one.beat()
    assert counts == [2, 2, 2]


async def test_outage_keeps_the_last_count(url: str, pool: Pool, counts: list[int]) -> None:
    own = await open_pool(url, size=2, connect_timeout=60)
    one, other = Presence(own, counts.append), Presence(pool, _ignore)
    await other.beat()
    await one.beat()
    own.terminate()
    with pytest.raises(StoreUnavailable):
        await one.beat()
    one._interval = 0.05  # from now on: it is also the time limit of a beat
    running = asyncio.create_task(one.run())
    await asyncio.sleep(0.2)
    assert not running.done()
    running.cancel()
    await asyncio.wait_for(one.leave(), 60)
    assert counts == [2]
