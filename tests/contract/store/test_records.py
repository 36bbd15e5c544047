"""Keys, campaigns, deliveries and projects: what is written can be read."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from dataclasses import replace

import pytest

from server.domain.campaign import CampaignState, Channel, RetryPolicy, SendWindow, Template, Undefined
from server.domain.delivery import AttemptOutcome, DeliveryState
from server.domain.key import Scope, hash_secret, new_secret
from server.errors import ConfigError, KeyNotFound
from server.store.admin import campaigns, keys, projects
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records.find import find_delivery
from tests.kit.store import a_campaign, a_trigger, accept, ended, shares


async def test_a_key_comes_back_as_it_was_created(pool: Pool) -> None:
    secret, end = new_secret(), dt.datetime(2040, 1, 1, tzinfo=dt.UTC)
    key = await keys.create_key(
        pool,
        secret,
        project_id=1,
        name="a key",
        scopes=[Scope.TRIGGER, Scope.DELIVERIES_READ],
        campaign_ids=[45, 44],
        expires_at=end,
    )
    assert (key.project_id, key.name, key.expires_at, key.revoked_at) == (1, "a key", end, None)
    assert key.scopes == frozenset({Scope.TRIGGER, Scope.DELIVERIES_READ})
    assert key.campaign_ids == frozenset({44, 45})
    async with pool.acquire() as connection:
        assert await keys.all_by_hash(connection) == {hash_secret(secret): key}
    assert await keys.list_keys(pool, 1) == [key] == await keys.list_keys(pool)
    assert await keys.list_keys(pool, 2) == []


async def test_the_same_secret_again_is_the_same_key(pool: Pool) -> None:
    secret = new_secret()
    first = await keys.create_key(pool, secret, project_id=1, name="a", scopes=[Scope.TRIGGER])
    assert await keys.create_key(pool, secret, project_id=2, name="b", scopes=[]) == first


async def test_the_secret_itself_is_nowhere_in_the_database(pool: Pool) -> None:
    secret = new_secret()
    await keys.create_key(pool, secret, project_id=1, name="a", scopes=[Scope.TRIGGER])
    row = await pool.fetchval("SELECT api_key::text FROM api_key")
    assert secret[3:] not in row
    assert hash_secret(secret).hex() in row


async def test_a_key_is_revoked_once_and_only_by_its_project(pool: Pool) -> None:
    secret = new_secret()
    key = await keys.create_key(pool, secret, project_id=1, name="a", scopes=[Scope.TRIGGER])
    for key_id, project in ((key.id, 2), (uuid.uuid4(), 1)):
        with pytest.raises(KeyNotFound):
            await keys.revoke_key(pool, key_id, project)
    revoked = await keys.revoke_key(pool, key.id, 1)
    assert revoked.revoked_at
    assert [await keys.revoke_key(pool, key.id)] == [revoked] == await keys.list_keys(pool)
    async with pool.acquire() as connection:
        assert await keys.all_by_hash(connection) == {hash_secret(secret): revoked}
        await connection.execute("UPDATE api_key SET revoked_at = revoked_at - interval '91 days'")
        assert await keys.all_by_hash(connection) == {}


async def test_a_project_is_made_once(pool: Pool) -> None:
    found = await asyncio.gather(*(projects.ensure_project(pool, "new") for _ in range(5)))
    assert len({*found}) == 1
    assert found[0] not in {1, 2}


async def test_a_campaign_comes_back_as_it_was_applied(pool: Pool) -> None:
    campaign = a_campaign(
        channel=Channel.PUSH,
        state=CampaignState.PAUSED,
        templates={"default": Template(title="é{{ x }}", text="t"), "pt-br": Template(title="u")},
        retry=RetryPolicy(3, 0.5, 2, 60),
    )
    assert await campaigns.apply_campaigns(pool, [campaign]) == {44: "created"}
    assert await campaigns.find_campaign(pool, 1, 44) == replace(campaign, revision=1)
    assert await campaigns.find_campaign(pool, 2, 44) is None
    async with pool.acquire() as connection, connection.transaction():
        assert await campaigns.all_campaigns(connection, templates=True) == [replace(campaign, revision=1)]
        [lean] = await campaigns.all_campaigns(connection, templates=False)
    assert lean == replace(campaign, revision=1, templates={})


@pytest.mark.parametrize(
    "changes",
    [
        {"providers": ("smtp", "backup", "sandbox")},
        {"retry": None},
        {"retry": RetryPolicy(max_attempts=5, ttl=900)},
        {"window": SendWindow("08:00", "20:00")},
        {"unsubscribe_url": "https://example.com/u/{{ user.external_id }}"},
        {"undefined": Undefined.STRICT},
    ],
)
async def test_campaign_settings_are_stored_and_announced(pool: Pool, changes: dict[str, object]) -> None:
    before = a_campaign(retry=RetryPolicy())
    after = replace(before, **changes)  # type: ignore[arg-type]
    await campaigns.apply_campaigns(pool, [before])
    assert await campaigns.apply_campaigns(pool, [after]) == {44: "changed"}
    assert await campaigns.apply_campaigns(pool, [after]) == {44: "unchanged"}
    assert await campaigns.find_campaign(pool, 1, 44) == replace(after, revision=2)


async def test_only_a_change_makes_a_new_revision(pool: Pool) -> None:
    await campaigns.apply_campaigns(pool, [a_campaign(44), a_campaign(45)])
    changed = a_campaign(45, state=CampaignState.PAUSED)
    assert await campaigns.apply_campaigns(pool, [a_campaign(44), changed]) == {
        44: "unchanged",
        45: "changed",
    }
    found = await campaigns.list_campaigns(pool, 1)
    assert [(one.id, one.revision) for one in found] == [(44, 1), (45, 2)]


async def test_campaigns_are_applied_all_or_none(pool: Pool) -> None:
    with pytest.raises(Exception, match="violates"):
        await campaigns.apply_campaigns(pool, [a_campaign(44), a_campaign(45, project_id=99)])
    assert await campaigns.list_campaigns(pool) == []


async def test_campaigns_are_listed_by_id_page_by_page(pool: Pool) -> None:
    await campaigns.apply_campaigns(pool, [a_campaign(number) for number in (5, 3, 4)])
    await campaigns.apply_campaigns(pool, [a_campaign(4, project_id=2)])
    page = await campaigns.list_campaigns(pool, 1, limit=2)
    assert [one.id for one in page] == [3, 4]
    assert [one.id for one in await campaigns.list_campaigns(pool, 1, after=4)] == [5]
    assert [one.id for one in await campaigns.list_campaigns(pool)] == [3, 4, 4, 5]


async def test_a_delivery_is_followed_through_all_its_states(pool: Pool) -> None:
    trigger, queue, seen = a_trigger(), PostgresQueue(pool), []
    await accept(pool, trigger)

    async def look() -> None:
        found = await find_delivery(pool, trigger.id)
        assert found
        seen.append((found.state, found.next_attempt_at is not None, len(found.attempts)))

    await look()
    [claim] = await queue.claim(shares(sandbox=1), 60)
    await look()
    await queue.finish([ended(claim, AttemptOutcome.RETRY, retry_in=0, error="421 busy")])
    await look()
    [claim] = await queue.claim(shares(sandbox=1), 60)
    await queue.finish([ended(claim, AttemptOutcome.DELIVERED)])
    await look()
    assert seen == [
        (DeliveryState.PENDING, True, 0),
        (DeliveryState.SENDING, False, 0),
        (DeliveryState.RETRYING, True, 1),
        (DeliveryState.DELIVERED, False, 2),
    ]


async def test_a_delivery_shows_its_attempts_as_they_were_recorded(pool: Pool) -> None:
    trigger, queue = a_trigger(), PostgresQueue(pool)
    await accept(pool, trigger)
    [claim] = await queue.claim(shares(sandbox=1), 60)
    outcome = ended(claim, AttemptOutcome.DELIVERED)
    await queue.finish([outcome])
    found = await find_delivery(pool, trigger.id, 1)
    assert found
    assert found.attempts == (outcome.attempt,)
    assert (found.trigger_id, found.campaign_id, found.external_id) == (trigger.id, 44, "ext-1")
    assert found.channel is Channel.EMAIL
    assert await find_delivery(pool, trigger.id, 2) is None
    assert await find_delivery(pool, uuid.uuid4()) is None


@pytest.mark.parametrize("name", ["", " ", "a b", "-x", "ü", "a\n", "x" * 101, "a/b", "\x1b[2J"])
async def test_odd_names_of_projects_are_rejected(pool: Pool, name: str) -> None:
    with pytest.raises(ConfigError, match="start with a letter or digit"):
        await projects.ensure_project(pool, name)


async def test_existing_project_may_have_an_odd_name(pool: Pool) -> None:
    """Earlier releases did not restrict names."""
    await pool.execute("INSERT INTO project (name) VALUES ('My shop')")
    assert await projects.ensure_project(pool, "My shop") > 0
