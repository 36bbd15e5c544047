"""The events of endpoints, which are written in the commit that makes it true."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import asyncpg
import pytest

from server.domain.delivery import AttemptOutcome
from server.domain.webhook import EndpointState, EventType
from server.errors import StoreUnavailable
from server.store.admin.endpoints import set_state
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.queue.webhooks import WebhookQueue
from server.store.records.cancel import cancel
from server.store.sql import load
from tests.kit.outcomes import DEAD, DELIVERED, RETRY, SUPPRESSED
from tests.kit.store import a_trigger, accept, ended, shares
from tests.kit.webhooks import an_endpoint, claimed, events_of, happened

from .test_plans import nodes

FINISH = load("queue/triggers.sql")["finish"]


async def test_delivery_event_has_facts_but_no_recipient(pool: Pool) -> None:
    await an_endpoint(pool)
    trigger = await happened(pool, event='{"secret": "content"}', user_data='{"name": "Zoe"}')
    [event] = await events_of(pool)
    assert event["type"] == "trigger.delivered"
    accepted_at, timestamp = event["data"].pop("accepted_at"), event["timestamp"]
    assert event["data"] == {
        "trigger_id": str(trigger.id),
        "campaign_id": 44,
        "channel": "email",
        "external_id": "ext-1",
        "state": "delivered",
        "attempts": 1,
        "provider": "sandbox",
        "provider_message_id": "m-1",
        "error": None,
        "test": False,
    }
    assert accepted_at <= timestamp
    assert (len(timestamp), timestamp[-1]) == (27, "Z")
    for private in (trigger.address, "content", "Zoe"):
        assert private not in json.dumps(event)


@pytest.mark.parametrize("outcome", [DEAD, SUPPRESSED])
async def test_final_event_has_the_error(pool: Pool, outcome: AttemptOutcome) -> None:
    await an_endpoint(pool)
    await happened(pool, outcome, error="550 no")
    [event] = await events_of(pool)
    assert event["type"] == f"trigger.{outcome}"
    assert (event["data"]["state"], event["data"]["error"]) == (outcome, "550 no")
    assert event["data"]["provider_message_id"] is None


async def test_a_retry_is_no_event(pool: Pool) -> None:
    await an_endpoint(pool)
    await accept(pool, a_trigger())
    queue = PostgresQueue(pool)
    [claim] = await queue.claim(shares(sandbox=1), 60)
    await queue.finish([ended(claim, RETRY, retry_in=600, error="451")])
    assert await events_of(pool) == []


async def test_expiry_while_waiting_is_an_event(pool: Pool) -> None:
    await an_endpoint(pool)
    await accept(pool, a_trigger())
    await pool.execute("UPDATE queue SET expires_at = now() - interval '1 s'")
    assert await PostgresQueue(pool).bury_expired("too late", "too late, in doubt") == 1
    [event] = await events_of(pool)
    assert (event["type"], event["data"]["error"]) == ("trigger.dead", "too late")


async def test_cancellation_is_one_event(pool: Pool) -> None:
    await an_endpoint(pool)
    trigger = a_trigger()
    await accept(pool, trigger)
    assert await cancel(pool, trigger.id)
    assert not await cancel(pool, trigger.id)
    [event] = await events_of(pool)
    assert (event["type"], event["data"]["trigger_id"]) == ("trigger.cancelled", str(trigger.id))


async def test_late_delivery_is_a_second_event(pool: Pool) -> None:
    await an_endpoint(pool)
    trigger, late, other = a_trigger(), PostgresQueue(pool), PostgresQueue(pool)
    await accept(pool, trigger)
    [first] = await late.claim(shares(sandbox=1), 0.0)  # a lease that has run out when it begins
    [second] = await other.claim(shares(sandbox=1), 60)
    await other.finish([ended(second, DEAD, error="550")])
    await late.finish([ended(first, DELIVERED)])
    assert [event["type"] for event in await events_of(pool)] == ["trigger.dead", "trigger.delivered"]


async def test_repeated_outcome_is_one_event(pool: Pool) -> None:
    await an_endpoint(pool)
    queue, triggers = PostgresQueue(pool), [a_trigger(), a_trigger()]
    await accept(pool, *triggers)
    claims = await queue.claim(shares(sandbox=2), 60)
    done = [ended(claims[0], DELIVERED), ended(claims[1], DEAD, error="550")]
    for _ in range(3):  # as after an outage in the middle of a commit
        await queue.finish(done)
    assert sorted(event["type"] for event in await events_of(pool)) == ["trigger.dead", "trigger.delivered"]


async def test_event_of_a_returning_dispatcher_is_sent_once(pool: Pool) -> None:
    """Its lease ended, another dispatcher delivered the trigger, and then it reports its own delivery."""
    await an_endpoint(pool)
    first, second = PostgresQueue(pool), PostgresQueue(pool)
    await accept(pool, a_trigger())
    [late] = await first.claim(shares(sandbox=1), 0)
    [again] = await second.claim(shares(sandbox=1), 60)
    await second.finish([ended(again, DELIVERED)])
    await first.finish([ended(late, DELIVERED)])
    [event] = await events_of(pool)
    assert (event["type"], event["data"]["attempts"]) == ("trigger.delivered", 2)
    [queued] = await pool.fetch("SELECT message_id FROM webhook_queue")
    assert (queued["message_id"].version, queued["message_id"].variant) == (8, uuid.RFC_4122)


async def test_each_death_of_a_trigger_is_an_event(pool: Pool) -> None:
    await an_endpoint(pool)
    queue = PostgresQueue(pool)
    await accept(pool, a_trigger())
    [claim] = await queue.claim(shares(sandbox=1), 60)
    await queue.finish([ended(claim, DEAD, error="550")])
    await pool.execute(
        "INSERT INTO queue (trigger_id, lane, attempt) VALUES ($1, 'email/sandbox', 1)", claim.id
    )
    [again] = await queue.claim(shares(sandbox=1), 60)
    await queue.finish([ended(again, DEAD, error="550")])
    assert [event["data"]["attempts"] for event in await events_of(pool)] == [1, 2]


async def test_only_active_endpoints_get_events_they_chose(pool: Pool) -> None:
    wanted = await an_endpoint(pool, EventType.DELIVERED)
    await an_endpoint(pool, EventType.DEAD)
    await an_endpoint(pool, project="two")
    away = await an_endpoint(pool)
    await set_state(pool, away.id, EndpointState.DISABLED)
    both = await an_endpoint(pool)
    await happened(pool)
    found = {row["webhook_id"] for row in await pool.fetch("SELECT webhook_id FROM webhook_queue")}
    assert found == {wanted.id, both.id}


async def test_the_message_and_the_state_are_one_commit(pool: Pool, url: str) -> None:
    endpoint = await an_endpoint(pool)
    await accept(pool, a_trigger())
    queue, messages = PostgresQueue(pool), WebhookQueue(pool)
    [claim] = await queue.claim(shares(sandbox=1), 60)
    holder = await asyncpg.connect(url)
    async with holder.transaction():
        await holder.execute("LOCK TABLE webhook_queue IN ACCESS EXCLUSIVE MODE")
        finishing = asyncio.create_task(queue.finish([ended(claim, DELIVERED)]))
        while not await holder.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
        assert await pool.fetchval("SELECT count(*) FROM attempt") == 0  # the state waits for its message
        await holder.fetch("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
        with pytest.raises(StoreUnavailable):
            await finishing
    await holder.close()
    assert await events_of(pool) == []
    assert await pool.fetchval("SELECT count(*) FROM queue") == 1
    await queue.finish([ended(claim, DELIVERED)])
    assert [message.type for message in await claimed(messages, endpoint)] == ["trigger.delivered"]


@pytest.mark.usefixtures("new_tables")
@pytest.mark.parametrize("endpoints", [0, 1])
async def test_events_cost_an_index_look_up_at_most(pool: Pool, endpoints: int) -> None:
    for _ in range(endpoints):
        await an_endpoint(pool)
    ids = [uuid.uuid4() for _ in range(40)]
    await pool.execute(
        "INSERT INTO trigger SELECT id, 1, 44, 'email', 'x', 'a@example.com', '', '', '', ''"
        " FROM unnest($1::uuid[]) AS id UNION ALL"
        " SELECT gen_random_uuid(), 1, 44, 'email', 'x', 'a@example.com', '', '', '', ''"
        " FROM generate_series(1, 20000)",
        ids,
    )
    async with pool.acquire() as connection, connection.transaction():
        kinds = (
            "uuid[], int4[], text[], text[], timestamptz[], float8[], text[], text[], float8[], text[],"
            " bigint[], boolean[], uuid, uuid, uuid, float8"
        )
        await connection.execute(f"PREPARE finish ({kinds}) AS {FINISH.text}")
        given: list[list[Any]] = [ids, [1] * 40, ["s"] * 40, ["delivered"] * 40]
        lists = ", ".join(
            f"'{{{','.join(map(str, values))}}}'"
            for values in [
                *given,
                ["2026-01-01"] * 40,
                [1] * 40,
                ["m"] * 40,
                ["e"] * 40,
                ["NULL"] * 40,
                ["e"] * 40,
                [1] * 40,
                ["true"] * 40,
            ]
        )
        text = await connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE finish ({lists}, gen_random_uuid(),"
            " '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 60)"
        )
        await connection.execute("DEALLOCATE finish")
    plan: dict[str, Any] = json.loads(text)[0]["Plan"]
    found = [node for node in nodes(plan) if node.get("Subplan Name") == "CTE notified"]
    [insert] = found
    looked = [node for node in nodes(insert) if node.get("Relation Name", "").startswith("trigger_")]
    assert sum(node["Actual Loops"] for node in looked) == 40 * endpoints
    assert [node for node in nodes(plan) if node["Node Type"] == "Seq Scan"] == []
