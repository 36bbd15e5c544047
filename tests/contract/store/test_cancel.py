"""Cancelling: who comes first, the caller or a dispatcher, and what is on record then."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from server.domain.delivery import AttemptOutcome, Claim, Delivery, DeliveryState, Released
from server.domain.trigger import Trigger
from server.store.pool import Pool, open_pool
from server.store.queue.triggers import SESSION, PostgresQueue
from server.store.records.admin_lists import AdminFilter
from server.store.records.cancel import cancel
from server.store.records.find import find_delivery
from tests.kit.store import a_trigger, accept, cancel_all, ended, list_deliveries, shares, waiting_backends
from tests.kit.until import until

DELIVERED, RETRY, DEAD, LOST = (
    AttemptOutcome.DELIVERED,
    AttemptOutcome.RETRY,
    AttemptOutcome.DEAD,
    AttemptOutcome.LOST,
)
OVER = 0.0  # a lease that has run out when it begins


async def accepted(pool: Pool) -> Trigger:
    trigger = a_trigger()
    await accept(pool, trigger)
    return trigger


async def shown(pool: Pool, trigger: Trigger) -> Delivery:
    found = await find_delivery(pool, trigger.id)
    assert found
    return found


async def claimed(pool: Pool, lease: float = 60) -> tuple[PostgresQueue, Trigger, Claim]:
    queue, trigger = PostgresQueue(pool), await accepted(pool)
    [claim] = await queue.claim(shares(sandbox=1), lease)
    return queue, trigger, claim


async def test_cancelled_trigger_is_never_claimed(pool: Pool) -> None:
    trigger = await accepted(pool)
    assert await cancel(pool, trigger.id)
    assert await PostgresQueue(pool).claim(shares(sandbox=5), 60) == []
    found = await shown(pool, trigger)
    assert (found.state, found.attempts) == (DeliveryState.CANCELLED, ())
    assert found.cancelled_at is not None
    assert found.next_attempt_at is None


async def test_cancelling_twice_changes_nothing(pool: Pool) -> None:
    trigger = await accepted(pool)
    assert await cancel(pool, trigger.id)
    before = await shown(pool, trigger)
    assert not await cancel(pool, trigger.id)
    assert await shown(pool, trigger) == before


async def test_what_was_never_accepted_cannot_be_cancelled(pool: Pool) -> None:
    assert not await cancel(pool, uuid.uuid4())
    assert await pool.fetchval("SELECT count(*) FROM cancellation") == 0


@pytest.mark.parametrize("outcome", [None, DELIVERED, DEAD])
async def test_what_is_being_sent_or_has_ended_stays_as_it_is(
    pool: Pool, outcome: AttemptOutcome | None
) -> None:
    queue, trigger, claim = await claimed(pool)
    if outcome:
        await queue.finish([ended(claim, outcome)])
    before = await shown(pool, trigger)
    assert not await cancel(pool, trigger.id)
    assert await shown(pool, trigger) == before


async def test_cancelled_retry_keeps_its_attempts(pool: Pool) -> None:
    queue, trigger, claim = await claimed(pool)
    await queue.finish([ended(claim, RETRY, retry_in=0, error="451 later")])
    assert await cancel(pool, trigger.id)
    assert await queue.claim(shares(sandbox=5), 60) == []
    found = await shown(pool, trigger)
    assert found.state is DeliveryState.CANCELLED
    assert [attempt.outcome for attempt in found.attempts] == [RETRY]


async def test_a_released_trigger_can_be_cancelled(pool: Pool) -> None:
    queue, trigger, claim = await claimed(pool)
    assert not await cancel(pool, trigger.id)
    await queue.release([Released(claim, 600)])
    assert await cancel(pool, trigger.id)


async def test_attempt_of_a_dead_dispatcher_is_recorded_as_lost(pool: Pool) -> None:
    _, trigger, _ = await claimed(pool, OVER)
    assert await cancel(pool, trigger.id)
    found = await shown(pool, trigger)
    assert (found.state, [one.outcome for one in found.attempts]) == (DeliveryState.CANCELLED, [LOST])


async def test_what_was_sent_after_all_is_shown_as_delivered(pool: Pool) -> None:
    queue, trigger, claim = await claimed(pool, OVER)
    assert await cancel(pool, trigger.id)
    await queue.finish([ended(claim, DELIVERED)])
    found = await shown(pool, trigger)
    assert (found.state, found.cancelled_at) == (DeliveryState.DELIVERED, None)


@pytest.mark.parametrize("attempts", [1, 2])
async def test_delivery_during_a_cancellation_counts(pool: Pool, attempts: int) -> None:
    queue, trigger, claim = await claimed(pool, OVER)
    for _ in range(1, attempts):  # others tried since, and died too
        await queue.claim(shares(sandbox=1), OVER)
    async with pool.acquire() as caller:
        begun = caller.transaction()
        await begun.start()
        assert await cancel(caller, trigger.id)
        late = asyncio.create_task(queue.finish([ended(claim, DELIVERED)]))
        await until(lambda: waiting_backends(caller), "a statement waits for the lock")
        await begun.commit()
    await late
    assert await pool.fetchval("SELECT count(*) FROM cancellation") == 1  # neither has seen the other
    found = await shown(pool, trigger)
    assert (found.state, found.cancelled_at) == (DeliveryState.DELIVERED, None)
    assert await list_deliveries(pool, DeliveryState.CANCELLED, AdminFilter(), 5) == []


@pytest.mark.parametrize("outcome", [RETRY, DEAD])
async def test_a_late_failure_does_not_bring_a_cancelled_trigger_back(
    pool: Pool, outcome: AttemptOutcome
) -> None:
    queue, trigger, claim = await claimed(pool, OVER)
    assert await cancel(pool, trigger.id)
    await queue.finish([ended(claim, outcome, retry_in=0 if outcome is RETRY else None)])
    assert (await shown(pool, trigger)).state is DeliveryState.CANCELLED
    assert await queue.claim(shares(sandbox=5), 60) == []


async def test_no_trigger_is_both_cancelled_and_claimed(pool: Pool, url: str) -> None:
    triggers = [a_trigger() for _ in range(300)]
    await accept(pool, *triggers)
    of_dispatcher = await open_pool(url, size=2, connect_timeout=60, settings=SESSION)
    queue, claims = PostgresQueue(of_dispatcher), list[Claim]()

    async def claim_all() -> None:
        while found := await queue.claim(shares(sandbox=7), 60):
            claims.extend(found)

    backwards = triggers[::-1]  # the dispatcher begins at the front
    *cancelled, _ = await asyncio.gather(*(cancel(pool, one.id) for one in backwards), claim_all())
    of_dispatcher.terminate()
    won = {one.id for one, called_off in zip(backwards, cancelled, strict=True) if called_off}
    held = {claim.trigger.id for claim in claims}
    assert won
    assert held
    assert won.isdisjoint(held)
    assert won | held == {one.id for one in triggers}
    states = {(await shown(pool, one)).state for one in triggers}
    assert states == {DeliveryState.CANCELLED, DeliveryState.SENDING}


async def test_only_chosen_waiting_triggers_are_cancelled(pool: Pool) -> None:
    sending = (await claimed(pool))[1]
    wanted = [a_trigger(campaign_id=45) for _ in range(1500)]
    other = a_trigger()
    await accept(pool, *wanted, other)
    assert await cancel_all(pool, AdminFilter(campaign_id=45)) == 1500
    assert await cancel_all(pool, AdminFilter(campaign_id=45)) == 0
    assert await cancel_all(pool, AdminFilter(), [sending.id, wanted[0].id]) == 0
    assert (await shown(pool, other)).state is DeliveryState.PENDING
    assert await cancel_all(pool, AdminFilter(), [other.id]) == 1
    assert (await shown(pool, sending)).state is DeliveryState.SENDING
