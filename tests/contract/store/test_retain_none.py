"""Triggers with `retain: none` lose their content in the commit that ends their delivery."""

from __future__ import annotations

import uuid

import pytest

from server.domain.campaign import Channel
from server.domain.delivery import Claim
from server.domain.idempotency import IdempotencyKey
from server.domain.placement import Placement
from server.domain.trigger import Trigger
from server.errors import IdempotencyKeyReused
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records.admin_lists import AdminFilter
from server.store.records.cancel import cancel
from server.store.records.people import PersonFilter, export_deliveries
from tests.kit.outcomes import DEAD, DELIVERED, IN_DOUBT, LOST, RETRY, SUPPRESSED
from tests.kit.store import PLACE, a_trigger, accept, ended, redrive, shares, writing

CODE = "271828"
ADDRESS = "only-here@retain.example"
"""In no audit event of another test."""


def secret(**changes: object) -> Trigger:
    given = {
        "address": ADDRESS,
        "event": f'{{"code":"{CODE}"}}',
        "user_data": f'{{"pin":{CODE}}}',
        "retain": "none",
        **changes,
    }
    return a_trigger(**given)


async def rows_with_code(pool: Pool) -> set[str]:
    """Return the tables that have the code or the address in any column of any row."""
    names = await pool.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    found = set()
    for (name,) in names:
        query = f"SELECT EXISTS (SELECT FROM {name} AS r WHERE r::text ~ $1)"  # noqa: S608 - of the catalog
        if await pool.fetchval(query, f"{CODE}|{ADDRESS}"):
            found.add(name)
    return found


async def claimed(pool: Pool, trigger: Trigger) -> tuple[PostgresQueue, Claim]:
    await accept(pool, trigger)
    queue = PostgresQueue(pool)
    [claim] = await queue.claim(shares(sandbox=1), 60)
    assert claim.trigger.retain == "none"
    return queue, claim


@pytest.mark.parametrize("outcome", [DELIVERED, DEAD, SUPPRESSED, IN_DOUBT])
async def test_no_table_has_the_content_after_the_end(pool: Pool, outcome: object) -> None:
    trigger = secret()
    queue, claim = await claimed(pool, trigger)
    assert await rows_with_code(pool)
    await queue.finish([ended(claim, outcome)])  # type: ignore[arg-type]
    assert await rows_with_code(pool) == set()
    kept = await pool.fetchrow(
        "SELECT external_id, campaign_id, retain FROM trigger WHERE id = $1", trigger.id
    )
    assert kept is not None
    assert tuple(kept) == ("ext-1", 44, "none")


@pytest.mark.parametrize("outcome", [RETRY, LOST])
async def test_content_stays_until_the_last_attempt(pool: Pool, outcome: object) -> None:
    queue, claim = await claimed(pool, secret())
    await queue.finish([ended(claim, outcome, retry_in=0)])  # type: ignore[arg-type]
    [again] = await queue.claim(shares(sandbox=1), 60)
    assert CODE in again.trigger.event
    await queue.finish([ended(again, DELIVERED)])
    assert await rows_with_code(pool) == set()


async def test_content_of_a_killed_dispatcher_is_removed_later(pool: Pool) -> None:
    """It sent the message, but recorded nothing: the next one repeats it and ends the delivery."""
    await claimed(pool, secret())
    await pool.execute("UPDATE queue SET due_at = now()")
    queue = PostgresQueue(pool)
    [again] = await queue.claim(shares(sandbox=1), 60)
    assert again.may_have_arrived
    await queue.finish([ended(again, DELIVERED)])
    assert await rows_with_code(pool) == set()


async def test_cancelled_and_expired_triggers_lose_it_too(pool: Pool) -> None:
    one, other = secret(), secret()
    await accept(pool, one, other)
    assert await cancel(pool, one.id)
    await pool.execute("UPDATE queue SET expires_at = now()")
    assert await PostgresQueue(pool).bury_expired("expired", "expired") == 1
    assert await rows_with_code(pool) == set()


async def test_a_dead_letter_is_not_retried(pool: Pool) -> None:
    queue, claim = await claimed(pool, secret())
    await queue.finish([ended(claim, DEAD)])
    assert await redrive(pool, AdminFilter()) == 0
    assert await redrive(pool, AdminFilter(), [claim.id]) == 0
    assert await pool.fetchval("SELECT count(*) FROM dead_letter") == 1


async def test_triggers_next_to_it_keep_their_content(pool: Pool) -> None:
    """Also in a large commit, which uses COPY."""
    triggers = [secret(retain="none" if number % 2 else "") for number in range(120)]
    await accept(pool, *triggers)
    queue = PostgresQueue(pool)
    claims = await queue.claim(shares(sandbox=120), 60)
    assert len(claims) == 120
    await queue.finish([ended(claim, DELIVERED) for claim in claims])
    rows = await pool.fetch("SELECT retain, event <> '' AS has FROM trigger")
    assert {(row["retain"], row["has"]) for row in rows} == {("", True), ("none", False)}


async def test_the_stored_key_does_not_depend_on_the_secret(pool: Pool) -> None:
    """A hash of the code would be found by trying all codes."""
    first, later = secret(), secret(event='{"code":"314159"}', address="other@example.com")
    assert IdempotencyKey.of("k", first).content == IdempotencyKey.of("k", later).content
    assert IdempotencyKey.of("k", replace_retain(first)).content != IdempotencyKey.of("k", first).content
    async with writing(pool) as writer:
        for trigger in (first, later):
            assert await writer.add(trigger, PLACE, IdempotencyKey.of("k", trigger)) == first.id
        other = secret(campaign_id=45)
        with pytest.raises(IdempotencyKeyReused):
            await writer.add(other, PLACE, IdempotencyKey.of("k", other))


def replace_retain(trigger: Trigger) -> Trigger:
    fields = {name: getattr(trigger, name) for name in trigger.__struct_fields__}
    return Trigger(**{**fields, "retain": ""})


async def test_an_export_has_no_secret_that_waits(pool: Pool) -> None:
    await accept(pool, secret())
    async with pool.acquire() as connection:
        [found] = await export_deliveries(connection, PersonFilter(1, "ext-1", ()), uuid.UUID(int=0), 10)
    assert (found.address, found.event, found.user_data) == ("only-here@retain.example", "", "")


async def test_secrets_of_every_channel_are_removed(pool: Pool) -> None:
    for channel in Channel:
        await accept(pool, secret(channel=channel), place=Placement(f"{channel}/sandbox"))
    await pool.execute("DELETE FROM queue")
    assert await rows_with_code(pool) == set()
