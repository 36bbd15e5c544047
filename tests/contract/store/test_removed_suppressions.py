"""Suppressions are removed, and what they stopped is retried."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from server.domain.campaign import Channel
from server.domain.delivery import AttemptOutcome, ClaimRequest
from server.domain.trigger import Trigger
from server.store.admin.campaigns import apply_campaigns
from server.store.admin.suppressions import (
    SuppressionFilter,
    count_stopped,
    count_suppressions,
)
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records.find import find_delivery
from tests.kit.outcomes import DEAD, SUPPRESSED
from tests.kit.store import a_campaign, a_trigger, accept, ended, shares
from tests.kit.suppressions import claim_one, listed, refuse, remove, removed


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
    counts, total, _ = await count_suppressions(pool, SuppressionFilter(**wanted), 100)
    assert sum(one.recipients for one in counts) == total == len(gone)
    assert len(await listed(pool, **wanted)) == len(gone)
    assert len(await listed(pool)) == 4  # counting and listing remove nothing
    assert await removed(pool, **wanted) == len(gone)
    left = {one.address[0] for one in await listed(pool)}
    assert left == set("abcd") - set(gone)


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
    assert await remove(pool, wanted, retry=True) == (1, 2)
    assert await remove(pool, wanted, retry=True) == (0, 0)
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
    assert await remove(pool, SuppressionFilter()) == (1, 0)
    assert await states(pool, refused, later) == ["dead", "suppressed"]


async def test_many_suppressions_are_removed_in_batches(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO suppression SELECT 1, 'text', '+1' || n, 'no', 'sms', gen_random_uuid(), now()"
        " FROM generate_series(1, 2001) AS n"
    )
    assert await remove(pool, SuppressionFilter(), retry=True) == (2001, 0)
    assert await listed(pool) == []
