"""Figures of the queue and the database, and of pools."""

from __future__ import annotations

import asyncio
import datetime as dt

from prometheus_client import generate_latest

from server.domain.campaign import Channel
from server.domain.figures import QueueState
from server.domain.placement import Placement
from server.metrics import REGISTRY
from server.store import metrics
from server.store.figures import database_figures, queued
from server.store.pool import Pool, open_pool
from server.store.queue.triggers import PostgresQueue
from server.store.schema.migrate import missing_indexes, schema_of
from server.store.schema.version import HEAD
from tests.kit.prometheus import parsed
from tests.kit.store import a_trigger, accept, shares
from tests.kit.until import until

LANES = ["email/sandbox", "text/sandbox"]


def read() -> dict[str, float]:
    return parsed(generate_latest(REGISTRY).decode())


async def test_queued_triggers_are_counted_by_channel_and_state(pool: Pool) -> None:
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    await accept(pool, a_trigger(), place=Placement("email/sandbox"))
    await PostgresQueue(pool).claim(shares(sandbox=1), 60)
    await accept(pool, a_trigger(), a_trigger(), place=Placement("email/sandbox"))
    await accept(pool, a_trigger(), place=Placement("email/sandbox", due_at=later))
    text = a_trigger(channel=Channel.TEXT, address="+12025550123")
    await accept(pool, text, place=Placement("text/sandbox"))
    found = await queued(pool, LANES)
    of_email = [
        found[Channel.EMAIL, state] for state in (QueueState.DUE, QueueState.LATER, QueueState.SENDING)
    ]
    assert of_email == [2, 1, 1]
    assert found[Channel.TEXT, QueueState.DUE] == 1


async def test_counting_a_large_queue_stops_at_the_bound(pool: Pool) -> None:
    await accept(pool, *(a_trigger() for _ in range(20)), place=Placement("email/sandbox"))
    assert (await queued(pool, LANES, most=5))[Channel.EMAIL, QueueState.DUE] == 5


async def test_figures_of_the_database(pool: Pool) -> None:
    before = await database_figures(pool)
    async with pool.acquire() as connection, connection.transaction():
        await connection.fetchval("SELECT count(*) FROM queue")
        await accept(pool, *(a_trigger() for _ in range(10)))
        await asyncio.sleep(0.2)
        after = await database_figures(pool)
    assert 1 <= before.connections <= before.max_connections
    assert before.size > 1_000_000
    assert after.wal > before.wal
    assert after.oldest_transaction >= 0.2
    assert set(after.rows) == {"queue", "webhook_queue"}


async def test_a_pool_reports_connections_and_who_waits(url: str) -> None:
    pool = await open_pool(url, size=1, connect_timeout=60)
    metrics.watch_pool("tested", pool)
    async with pool.acquire():
        waiting = asyncio.create_task(pool.fetchval("SELECT 1"))
        await until(lambda: read()['clarion_pool_waiting{pool="tested"}'] == 1, "a statement waits")
        assert read()['clarion_pool_connections{pool="tested",state="in_use"}'] == 1
        assert read()['clarion_pool_max_connections{pool="tested"}'] == 1
    assert await waiting == 1
    found = read()
    assert found['clarion_pool_waiting{pool="tested"}'] == 0
    assert found['clarion_pool_connections{pool="tested",state="idle"}'] == 1
    pool.terminate()


async def test_the_schema_and_its_indexes(pool: Pool) -> None:
    assert (await schema_of(pool)).number == HEAD
    assert await missing_indexes(pool) == []
