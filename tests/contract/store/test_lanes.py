"""Lanes: what there is in the queue, who gets what of it, and where a claim begins to look."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter

import asyncpg
import pytest

from server.domain.delivery import AttemptOutcome, ClaimRequest, Released
from server.domain.placement import Placement
from server.errors import StoreUnavailable
from server.store.pool import Pool
from server.store.queue.scan_floor import LOOK_AT_ALL_EVERY, LOOK_BACK_EVERY
from server.store.queue.triggers import PostgresQueue
from server.store.records.find import find_delivery
from tests.kit.clock import FakeClock
from tests.kit.store import a_trigger, accept, held_commits, shares, waiting_backends
from tests.kit.until import until

SOON = dt.timedelta(hours=1)
LATE = "INSERT INTO queue (trigger_id, lane, due_at) VALUES ($1, 'email/sandbox', now() - $2::interval)"
RECORD = """
    INSERT INTO trigger SELECT $1, 1, 44, 'email', 'ext-1', 'someone@example.com', '', '', '', '', now(), ''
"""


async def placed(pool: Pool, lane: str, count: int = 1) -> None:
    await accept(pool, *(a_trigger() for _ in range(count)), place=Placement(lane))


async def test_the_lanes_are_those_in_which_anything_waits_due_or_not(pool: Pool) -> None:
    queue = PostgresQueue(pool)
    assert await queue.lanes() == set()
    later = dt.datetime.now(dt.UTC) + SOON
    await accept(pool, a_trigger(), place=Placement("push/a", due_at=later))
    for lane in ("email/a", "email/a,b", "text/a"):
        await placed(pool, lane, 3)
    assert await queue.lanes() == {"push/a", "email/a", "email/a,b", "text/a"}
    await queue.claim([ClaimRequest("text/a", "a", 9)], 60)
    assert "text/a" in await queue.lanes()  # held: it may become due again
    await pool.execute("DELETE FROM queue WHERE lane < 'push'")
    assert await queue.lanes() == {"push/a", "text/a"}


async def test_a_claim_serves_several_lanes_and_notes_who_sends(pool: Pool) -> None:
    for lane in ("email/a", "email/a,b", "text/a"):
        await placed(pool, lane, 3)
    wanted = [
        ClaimRequest("email/a,b", "b", 2),
        ClaimRequest("email/a", "a", 1),
        ClaimRequest("text/none", "a", 5),
    ]
    claims = await PostgresQueue(pool).claim(wanted, 60)
    assert Counter((claim.lane, claim.provider) for claim in claims) == {
        ("email/a,b", "b"): 2,
        ("email/a", "a"): 1,
    }
    noted = await pool.fetch("SELECT trigger_id, lane, sent_by FROM queue WHERE claimed_by IS NOT NULL")
    assert {(row["trigger_id"], row["lane"], row["sent_by"]) for row in noted} == {
        (claim.trigger.id, claim.lane, claim.provider) for claim in claims
    }


async def test_a_lost_attempt_names_the_provider_that_was_to_send_it(pool: Pool) -> None:
    await placed(pool, "email/a,b")
    queue = PostgresQueue(pool)
    [claim] = await queue.claim([ClaimRequest("email/a,b", "b", 1)], 0.0)
    [again] = await queue.claim([ClaimRequest("email/a,b", "a", 1)], 60)
    found = await find_delivery(pool, claim.trigger.id)
    assert found
    assert [(one.provider, one.outcome) for one in found.attempts] == [("b", AttemptOutcome.LOST)]
    assert (again.provider, again.attempt, again.lane) == ("a", 2, "email/a,b")


async def test_what_is_due_later_is_not_claimed_before(pool: Pool) -> None:
    now = dt.datetime.now(dt.UTC)
    trigger = a_trigger()
    await accept(pool, trigger, place=Placement("email/sandbox", due_at=now + SOON, expires_at=now + SOON))
    queue = PostgresQueue(pool)
    assert await queue.claim(shares(sandbox=1), 60) == []
    found = await find_delivery(pool, trigger.id)
    assert found
    assert found.next_attempt_at == now + SOON
    await pool.execute("UPDATE queue SET due_at = now()")
    [claim] = await queue.claim(shares(sandbox=1), 60)
    assert claim.expires_at == now + SOON


async def test_a_released_claim_is_due_after_its_wait(pool: Pool) -> None:
    await placed(pool, "email/sandbox", 2)
    queue = PostgresQueue(pool)
    first, second = await queue.claim(shares(sandbox=2), 60)
    await queue.release([Released(first, 3600.0), Released(second)])
    [again] = await queue.claim(shares(sandbox=2), 60)
    assert (again.trigger.id, again.attempt) == (second.trigger.id, 1)
    row = await pool.fetchrow(
        "SELECT attempt, claimed_by, extract(epoch FROM due_at - now())::float8 AS wait FROM queue"
        " WHERE trigger_id = $1",
        first.trigger.id,
    )
    assert row
    assert (row["attempt"], row["claimed_by"]) == (0, None)
    assert 3590 < row["wait"] <= 3600


async def late(pool: Pool, seconds: float) -> None:
    """Make a trigger whose transaction began so long ago and ends now."""
    trigger = a_trigger()
    await pool.execute(RECORD, trigger.id)
    await pool.execute(LATE, trigger.id, dt.timedelta(seconds=seconds))


async def claimed(queue: PostgresQueue) -> int:
    return len(await queue.claim(shares(sandbox=9), 60))


async def test_late_commit_below_the_floor_is_found_by_a_look_back(pool: Pool) -> None:
    clock = FakeClock()
    queue = PostgresQueue(pool, clock)
    assert await claimed(queue) == 0
    await late(pool, 5)
    assert await claimed(queue) == 0
    clock.advance(LOOK_BACK_EVERY)
    assert await claimed(queue) == 1


async def test_trigger_far_below_the_floor_is_found_in_a_minute(pool: Pool) -> None:
    clock = FakeClock()
    queue = PostgresQueue(pool, clock)
    await claimed(queue)
    await late(pool, 3600)
    clock.advance(LOOK_BACK_EVERY)
    assert await claimed(queue) == 0
    clock.advance(LOOK_AT_ALL_EVERY - LOOK_BACK_EVERY)
    assert await claimed(queue) == 1


async def test_late_batch_is_found_whole_with_room_for_one(
    pool: Pool,
) -> None:
    clock = FakeClock()
    queue = PostgresQueue(pool, clock)
    await claimed(queue)
    for _ in range(5):
        await late(pool, 3600)
    clock.advance(LOOK_AT_ALL_EVERY)
    assert [len(await queue.claim(shares(sandbox=1), 60)) for _ in range(6)] == [1, 1, 1, 1, 1, 0]


async def test_a_commit_that_took_a_moment_is_found_at_once(pool: Pool, url: str) -> None:
    queue, trigger, slow = PostgresQueue(pool, FakeClock()), a_trigger(), await asyncpg.connect(url)
    await pool.execute(RECORD, trigger.id)
    async with slow.transaction():
        await slow.execute(LATE, trigger.id, dt.timedelta())
        assert await claimed(queue) == 0
    await slow.close()
    assert await claimed(queue) == 1


async def test_the_floor_does_not_rise_above_what_a_full_claim_left(pool: Pool) -> None:
    await placed(pool, "email/sandbox", 30)
    queue = PostgresQueue(pool, FakeClock())
    await pool.execute(
        "UPDATE queue SET due_at = now() - (row * interval '1 s') FROM"
        " (SELECT trigger_id AS id, row_number() OVER () AS row FROM queue) AS numbered WHERE id = trigger_id"
    )
    assert [await claimed(queue) for _ in range(5)] == [9, 9, 9, 3, 0]


async def test_a_share_of_nothing_and_no_share_at_all_claim_nothing(pool: Pool) -> None:
    await placed(pool, "email/sandbox")
    queue = PostgresQueue(pool, FakeClock())
    assert await queue.claim(shares(sandbox=0), 60) == []
    assert await claimed(queue) == 1


async def test_after_an_outage_a_claim_looks_at_all(pool: Pool, url: str) -> None:
    queue = PostgresQueue(pool, FakeClock())
    await claimed(queue)
    await late(pool, 3600)
    assert await claimed(queue) == 0
    async with held_commits(url) as onlooker:
        claiming = asyncio.create_task(claimed(queue))
        await until(lambda: waiting_backends(onlooker), "a statement waits for the lock")
        [backend] = await waiting_backends(onlooker)
        await onlooker.execute("SELECT pg_terminate_backend($1)", backend)
        with pytest.raises(StoreUnavailable):
            await claiming
    assert await claimed(queue) == 1
