"""Triggers that carry the content that an author tests, in the queue."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from server.domain.delivery import Claim, ClaimRequest, Released
from server.domain.placement import place
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records.test_sends import accept_test
from tests.kit.dispatch import make_campaign
from tests.kit.store import a_trigger

LONG_AGO = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
CONTENT = replace(make_campaign(id=44, providers=("backup",)), revision=-5)


async def claimed(queue: PostgresQueue) -> Claim:
    [claim] = await queue.claim([ClaimRequest("email/backup", "backup", 1)], 60)
    return claim


async def test_content_is_claimed_with_the_trigger(pool: Pool) -> None:
    trigger = a_trigger()
    async with pool.acquire() as connection, connection.transaction():
        await accept_test(connection, trigger, place(CONTENT, "", "UTC", LONG_AGO), CONTENT)
    claim = await claimed(PostgresQueue(pool))
    assert claim.trigger.id == trigger.id
    assert claim.content == replace(CONTENT, managed_by=None)


async def test_content_stays_in_its_lane(pool: Pool) -> None:
    """The campaign has other providers than its draft, through which the test is sent."""
    queue = PostgresQueue(pool)
    async with pool.acquire() as connection, connection.transaction():
        await accept_test(connection, a_trigger(), place(CONTENT, "", "UTC", LONG_AGO), CONTENT)
    await pool.execute("UPDATE queue SET due_at = now() - interval '1 minute'")
    assert (await queue.move_misplaced("email/backup", LONG_AGO, 10)).count == 0
    await queue.release([Released(await claimed(queue))])
    assert (await claimed(queue)).lane == "email/backup"
