"""The versions of campaigns in the record of attempts."""

from __future__ import annotations

from msgspec.structs import replace

from server.domain.delivery import AttemptOutcome, Claim, Finished
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records.find import find_delivery
from tests.kit.outcomes import DELIVERED, LOST, RETRY
from tests.kit.store import a_trigger, accept, ended, shares


def with_version(claim: Claim, outcome: AttemptOutcome, version: int | None) -> Finished:
    """Return the outcome of an attempt that used a version."""
    finished = ended(claim, outcome, retry_in=0 if outcome is RETRY else None)
    return replace(finished, attempt=replace(finished.attempt, campaign_version=version))


async def test_versions_are_read_as_they_were_recorded(pool: Pool) -> None:
    queue, trigger = PostgresQueue(pool), a_trigger()
    await accept(pool, trigger)
    for outcome, version in ((RETRY, 3), (RETRY, None), (DELIVERED, 4)):
        [claim] = await queue.claim(shares(sandbox=1), 60)
        await queue.finish([with_version(claim, outcome, version)])
    found = await find_delivery(pool, trigger.id)
    assert found
    assert [one.campaign_version for one in found.attempts] == [3, None, 4]


async def test_a_late_outcome_adds_the_version_of_a_lost_attempt(pool: Pool) -> None:
    queue, trigger = PostgresQueue(pool), a_trigger()
    await accept(pool, trigger)
    [first] = await queue.claim(shares(sandbox=1), 0)
    await PostgresQueue(pool).claim(shares(sandbox=1), 60)
    found = await find_delivery(pool, trigger.id)
    assert found
    assert [(one.outcome, one.campaign_version) for one in found.attempts] == [(LOST, None)]
    await queue.finish([with_version(first, DELIVERED, 3)])
    found = await find_delivery(pool, trigger.id)
    assert found
    assert [(one.outcome, one.campaign_version) for one in found.attempts] == [(DELIVERED, 3)]
