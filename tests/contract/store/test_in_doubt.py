"""Attempts in doubt in the queue: held, given up, and named when the message is given up later."""

from __future__ import annotations

import pytest

from server.domain.delivery import AttemptOutcome, Claim, DeliveryState
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records.find import find_delivery
from tests.kit.outcomes import IN_DOUBT, LOST, RETRY
from tests.kit.store import a_trigger, accept, ended, shares

TEXT = "no answer; the message may have arrived"


async def claim_one(queue: PostgresQueue, lease: float = 60.0) -> Claim:
    [claim] = await queue.claim(shares(sandbox=5), lease)
    return claim


async def test_a_held_message_waits_and_remembers(pool: Pool) -> None:
    queue, trigger = PostgresQueue(pool), a_trigger()
    await accept(pool, trigger)
    first = await claim_one(queue)
    assert (first.doubts, first.may_have_arrived) == (0, False)
    await queue.finish([ended(first, IN_DOUBT, retry_in=1800, error=TEXT)])
    assert not await queue.claim(shares(sandbox=5), 60)
    found = await find_delivery(pool, trigger.id)
    assert found
    assert (found.state, [one.outcome for one in found.attempts]) == (DeliveryState.RETRYING, [IN_DOUBT])
    await pool.execute("UPDATE queue SET due_at = now()")
    second = await claim_one(PostgresQueue(pool))
    assert (second.doubts, second.may_have_arrived) == (1, True)


async def test_a_message_given_up_in_doubt_is_a_dead_letter(pool: Pool) -> None:
    queue, trigger = PostgresQueue(pool), a_trigger()
    await accept(pool, trigger)
    await queue.finish([ended(await claim_one(queue), IN_DOUBT, error=TEXT)])
    found = await find_delivery(pool, trigger.id)
    assert found
    assert (found.state, [one.outcome for one in found.attempts]) == (DeliveryState.DEAD, [IN_DOUBT])
    assert await pool.fetchval("SELECT error FROM dead_letter") == TEXT
    assert await pool.fetchval("SELECT count(*) FROM queue") == 0


@pytest.mark.parametrize("outcome", [IN_DOUBT, LOST, RETRY])
async def test_an_expired_message_may_have_arrived(pool: Pool, outcome: AttemptOutcome) -> None:
    queue = PostgresQueue(pool)
    await accept(pool, a_trigger())
    await queue.finish([ended(await claim_one(queue), outcome, retry_in=60)])
    await pool.execute("UPDATE queue SET expires_at = now()")
    assert await queue.bury_expired("late", "late, in doubt") == 1
    error = "late" if outcome is RETRY else "late, in doubt"
    assert await pool.fetchval("SELECT error FROM dead_letter") == error
    assert await pool.fetchval("SELECT error FROM attempt WHERE outcome = 'dead'") == error


async def test_the_claim_after_a_lost_lease_knows_of_it(pool: Pool) -> None:
    await accept(pool, a_trigger())
    await claim_one(PostgresQueue(pool), lease=0)
    second = await claim_one(PostgresQueue(pool))
    assert (second.attempt, second.doubts, second.may_have_arrived) == (2, 0, True)


async def test_doubts_before_a_redrive_do_not_count(pool: Pool) -> None:
    queue = PostgresQueue(pool)
    await accept(pool, a_trigger())
    await queue.finish([ended(await claim_one(queue), IN_DOUBT, retry_in=0, error=TEXT)])
    await pool.execute("UPDATE queue SET tries_from = attempt")  # as a redrive does
    again = await claim_one(PostgresQueue(pool))
    assert (again.tries, again.doubts, again.may_have_arrived) == (1, 0, True)
