"""Recipients that were refused for good: recorded with the refusal, seen by the next claim, listed."""

from __future__ import annotations

import asyncio

import pytest

from server.domain.campaign import Channel
from server.domain.delivery import DeliveryState
from server.store.admin.campaigns import apply_campaigns
from server.store.admin.suppressions import (
    SuppressionFilter,
    count_suppressions,
)
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records.admin_lists import AdminFilter
from server.store.records.find import find_delivery
from tests.kit.outcomes import DEAD, DELIVERED, SUPPRESSED
from tests.kit.store import a_campaign, a_trigger, accept, ended, redrive, shares
from tests.kit.suppressions import claim_one, listed, refuse, removed

NUMBER = "+15551234567"


async def test_refused_recipient_is_suppressed_in_the_same_commit(pool: Pool) -> None:
    trigger = a_trigger()
    await refuse(pool, trigger)
    found = await find_delivery(pool, trigger.id)
    assert found
    assert found.state is DeliveryState.DEAD
    [one] = await listed(pool)
    assert (one.project, one.channel, one.address) == ("one", Channel.EMAIL, trigger.address)
    assert (one.reason, one.provider, one.trigger_id) == ("550 unknown", "sandbox", trigger.id)
    assert trigger.address not in repr(one)


async def test_outcome_without_a_refusal_suppresses_no_recipient(pool: Pool) -> None:
    queue = PostgresQueue(pool)
    claim = await claim_one(pool, a_trigger())
    await queue.finish([ended(claim, DEAD, error="550 spam")])
    assert await listed(pool) == []


@pytest.mark.parametrize(
    ("changes", "suppressed"),
    [
        ({}, True),
        ({"campaign_id": 45}, True),
        ({"external_id": "another"}, True),
        ({"project_id": 2}, False),
        ({"address": "else@example.com"}, False),
        ({"address": "someone@EXAMPLE.Com"}, True),  # only domains have no case
        ({"address": "Someone@example.com"}, False),
        ({"channel": Channel.PUSH}, False),
    ],
)
async def test_next_claim_for_the_recipient_is_suppressed(
    pool: Pool, changes: dict[str, object], *, suppressed: bool
) -> None:
    await refuse(pool, a_trigger())
    claim = await claim_one(pool, a_trigger(**changes), "other")
    assert claim.suppressed == ("550 unknown" if suppressed else "")


async def test_domains_compare_without_case(pool: Pool) -> None:
    await refuse(pool, a_trigger(address="Zoe@Example.ORG"), a_trigger(address="Zoe@example.org"))
    await refuse(pool, a_trigger(channel=Channel.PUSH, address="Token@A"))
    assert [one.address for one in await listed(pool)] == ["Token@A", "Zoe@example.org"]
    assert [one.address for one in await listed(pool, address="Zoe@EXAMPLE.org")] == ["Zoe@example.org"]
    assert await removed(pool, channel=Channel.EMAIL, address="Zoe@exAMPLE.org") == 1


async def test_suppressed_trigger_is_not_a_dead_letter(pool: Pool) -> None:
    await refuse(pool, a_trigger())
    trigger, queue = a_trigger(), PostgresQueue(pool)
    await accept(pool, trigger)
    [claim] = await queue.claim(shares(sandbox=1), 60)
    for _ in range(2):  # as after an outage in the middle of the commit
        await queue.finish([ended(claim, SUPPRESSED, error="550 unknown")])
    found = await find_delivery(pool, trigger.id)
    assert found
    assert (found.state, found.next_attempt_at) == (DeliveryState.SUPPRESSED, None)
    assert [(one.number, one.outcome) for one in found.attempts] == [(1, SUPPRESSED)]
    assert await pool.fetchval("SELECT count(*) FROM dead_letter WHERE trigger_id = $1", trigger.id) == 0
    assert await pool.fetchval("SELECT count(*) FROM queue") == 0


async def test_suppressed_trigger_can_be_retried_after_removal(pool: Pool) -> None:
    await apply_campaigns(pool, [a_campaign()])
    await refuse(pool, a_trigger())
    trigger, queue = a_trigger(), PostgresQueue(pool)
    await accept(pool, trigger)
    [claim] = await queue.claim(shares(sandbox=1), 60)
    await queue.finish([ended(claim, SUPPRESSED, error="550 unknown")])
    assert await redrive(pool, AdminFilter(), [trigger.id]) == 0
    assert await removed(pool, channel=Channel.EMAIL, address=trigger.address) == 1
    assert await redrive(pool, AdminFilter()) == 1  # the refused one; --all retries dead letters only
    counts = await asyncio.gather(*(redrive(pool, AdminFilter(), [trigger.id]) for _ in range(3)))
    assert sorted(counts) == [0, 0, 1]
    claims = await queue.claim(shares(sandbox=2), 60)
    [again] = [one for one in claims if one.trigger.id == trigger.id]
    assert (again.attempt, again.suppressed) == (2, "")
    await queue.finish([ended(again, DELIVERED)])
    assert await redrive(pool, AdminFilter(), [trigger.id]) == 0


async def test_lost_lease_cannot_suppress_for_the_holder(pool: Pool) -> None:
    trigger, stale = a_trigger(), PostgresQueue(pool)
    await accept(pool, trigger)
    [claim] = await stale.claim(shares(sandbox=1), 0.0)
    await PostgresQueue(pool).claim(shares(sandbox=1), 60)
    await stale.finish([ended(claim, SUPPRESSED)])
    found = await find_delivery(pool, trigger.id)
    assert found
    assert found.state is DeliveryState.SENDING


async def test_first_refusal_determines_the_reason(
    pool: Pool,
) -> None:
    await refuse(pool, a_trigger(), a_trigger(), a_trigger(), words="550 first")
    await refuse(pool, a_trigger(), words="550 second")
    assert [one.reason for one in await listed(pool)] == ["550 first"]


async def test_suppressions_are_listed_newest_first(pool: Pool) -> None:
    await refuse(pool, a_trigger(address="a@example.com"))
    await refuse(pool, a_trigger(address="a@example.com", project_id=2))
    await refuse(pool, a_trigger(address=NUMBER, channel=Channel.TEXT))
    everywhere = [("one", NUMBER), ("two", "a@example.com"), ("one", "a@example.com")]
    found = [
        await listed(pool),
        await listed(pool, limit=1),
        await listed(pool, project="one"),
        await listed(pool, channel=Channel.TEXT),
        await listed(pool, address="a@example.com"),
        await listed(pool, project="two", channel=Channel.TEXT),
        await listed(pool, project="none"),
        await listed(pool, address="%"),
    ]
    assert [[(one.project, one.address) for one in some] for some in found] == [
        everywhere,
        everywhere[:1],
        [everywhere[0], everywhere[2]],
        everywhere[:1],
        everywhere[1:],
        [],
        [],
        [],
    ]


async def test_suppressions_are_counted_by_reason(pool: Pool) -> None:
    await refuse(pool, *[a_trigger(address=f"{n}@example.com") for n in range(3)])
    await refuse(pool, a_trigger(address="x@example.com"), words="550 other")
    found, total, more = await count_suppressions(pool, SuppressionFilter(), 100)
    assert total == 4
    assert [(one.reason, one.recipients, one.channel) for one in found] == [
        ("550 unknown", 3, Channel.EMAIL), ("550 other", 1, Channel.EMAIL),
    ]  # fmt: skip
    assert found[0].first_at <= found[0].last_at
    assert not more
    assert await count_suppressions(pool, SuppressionFilter(), 1) == (found[:1], 4, False)
    _, total, more = await count_suppressions(pool, SuppressionFilter(), 100, scan=3)  # the newest
    assert (total, more) == (3, True)
    oldest = await pool.fetchval("SELECT address FROM suppression ORDER BY created_at, address LIMIT 1")
    _, total, more = await count_suppressions(pool, SuppressionFilter(address=oldest), 100, scan=1)
    assert (total >= 1, more) == (True, False)
