"""Recipients that were refused for good: recorded with the refusal, seen by the next claim, removed."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from server.domain.campaign import Channel
from server.domain.delivery import AttemptOutcome, Claim, ClaimRequest, DeliveryState
from server.domain.placement import Placement
from server.domain.trigger import Trigger
from server.store.admin.campaigns import apply_campaigns
from server.store.admin.suppressions import (
    REMOVED_AT_ONCE,
    Removed,
    Suppression,
    SuppressionFilter,
    count_stopped,
    count_suppressions,
    database_time,
    list_suppressions,
    remove_suppressions,
)
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records.admin_lists import AdminFilter
from server.store.records.find import find_delivery
from tests.kit.store import a_campaign, a_trigger, accept, ended, redrive, shares

DEAD, SUPPRESSED, DELIVERED = AttemptOutcome.DEAD, AttemptOutcome.SUPPRESSED, AttemptOutcome.DELIVERED
NUMBER = "+15551234567"


async def claim_one(pool: Pool, trigger: Trigger, provider: str = "sandbox") -> Claim:
    """Accept a trigger and claim it."""
    lane = f"{trigger.channel}/{provider}"
    await accept(pool, trigger, place=Placement(lane))
    [claim] = await PostgresQueue(pool).claim([ClaimRequest(lane, provider, 1)], 60)
    return claim


async def refuse(pool: Pool, *triggers: Trigger, words: str = "550 unknown") -> None:
    """Deliver triggers whose recipients the provider refuses."""
    queue = PostgresQueue(pool)
    lanes = {f"{trigger.channel}/sandbox" for trigger in triggers}
    for trigger in triggers:
        await accept(pool, trigger, place=Placement(f"{trigger.channel}/sandbox"))
    claims = await queue.claim([ClaimRequest(lane, "sandbox", 9) for lane in lanes], 60)
    await queue.finish([replace(ended(claim, DEAD, error=words), refusal=words) for claim in claims])


async def listed(pool: Pool, *, limit: int = 100, **wanted: Any) -> list[Suppression]:
    return await list_suppressions(pool, SuppressionFilter(**wanted), limit)


async def remove(pool: Pool, wanted: SuppressionFilter, *, retry: bool = False) -> Removed:
    """Remove all suppressions that match."""
    until = await database_time(pool)
    total = Removed(0, 0)
    while True:
        async with pool.acquire() as connection, connection.transaction():
            part = await remove_suppressions(connection, wanted, until, retry=retry)
        total = Removed(total.suppressions + part.suppressions, total.retried + part.retried)
        if part.suppressions < REMOVED_AT_ONCE:
            return total


async def removed(pool: Pool, **wanted: Any) -> int:
    return (await remove(pool, SuppressionFilter(**wanted))).suppressions


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


async def test_a_removed_suppression_is_over_for_the_next_claim(pool: Pool) -> None:
    trigger = a_trigger()
    await refuse(pool, trigger, a_trigger(project_id=2))
    assert await removed(pool, project="one", channel=Channel.TEXT, address=trigger.address) == 0
    assert await removed(pool, project="one", channel=Channel.EMAIL, address=trigger.address) == 1
    assert [one.project for one in await listed(pool)] == ["two"]
    assert (await claim_one(pool, a_trigger())).suppressed == ""
    assert await removed(pool, channel=Channel.EMAIL, address=trigger.address) == 1
    assert await removed(pool, channel=Channel.EMAIL, address=trigger.address) == 0


HOUR = dt.timedelta(hours=1)


@pytest.fixture
async def _four(pool: Pool) -> None:
    """Suppress four recipients, `a` to `d`, for different reasons, an hour apart."""
    reasons = {"a": "550 Relay denied", "b": "550 relay denied", "c": "550 unknown 100%", "d": "550 unknown"}
    for name, reason in reasons.items():
        await refuse(pool, a_trigger(address=f"{name}@example.com"), words=reason)
        await pool.execute("UPDATE suppression SET created_at = created_at - $1::interval", HOUR)
    await pool.execute("UPDATE suppression SET provider = 'smtp' WHERE address = 'd@example.com'")


@pytest.mark.usefixtures("_four")
@pytest.mark.parametrize(
    ("wanted", "gone"),
    [
        ({}, "abcd"),
        ({"reason": "RELAY"}, "ab"),
        ({"reason": "100%"}, "c"),
        ({"reason": "%"}, "c"),
        ({"provider": "smtp"}, "d"),
        ({"provider": "SMTP"}, ""),
        ({"since": 2.5 * HOUR}, "cd"),
        ({"since": 2.5 * HOUR, "provider": "sandbox", "project": "one"}, "c"),
        ({"project": "two"}, ""),
    ],
)
async def test_suppressions_that_match_are_removed(pool: Pool, wanted: dict[str, Any], gone: str) -> None:
    if "since" in wanted:
        wanted = {**wanted, "since": dt.datetime.now(dt.UTC) - wanted["since"]}
    counts, total = await count_suppressions(pool, SuppressionFilter(**wanted), 100)
    assert sum(one.recipients for one in counts) == total == len(gone)
    assert len(await listed(pool, **wanted)) == len(gone)
    assert len(await listed(pool)) == 4  # counting and listing remove nothing
    assert await removed(pool, **wanted) == len(gone)
    left = {one.address[0] for one in await listed(pool)}
    assert left == set("abcd") - set(gone)


async def test_suppressions_are_counted_by_reason(pool: Pool) -> None:
    await refuse(pool, *[a_trigger(address=f"{n}@example.com") for n in range(3)])
    await refuse(pool, a_trigger(address="x@example.com"), words="550 other")
    found, total = await count_suppressions(pool, SuppressionFilter(), 100)
    assert total == 4
    assert [(one.reason, one.recipients, one.channel) for one in found] == [
        ("550 unknown", 3, Channel.EMAIL), ("550 other", 1, Channel.EMAIL),
    ]  # fmt: skip
    assert found[0].first_at <= found[0].last_at
    assert await count_suppressions(pool, SuppressionFilter(), 1) == (found[:1], 4)


async def end(pool: Pool, *triggers: Trigger, outcome: AttemptOutcome = SUPPRESSED) -> None:
    """Accept triggers and end them, by default because their recipients are suppressed."""
    queue = PostgresQueue(pool)
    await accept(pool, *triggers)
    claims = await queue.claim(shares(sandbox=9), 60)
    assert all(bool(one.suppressed) is (outcome is SUPPRESSED) for one in claims)
    await queue.finish([ended(one, outcome, error="550 no") for one in claims])


async def states(pool: Pool, *triggers: Trigger) -> list[str]:
    found = [await find_delivery(pool, trigger.id) for trigger in triggers]
    return [one.state.value for one in found if one]


async def test_what_a_suppression_stopped_is_retried(pool: Pool) -> None:
    await apply_campaigns(pool, [a_campaign(44, providers=("smtp", "backup"))])
    before, refused, later = a_trigger(), a_trigger(), a_trigger()
    other, orphan = (
        a_trigger(address="else@example.com"),
        a_trigger(campaign_id=45),
    )  # there is no campaign 45
    queue = PostgresQueue(pool)
    await end(pool, before, outcome=DEAD)
    await refuse(pool, refused, other)
    await end(pool, later, orphan)
    wanted = SuppressionFilter(address=refused.address)
    assert await count_stopped(pool, wanted) == (2, False)
    assert await remove(pool, wanted, retry=True) == Removed(1, 2)
    assert await remove(pool, wanted, retry=True) == Removed(0, 0)
    assert await states(pool, before, refused, later, other, orphan) == [
        "dead", "retrying", "retrying", "dead", "suppressed",
    ]  # fmt: skip
    claims = await queue.claim([ClaimRequest("email/smtp,backup", "smtp", 9)], 60)
    assert {one.trigger.id for one in claims} == {refused.id, later.id}
    assert {(one.attempt, one.tries, one.suppressed, one.expires_at) for one in claims} == {(2, 1, "", None)}
    await queue.finish([ended(one, AttemptOutcome.DELIVERED) for one in claims])
    assert await states(pool, refused, later) == ["delivered", "delivered"]


async def test_removal_without_retry_leaves_messages_alone(pool: Pool) -> None:
    await apply_campaigns(pool, [a_campaign()])
    refused, later = a_trigger(), a_trigger()
    await refuse(pool, refused)
    await end(pool, later)
    assert await remove(pool, SuppressionFilter()) == Removed(1, 0)
    assert await states(pool, refused, later) == ["dead", "suppressed"]


async def test_many_suppressions_are_removed_in_batches(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO suppression SELECT 1, 'text', '+1' || n, 'no', 'sms', gen_random_uuid(), now()"
        " FROM generate_series(1, 2001) AS n"
    )
    assert await remove(pool, SuppressionFilter(), retry=True) == Removed(2001, 0)
    assert await listed(pool) == []
