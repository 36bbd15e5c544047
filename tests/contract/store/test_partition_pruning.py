"""Statements that run often read only partitions of their triggers' time; others are found all the same."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from server.domain.delivery import AttemptOutcome, DeliveryFilter, DeliveryState
from server.domain.trigger import new_id
from server.store.admin.campaigns import apply_campaigns
from server.store.id_ranges import range_of, recent_ids
from server.store.pool import Connection, Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records.admin_lists import AdminFilter
from server.store.records.find import find_deliveries
from server.store.records.pages import list_triggers
from server.store.sql import Statement, load
from tests.contract.store.test_plans import nodes
from tests.contract.store.test_retention import days, id_of
from tests.kit.outcomes import DELIVERED
from tests.kit.query_plans import Explained, reading
from tests.kit.store import a_campaign, a_trigger, accept, ended, list_deliveries, shares

QUEUE = load("queue/triggers.sql")
WEEKS = 20


@asynccontextmanager
async def many_partitions(pool: Pool) -> AsyncIterator[Connection]:
    """Have a partition for each of many weeks, for the block."""
    async with pool.acquire() as connection:
        changes = connection.transaction()
        await changes.start()
        for name, key in (("trigger", "id"), ("attempt", "trigger_id")):
            await connection.execute(f"ALTER TABLE {name} DETACH PARTITION {name}_first")
            await connection.execute(
                f"""DO $$ BEGIN EXECUTE format('CREATE TABLE {name}_old PARTITION OF {name}
                    FOR VALUES FROM (MINVALUE) TO (%L)', id_at(now() - interval '{WEEKS} weeks')); END $$"""
            )
            await connection.execute(
                "SELECT add_partitions($1, $2, 7, now() + interval '15 days')", name, key
            )
        try:
            yield connection
        finally:
            await changes.rollback()


async def partitions_read(connection: Connection, statement: Statement, **values: object) -> set[str]:
    """Return the partitions that a kept plan prepares to read."""
    await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    await connection.execute(f"PREPARE explained AS {statement.text}")
    given = [
        await connection.fetchval("SELECT quote_nullable($1::text)", text(values[name]))
        for name in statement.parameters
    ]
    found = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE explained ({', '.join(given)})")
    await connection.execute("DEALLOCATE explained")
    return partitions(node.get("Relation Name", "") for node in nodes(json.loads(found)[0]["Plan"]))


def partitions(names: Iterable[str]) -> set[str]:
    return {name for name in names if name.startswith(("trigger_", "attempt_"))}


def text(value: object) -> str | None:
    if isinstance(value, list):
        return "{" + ",".join("NULL" if one is None else str(one) for one in value) + "}"
    return None if value is None else str(value)


async def test_claims_read_only_the_partitions_of_a_week(pool: Pool) -> None:
    async with many_partitions(pool) as connection:
        read = await partitions_read(
            connection,
            QUEUE["claim"],
            lanes=["email/sandbox"],
            slots=[1],
            floors=["1970-01-01"],
            lease=60,
            holder=uuid.uuid4(),
            providers=["sandbox"],
            **recent_ids(),
        )
    assert 2 <= len(read) <= 2 * 3


async def test_outcomes_read_only_the_partition_of_their_triggers(pool: Pool) -> None:
    ids = [new_id(), new_id()]
    async with many_partitions(pool) as connection:
        values: dict[str, object] = {name: [] for name in QUEUE["finish"].parameters}
        given = {**values, "ids": ids, "holder": ids[0], "message_ttl": 60, **range_of(ids)}
        read = await partitions_read(connection, QUEUE["finish"], **given)
    assert {name.partition("_")[0] for name in read} == {"trigger"}
    assert len(read) <= 2


async def test_a_delivery_reads_one_partition_of_each_table(pool: Pool) -> None:
    async with many_partitions(pool) as connection:
        explained = Explained(connection)  # type: ignore[arg-type]
        await find_deliveries(explained, [new_id()], 1)  # type: ignore[arg-type]
    assert sorted(name.partition("_")[0] for name in partitions(explained.relations)) == [
        "attempt",
        "trigger",
    ]


async def test_a_full_page_reads_no_old_partition(url: str, pool: Pool) -> None:
    await accept(pool, *(a_trigger() for _ in range(3)))
    async with reading(url) as lists:
        explained = Explained(lists)
        found = await list_triggers(explained, 1, DeliveryFilter(campaign_id=44), after=None, limit=3)  # type: ignore[arg-type]
    assert len(found) == 3
    assert "trigger_first" in explained.relations
    assert explained.statements == 2


async def test_old_and_new_triggers_are_claimed_together(pool: Pool) -> None:
    """The old one has an attempt in doubt, and another that was lost with its dispatcher."""
    old, queue = id_of(days(50)), PostgresQueue(pool)
    await accept(pool, a_trigger(id=old))
    [claim] = await queue.claim(shares(sandbox=1), 60)
    await queue.finish([ended(claim, AttemptOutcome.IN_DOUBT, retry_in=0)])
    [claim] = await PostgresQueue(pool).claim(shares(sandbox=1), 0)
    new = [a_trigger() for _ in range(2)]
    await accept(pool, *new, a_trigger(id=id_of(days(-5))))
    claims = await queue.claim(shares(sandbox=9), 60)
    assert [one.id for one in claims[:3]] == [old, *(one.id for one in new)]
    assert len(claims) == 4
    assert (claims[0].attempt, claims[0].doubts, claims[0].may_have_arrived) == (3, 1, True)
    assert not claims[1].may_have_arrived


async def test_an_old_trigger_is_delivered_and_its_webhook_notified(pool: Pool) -> None:
    old, queue = id_of(days(50)), PostgresQueue(pool)
    await pool.execute(
        "INSERT INTO webhook (project_id, url, events, secret)"
        " VALUES (1, 'http://x', '{trigger.delivered}', '')"
    )
    await accept(pool, a_trigger(id=old), a_trigger())
    claims = await queue.claim(shares(sandbox=2), 60)
    await queue.finish([ended(one, DELIVERED) for one in claims])
    assert await pool.fetchval("SELECT count(*) FROM webhook_message") == 2


@pytest.mark.parametrize("state", [None, DeliveryState.PENDING, DeliveryState.DELIVERED])
async def test_lists_continue_with_older_triggers(url: str, pool: Pool, state: DeliveryState | None) -> None:
    ids = [id_of(days(number)) for number in (0, 1, 6, 8, 50, 300)]
    await apply_campaigns(pool, [a_campaign(44)])
    await accept(pool, *(a_trigger(id=one, external_id="x") for one in ids))
    if state is DeliveryState.DELIVERED:
        queue = PostgresQueue(pool)
        await queue.finish([ended(one, DELIVERED) for one in await queue.claim(shares(sandbox=9), 60)])
    async with reading(url) as lists:
        for listed in (DeliveryFilter(state=state), DeliveryFilter(state=state, external_id="x")):
            found: list[uuid.UUID] = []
            while page := await list_triggers(lists, 1, listed, after=found[-1] if found else None, limit=2):
                found += [one.trigger_id for one in page]
            assert found == ids
    rows = await list_deliveries(pool, state, AdminFilter(), 50)
    assert [row.trigger_id for row in rows] == ids
