"""The queue: who gets what, for how long, and what is recorded."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import asyncpg
import pytest

from server.domain.delivery import AttemptOutcome, Claim, DeliveryState, Released
from server.domain.placement import Placement
from server.domain.trigger import Trigger
from server.store.accept.notify import Notifier
from server.store.pool import Pool, open_pool
from server.store.queue.triggers import PostgresQueue
from server.store.records.find import find_delivery
from tests.kit.outcomes import DEAD, DELIVERED, LOST, RETRY
from tests.kit.store import (
    PLACE,
    a_trigger,
    accept,
    ended,
    shares,
    terminate_listeners,
    until_listening,
    writing,
)
from tests.kit.until import until

OVER = 0.0  # a lease that has run out when it begins


async def one_claim(pool: Pool, *, lease: float = 60) -> tuple[PostgresQueue, Trigger, Claim]:
    """Accept one trigger and claim it."""
    queue, trigger = PostgresQueue(pool), a_trigger()
    await accept(pool, trigger)
    [claim] = await queue.claim(shares(sandbox=1), lease)
    return queue, trigger, claim


async def state_of(pool: Pool, trigger: Trigger) -> tuple[DeliveryState, list[tuple[int, AttemptOutcome]]]:
    found = await find_delivery(pool, trigger.id)
    assert found
    return found.state, [(attempt.number, attempt.outcome) for attempt in found.attempts]


async def test_a_claim_holds_the_trigger_as_it_was_accepted(pool: Pool) -> None:
    trigger = a_trigger(timezone="UTC", locale="en", user_data='{"a": 1}', event='{"b":  2}')
    await accept(pool, trigger, place=Placement("email/smtp"))
    [claim] = await PostgresQueue(pool).claim(shares(smtp=5), 60)
    assert claim.trigger.accepted_at is not None
    assert (claim.attempt, claim.provider) == (1, "smtp")
    for name in (
        "id",
        "project_id",
        "campaign_id",
        "channel",
        "external_id",
        "address",
        "event",
        "user_data",
    ):
        assert getattr(claim.trigger, name) == getattr(trigger, name)
    assert 55 < (claim.leased_until - claim.trigger.accepted_at).total_seconds() < 65


async def test_what_waits_longest_is_claimed_first(pool: Pool) -> None:
    triggers = [a_trigger() for _ in range(6)]
    async with writing(pool) as writer:  # one for all: each keeps a connection of the pool
        for trigger in triggers:
            await writer.add(trigger, PLACE)
    await pool.execute(
        "UPDATE queue SET due_at = due_at - interval '1 h' WHERE trigger_id = $1", triggers[4].id
    )
    queue = PostgresQueue(pool)
    first = await queue.claim(shares(sandbox=2), 60)
    rest = await queue.claim(shares(sandbox=10), 60)
    assert [claim.trigger.id for claim in first] == [triggers[0].id, triggers[4].id]
    assert [claim.trigger.id for claim in rest] == [triggers[n].id for n in (1, 2, 3, 5)]


async def test_each_provider_gets_at_most_its_slots(pool: Pool) -> None:
    for provider in ("a", "b", "c"):
        await accept(pool, *(a_trigger() for _ in range(5)), place=Placement(f"email/{provider}"))
    claims = await PostgresQueue(pool).claim(shares(a=2, b=9, none=3), 60)
    assert Counter(claim.provider for claim in claims) == {"a": 2, "b": 5}
    assert await PostgresQueue(pool).claim(shares(a=0), 60) == []


async def test_two_dispatchers_never_claim_the_same(pool: Pool) -> None:
    await accept(pool, *(a_trigger() for _ in range(1000)))

    async def claim_all() -> list[Any]:
        queue, mine = PostgresQueue(pool), []
        while claims := await queue.claim(shares(sandbox=16), 60):
            mine += [claim.trigger.id for claim in claims]
        return mine

    first, second = await asyncio.gather(claim_all(), claim_all())
    assert first
    assert second
    assert len({*first, *second}) == len(first) + len(second) == 1000


async def test_rows_locked_by_another_claim_are_skipped(pool: Pool, url: str) -> None:
    await accept(pool, a_trigger(), a_trigger())
    other = await asyncpg.connect(url)
    async with other.transaction():
        held = await other.fetchval("SELECT trigger_id FROM queue LIMIT 1 FOR UPDATE")
        [claim] = await asyncio.wait_for(PostgresQueue(pool).claim(shares(sandbox=5), 60), 60)
    await other.close()
    assert claim.trigger.id != held


async def test_expired_lease_is_recorded_as_lost(pool: Pool) -> None:
    _, trigger, _ = await one_claim(pool, lease=OVER)
    [again] = await PostgresQueue(pool).claim(shares(sandbox=1), 60)
    assert (again.trigger.id, again.attempt) == (trigger.id, 2)
    assert await state_of(pool, trigger) == (DeliveryState.SENDING, [(1, LOST)])
    assert await PostgresQueue(pool).claim(shares(sandbox=1), 60) == []


async def test_delivered_is_the_end(pool: Pool) -> None:
    queue, trigger, claim = await one_claim(pool)
    await queue.finish([ended(claim, DELIVERED)])
    assert await state_of(pool, trigger) == (DeliveryState.DELIVERED, [(1, DELIVERED)])
    assert await pool.fetchval("SELECT count(*) FROM queue") == 0


async def test_a_retry_is_due_again_after_its_delay(pool: Pool) -> None:
    queue, trigger, claim = await one_claim(pool)
    await queue.finish([ended(claim, RETRY, retry_in=600, error="451 later")])
    assert await state_of(pool, trigger) == (DeliveryState.RETRYING, [(1, RETRY)])
    assert await queue.claim(shares(sandbox=1), 60) == []
    delay = await pool.fetchval("SELECT extract(epoch FROM due_at - now())::float8 FROM queue")
    assert 590 < delay <= 600
    await pool.execute("UPDATE queue SET due_at = now()")
    [again] = await queue.claim(shares(sandbox=1), 60)
    assert again.attempt == 2
    await queue.finish([ended(again, DELIVERED)])
    assert await state_of(pool, trigger) == (DeliveryState.DELIVERED, [(1, RETRY), (2, DELIVERED)])


async def test_what_was_given_up_is_a_dead_letter(pool: Pool) -> None:
    queue, trigger, claim = await one_claim(pool)
    await queue.finish([ended(claim, DEAD, error="550 no such user")])
    assert await state_of(pool, trigger) == (DeliveryState.DEAD, [(1, DEAD)])
    assert await pool.fetchval("SELECT error FROM dead_letter") == "550 no such user"
    assert await pool.fetchval("SELECT count(*) FROM queue") == 0


async def test_outcomes_share_a_commit_and_may_be_repeated(pool: Pool) -> None:
    triggers = [a_trigger() for _ in range(3)]
    await accept(pool, *triggers)
    queue = PostgresQueue(pool)
    one, two, three = await queue.claim(shares(sandbox=3), 60)
    outcomes = [ended(one, DELIVERED), ended(two, RETRY, retry_in=60), ended(three, DEAD)]
    for _ in range(2):  # as after an outage in the middle of the commit
        await queue.finish(outcomes)
    states = [(await state_of(pool, claim.trigger))[0] for claim in (one, two, three)]
    assert states == [DeliveryState.DELIVERED, DeliveryState.RETRYING, DeliveryState.DEAD]
    assert await pool.fetchval("SELECT count(*) FROM attempt") == 3


@pytest.mark.parametrize("outcome", [RETRY, DEAD])
async def test_who_lost_the_lease_does_not_disturb_the_present_holder(
    pool: Pool, outcome: AttemptOutcome
) -> None:
    stale, trigger, claim = await one_claim(pool, lease=OVER)
    holder = PostgresQueue(pool)
    [again] = await holder.claim(shares(sandbox=1), 60)
    await stale.finish([ended(claim, outcome, retry_in=0 if outcome is RETRY else None)])
    await stale.release([Released(claim)])
    assert await state_of(pool, trigger) == (DeliveryState.SENDING, [(1, outcome)])
    assert await stale.claim(shares(sandbox=1), 60) == []
    await holder.finish([ended(again, DELIVERED)])
    assert await state_of(pool, trigger) == (DeliveryState.DELIVERED, [(1, outcome), (2, DELIVERED)])


async def test_first_claim_does_not_affect_a_later_one(
    pool: Pool,
) -> None:
    queue, trigger, claim = await one_claim(pool, lease=OVER)
    [again] = await queue.claim(shares(sandbox=1), 60)
    await queue.release([Released(claim)])
    await queue.finish([ended(claim, RETRY, retry_in=0)])
    assert await state_of(pool, trigger) == (DeliveryState.SENDING, [(1, RETRY)])
    await queue.finish([ended(again, DELIVERED)])
    assert (await state_of(pool, trigger))[0] is DeliveryState.DELIVERED


async def test_a_late_yes_overrides_lost_and_ends_the_delivery(pool: Pool) -> None:
    stale, trigger, claim = await one_claim(pool, lease=OVER)
    await PostgresQueue(pool).claim(shares(sandbox=1), 60)
    await stale.finish([ended(claim, DELIVERED)])
    assert await state_of(pool, trigger) == (DeliveryState.DELIVERED, [(1, DELIVERED)])


async def test_a_late_yes_raises_a_dead_letter(pool: Pool) -> None:
    stale, trigger, claim = await one_claim(pool, lease=OVER)
    holder = PostgresQueue(pool)
    [again] = await holder.claim(shares(sandbox=1), 60)
    await holder.finish([ended(again, DEAD)])
    await stale.finish([ended(claim, DELIVERED)])
    assert await state_of(pool, trigger) == (DeliveryState.DELIVERED, [(1, DELIVERED), (2, DEAD)])


async def test_handing_back_counts_no_attempt(pool: Pool) -> None:
    queue, trigger, claim = await one_claim(pool)
    await queue.release([Released(claim)])
    assert await state_of(pool, trigger) == (DeliveryState.PENDING, [])
    [again] = await PostgresQueue(pool).claim(shares(sandbox=1), 60)
    assert again.attempt == 1


async def test_waiting_ends_at_once_when_work_is_announced(pool: Pool) -> None:
    queue, announcer = PostgresQueue(pool), Notifier(pool)
    announcing = asyncio.create_task(announcer.run())
    await until_listening(queue)
    for _ in range(3):
        waiting = asyncio.create_task(queue.wait(600))
        await asyncio.sleep(0)
        announcer.notify()
        await asyncio.wait_for(waiting, 60)
    announcing.cancel()
    await queue.close()


async def test_waiting_ends_after_its_time_when_nothing_comes(pool: Pool) -> None:
    queue = PostgresQueue(pool)
    began = time.perf_counter()
    await asyncio.wait_for(queue.wait(0.2), 60)
    assert time.perf_counter() - began > 0.19
    await queue.close()


async def test_news_that_came_before_the_wait_is_not_missed(pool: Pool) -> None:
    queue = PostgresQueue(pool)
    await until_listening(queue)
    await pool.execute("NOTIFY clarion_queue")
    await asyncio.wait_for(queue.wait(600), 60)
    await queue.close()


async def test_lost_listener_reconnects_and_frees_its_connection(pool: Pool) -> None:
    queue = PostgresQueue(pool)

    async def loses_its_connection() -> int:
        await queue.wait(0.05)
        return await terminate_listeners(pool)

    async def receives_news() -> bool:
        await queue.wait(0.05)
        waiting = asyncio.create_task(queue.wait(2))
        await pool.execute("NOTIFY clarion_queue")
        began = time.perf_counter()
        await waiting
        return time.perf_counter() - began < 1

    for _ in range(8):  # more often than the pool has connections
        await until(loses_its_connection, "the listener is terminated")
    await until(receives_news, "the listener listens again")
    await asyncio.wait_for(asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.01)") for _ in range(5))), 60)
    await queue.close()
    await queue.close()


async def test_waits_that_are_cut_short_take_no_connection_for_good(url: str) -> None:
    small = await open_pool(url, size=2, connect_timeout=60)
    queue = PostgresQueue(small)
    for _ in range(20):
        await queue.wait(0)
        await queue.wait(0.0005)
    await asyncio.wait_for(small.fetchval("SELECT 1"), 60)
    await queue.close()
    small.terminate()


async def test_a_renewed_lease_lasts_longer(pool: Pool) -> None:
    queue, other = PostgresQueue(pool), PostgresQueue(pool)
    await accept(pool, a_trigger(), a_trigger())
    kept, left = await queue.claim(shares(sandbox=2), 0.2)
    assert await queue.renew([kept], 600) == {kept.id}
    claims: list[Claim] = []

    async def claimed_by_other() -> bool:
        claims.extend(await other.claim(shares(sandbox=2), 600))
        return bool(claims)

    await until(claimed_by_other, "the lease that was not renewed ends")
    assert [claim.id for claim in claims] == [left.id]
    assert await queue.renew([kept, left], 600) == {kept.id}  # another dispatcher holds the second one
