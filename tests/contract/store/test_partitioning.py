"""Partitions are added in time and dropped late enough, whatever is full, wrong or in use meanwhile."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from server.store.partitioning import PARTITIONED, Partitions
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.retention import RecordRetention
from tests.contract.store.test_retention import days, id_of, partitions
from tests.kit.outcomes import DELIVERED
from tests.kit.store import a_trigger, accept, ended, shares
from tests.kit.until import until

FULL = """
    CREATE FUNCTION disk_is_full() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
    END $$;
    CREATE EVENT TRIGGER disk_is_full ON ddl_command_start WHEN TAG IN ('CREATE TABLE')
        EXECUTE FUNCTION disk_is_full()
"""
NOT_FULL = "DROP EVENT TRIGGER IF EXISTS disk_is_full; DROP FUNCTION IF EXISTS disk_is_full"


async def reset(pool: Pool) -> None:
    """Leave the partitions that a migration makes."""
    await pool.execute(NOT_FULL)
    for name in PARTITIONED:
        for partition in await partitions(pool, name):
            if not partition.endswith("_first"):
                await pool.execute(f"DROP TABLE {partition}")


@pytest.fixture(autouse=True)
async def first_partition_only(pool: Pool) -> AsyncIterator[None]:
    await reset(pool)
    yield
    await reset(pool)


async def in_rest(pool: Pool) -> int:
    found: int = await pool.fetchval("SELECT count(*) FROM trigger_rest")
    return found


async def test_on_a_full_disk_triggers_are_accepted_and_moved_later(pool: Pool) -> None:
    await pool.execute(FULL)
    with capture_logs() as logs:
        await Partitions(pool, 400).add()
    [line] = [one["event"] for one in logs if one["log_level"] == "error"]
    assert "No space left on device" in line
    assert "trigger_rest" in line
    one = a_trigger(id=id_of(days(-9)))
    await accept(pool, one)
    assert await in_rest(pool) == 1
    await pool.execute(NOT_FULL)
    await Partitions(pool, 400).add()
    assert await in_rest(pool) == 0
    [claim] = await PostgresQueue(pool).claim(shares(sandbox=1), 60)
    assert claim.id == one.id


async def test_servers_add_partitions_without_any_dispatcher(pool: Pool) -> None:
    running = asyncio.create_task(Partitions(pool, 400).run())

    async def added() -> bool:
        return len(await partitions(pool, "attempt")) > 1

    await until(added, "partitions")
    running.cancel()


async def test_weeks_without_partitions_are_made_up_for(pool: Pool) -> None:
    """No process has added partitions for weeks, as after restoring an old backup."""
    await accept(pool, *(a_trigger(id=id_of(days(-number))) for number in range(0, 40, 2)))
    queue = PostgresQueue(pool)
    await queue.finish([ended(one, DELIVERED) for one in await queue.claim(shares(sandbox=99), 60)])
    assert await in_rest(pool) > 10
    await pool.execute("SELECT add_partitions('trigger', 'id', 7, now() + interval '50 days')")
    await pool.execute("SELECT add_partitions('attempt', 'trigger_id', 7, now() + interval '50 days')")
    assert await in_rest(pool) == 0
    assert await pool.fetchval("SELECT count(*) FROM trigger JOIN attempt ON trigger_id = id") == 20


async def test_a_server_whose_clock_is_a_year_ahead(pool: Pool) -> None:
    one = a_trigger(id=id_of(days(-365)))
    await accept(pool, one)
    await RecordRetention(pool, content=30, record=400, audit=400).once()
    assert len(await partitions(pool)) <= 4  # they follow the database's clock
    [claim] = await PostgresQueue(pool).claim(shares(sandbox=1), 60)
    assert claim.id == one.id
    assert await in_rest(pool) == 1


async def test_nothing_is_dropped_if_clocks_differ(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Clock:
            return super().now(tz) - days(365)

    await pool.execute("SELECT add_partitions('trigger', 'id', 1, now() + interval '12 days')")
    before = await partitions(pool)
    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr("server.store.partitioning.dt.datetime", Clock)
        await Partitions(pool, 400).drop(-11)  # everything that ends within 11 days
    assert await partitions(pool) == before
    [line] = [one["event"] for one in logs]
    assert "the database's clock shows" in line
    assert "set the one that is wrong" in line
