"""A database's clock that jumps: leases and due times go by it, and what was promised is kept.

The clock is really set, for one pool: its connections find another `now()` before PostgreSQL's own.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from server.domain.delivery import AttemptOutcome, DeliveryState
from server.domain.placement import Placement
from server.store.pool import Pool, open_pool
from server.store.queue.triggers import SESSION, PostgresQueue
from server.store.records.find import find_delivery
from tests.kit.clock import FakeClock
from tests.kit.dispatch import ScriptedProvider, running
from tests.kit.store import a_trigger, accept, ended, shares
from tests.kit.until import until

HOUR = dt.timedelta(hours=1)
_CLOCK = """
    CREATE SCHEMA clock;
    CREATE TABLE clock.shift AS SELECT interval '0' AS by;
    CREATE FUNCTION clock.now() RETURNS timestamptz STABLE LANGUAGE sql
        AS 'SELECT pg_catalog.now() + by FROM clock.shift';
"""


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of a pool's connections."""

    pool: Pool

    async def jump(self, by: dt.timedelta) -> None:
        await self.pool.execute("UPDATE clock.shift SET by = by + $1", by)


@pytest.fixture
async def clock(pool: Pool, url: str) -> AsyncIterator[Clock]:
    await pool.execute(_CLOCK)
    settings = {**SESSION, "search_path": "clock, pg_catalog, public"}
    shifted = await open_pool(url, size=6, connect_timeout=60, settings=settings)
    try:
        yield Clock(shifted)
    finally:
        shifted.terminate()
        await pool.execute("DROP SCHEMA clock CASCADE")


async def claimed_within(queue: PostgresQueue, own: FakeClock, seconds: float) -> bool:
    """Claim every 50 ms by the dispatcher's own clock; return whether something comes in this time."""
    end = own.now + seconds
    while not await queue.claim(shares(sandbox=5), 60):
        own.advance(0.05)
        if own.now >= end:
            return False
    return True


async def test_trigger_after_the_clock_was_set_back_is_found_soon(clock: Clock) -> None:
    queue = PostgresQueue(clock.pool, own := FakeClock())
    await accept(clock.pool, a_trigger())
    assert await queue.claim(shares(sandbox=5), 60)  # from here on it looks no further back than now
    await clock.jump(-HOUR)
    await accept(clock.pool, a_trigger())
    assert await claimed_within(queue, own, 3)
    await accept(clock.pool, a_trigger())
    assert await claimed_within(queue, own, 0.5), "the second one should need no look back"


async def test_waiting_trigger_shows_its_time_after_a_set_back_clock(clock: Clock) -> None:
    trigger = a_trigger()
    await accept(clock.pool, trigger)
    await clock.jump(-HOUR)
    queue = PostgresQueue(clock.pool)
    assert await queue.claim(shares(sandbox=5), 60) == []
    found = await find_delivery(clock.pool, trigger.id)
    assert found
    assert found.next_attempt_at
    assert found.next_attempt_at - found.accepted_at < dt.timedelta(minutes=1)
    await clock.jump(HOUR)  # the clock would reach it as well
    assert len(await queue.claim(shares(sandbox=5), 60)) == 1


async def test_waiting_retry_is_due_once_the_clock_is_set_forward(clock: Clock) -> None:
    queue = PostgresQueue(clock.pool)
    await accept(clock.pool, a_trigger())
    (claim,) = await queue.claim(shares(sandbox=5), 60)
    await queue.finish([ended(claim, AttemptOutcome.RETRY, retry_in=1800)])
    assert await queue.claim(shares(sandbox=5), 60) == []
    await clock.jump(HOUR)
    (again,) = await queue.claim(shares(sandbox=5), 60)
    assert again.attempt == 2


async def test_clock_set_forward_during_a_send_causes_no_second_send(clock: Clock) -> None:
    queue, provider, trigger = PostgresQueue(clock.pool), ScriptedProvider(), a_trigger()
    provider.open.clear()
    await accept(clock.pool, trigger, place=Placement("email/mail"))
    async with running(queue, provider):
        await provider.reached.wait()
        await clock.jump(HOUR)
        await until(
            lambda: clock.pool.fetchval("SELECT 1 FROM attempt WHERE outcome = 'lost'"),
            "an attempt is recorded as lost",
        )
        await asyncio.sleep(0.1)
        provider.open.set()
        await until(
            lambda: clock.pool.fetchval("SELECT 1 FROM attempt WHERE outcome = 'delivered'"),
            "an attempt is recorded as delivered",
        )
    await queue.close()
    assert provider.most == len(provider.sent) == 1
    found = await find_delivery(clock.pool, trigger.id)
    assert found
    assert found.state is DeliveryState.DELIVERED
    assert [attempt.outcome for attempt in found.attempts] == [AttemptOutcome.DELIVERED]
