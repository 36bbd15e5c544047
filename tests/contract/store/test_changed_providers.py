"""What waits follows its campaign when the campaign's providers change."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from structlog.testing import capture_logs

from server.dispatcher import lane_mover
from server.dispatcher.lane_mover import FRONT, LaneMover
from server.dispatcher.providers.base import SendingPolicy
from server.domain.campaign import Campaign
from server.domain.delivery import AttemptOutcome, Released
from server.domain.delivery_errors import ProviderError, Verdict
from server.domain.placement import Placement
from server.domain.trigger import Trigger
from server.store.admin.campaigns import apply_campaigns
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.sql import load
from tests.contract.store.test_plans import FILL_RECORD, nodes
from tests.kit.dispatch import MemoryCampaigns, ScriptedProvider, running, sent_ids
from tests.kit.store import a_campaign, a_trigger, accept, ended, shares
from tests.kit.until import until

AGE = "UPDATE queue SET due_at = due_at - interval '10 s' WHERE due_at <= now()"


async def change(pool: Pool, *campaigns: Campaign) -> MemoryCampaigns:
    """Apply campaigns, and return them as a dispatcher sees them."""
    await apply_campaigns(pool, campaigns)
    return MemoryCampaigns(*campaigns)


@asynccontextmanager
async def moving(queue: PostgresQueue, campaigns: MemoryCampaigns) -> AsyncIterator[LaneMover]:
    mover = LaneMover(queue, lambda: {key: one.lane for key, one in campaigns.all.items()})
    task = asyncio.create_task(mover.run())
    try:
        yield mover
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await queue.close()


async def lanes_of(pool: Pool, *triggers: Trigger) -> list[str]:
    rows = await pool.fetch("SELECT trigger_id, lane FROM queue")
    by_id = {row["trigger_id"]: row["lane"] for row in rows}
    return [by_id[trigger.id] for trigger in triggers]


async def test_a_removed_providers_triggers_are_delivered(pool: Pool) -> None:
    """Waiting, scheduled and retrying triggers; the removed provider is not configured any more."""
    await change(pool, a_campaign(providers=("removed",)))
    retried, waiting, scheduled = a_trigger(), a_trigger(), a_trigger()
    await accept(pool, retried, place=Placement("email/removed"))
    queue = PostgresQueue(pool)
    [claim] = await queue.claim(shares(removed=1), 60)
    await queue.finish([ended(claim, AttemptOutcome.RETRY, retry_in=1.5)])
    await accept(pool, waiting, place=Placement("email/removed"))
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1.5)
    await accept(pool, scheduled, place=Placement("email/removed", due_at=soon))

    other = ScriptedProvider("other")
    campaigns = await change(pool, a_campaign(providers=("other",)))
    async with moving(queue, campaigns), running(queue, other, campaigns=campaigns):
        await until(lambda: len(other.sent) == 3, "all are sent")
        await until(lambda: pool.fetchval("SELECT count(*) = 0 FROM queue"), "all are recorded")
    assert sorted(sent_ids(other)) == sorted(one.id for one in (retried, waiting, scheduled))


async def test_triggers_leave_a_failing_provider_that_others_keep(pool: Pool) -> None:
    """The lane's only provider is down, so nothing is claimed from it. Another campaign stays in the lane."""
    down = ScriptedProvider(
        "down",
        *[ProviderError(Verdict.PROVIDER_DOWN, "down")] * 99,
        policy=SendingPolicy(breaker_failures=1, breaker_pause=300),
    )
    other = ScriptedProvider("other")
    stays, moves = [a_trigger(campaign_id=45) for _ in range(20)], [a_trigger() for _ in range(20)]
    campaigns = await change(pool, a_campaign(44, providers=("down",)), a_campaign(45, providers=("down",)))
    await accept(pool, *stays, *moves, place=Placement("email/down"))
    queue = PostgresQueue(pool)
    async with moving(queue, campaigns), running(queue, down, other, campaigns=campaigns):
        await until(lambda: pool.fetchval("SELECT count(*) > 0 FROM attempt"), "the provider has failed")
        assert not other.sent
        campaigns.all |= (await change(pool, a_campaign(44, providers=("other",)))).all
        await until(lambda: len(other.sent) == 20, "all of the moved campaign are sent")
    assert sorted(sent_ids(other)) == sorted(one.id for one in moves)
    assert set(await lanes_of(pool, *stays)) == {"email/down"}


async def test_a_claim_from_the_old_lane_is_released_to_the_new(pool: Pool) -> None:
    """No search is needed while the old provider works."""
    await change(pool, a_campaign(providers=("old",)))
    trigger = a_trigger()
    await accept(pool, trigger, place=Placement("email/old"))
    old, new = ScriptedProvider("old"), ScriptedProvider("new")
    queue = PostgresQueue(pool)
    campaigns = await change(pool, a_campaign(providers=("new", "old")))
    async with running(queue, old, new, campaigns=campaigns):
        await until(lambda: old.sent or new.sent, "it is sent")
        await until(lambda: pool.fetchval("SELECT count(*) = 1 FROM attempt"), "it is recorded")
    await queue.close()
    assert not old.sent
    assert await pool.fetchval("SELECT number FROM attempt") == 1


async def test_released_triggers_go_to_their_campaigns_lane(pool: Pool) -> None:
    await change(pool, a_campaign(44, providers=("new",)))
    triggers = [a_trigger(campaign_id=44), a_trigger(campaign_id=99)]
    await accept(pool, *triggers)
    queue = PostgresQueue(pool)
    claims = await queue.claim(shares(sandbox=2), 60)
    await queue.release([Released(claim, 60) for claim in claims])
    assert await lanes_of(pool, *triggers) == ["email/new", "email/sandbox"]


async def test_only_misplaced_due_triggers_are_written(pool: Pool) -> None:
    await change(pool, a_campaign(44), a_campaign(45, providers=("new",)))
    stays, moves, held = a_trigger(), a_trigger(campaign_id=45), a_trigger(campaign_id=45)
    later = a_trigger(campaign_id=45)
    queue = PostgresQueue(pool)
    await accept(pool, held)
    assert len(await queue.claim(shares(sandbox=1), 60)) == 1
    await accept(pool, stays, moves)
    await accept(
        pool, later, place=Placement("email/sandbox", dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
    )
    await pool.execute(AGE)
    before = {
        row["trigger_id"]: row["ctid"] for row in await pool.fetch("SELECT trigger_id, ctid FROM queue")
    }
    moved = await queue.move_misplaced("email/sandbox", FRONT, 10)
    assert moved.count == 1
    after = {row["trigger_id"]: row["ctid"] for row in await pool.fetch("SELECT trigger_id, ctid FROM queue")}
    assert {id for id in before if before[id] != after[id]} == {moves.id}  # noqa: A001
    assert await lanes_of(pool, moves, stays, held, later) == ["email/new", *["email/sandbox"] * 3]
    assert (await queue.move_misplaced("email/sandbox", moved.at, 10)).count == 0


async def test_rows_locked_by_a_claim_are_not_waited_for(pool: Pool, url: str) -> None:
    await change(pool, a_campaign(providers=("new",)))
    await accept(pool, a_trigger(), a_trigger())
    await pool.execute(AGE)
    claimer = await asyncpg.connect(url)
    async with claimer.transaction():
        await claimer.execute("SELECT FROM queue LIMIT 1 FOR UPDATE")
        moved = await PostgresQueue(pool).move_misplaced("email/sandbox", FRONT, 10)
    await claimer.close()
    assert moved.count == 1


@pytest.mark.usefixtures("new_tables")
async def test_a_search_reads_by_indexes(pool: Pool) -> None:
    text = load("queue/triggers.sql")["move_misplaced"].text
    await change(pool, a_campaign(44))
    async with pool.acquire() as connection:
        await connection.execute(f"PREPARE move (text, timestamptz, int8) AS {text}")
        await connection.execute(FILL_RECORD, 20_000)
        await connection.execute(
            "INSERT INTO queue (trigger_id, lane, due_at) SELECT id, 'email/x', now() - interval '1 h'"
            " FROM trigger LIMIT 20000"
        )
        await connection.execute(
            "INSERT INTO queue (trigger_id, lane, due_at) SELECT gen_random_uuid(), 'email/sandbox',"
            " now() - interval '1 h' FROM generate_series(1, 300)"
        )
        explained = "EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE move"
        search = await connection.fetchval(f"{explained} ('email/sandbox', '1970-01-01', 500)")
        move = await connection.fetchval(f"{explained} ('email/x', '1970-01-01', 500)")
        await connection.execute("DEALLOCATE move")
    for text, most in ((search, 300), (move, 500)):
        found = list(nodes(json.loads(text)[0]["Plan"]))
        assert "Seq Scan" not in {node["Node Type"] for node in found}
        assert max(node["Actual Rows"] * node["Actual Loops"] for node in found) <= most
        assert max(node.get("Rows Removed by Join Filter", 0) for node in found) == 0


async def test_a_large_backlog_is_moved_as_it_is_delivered(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_mover, "CHUNK", 10)
    monkeypatch.setattr(lane_mover, "MAX_WAIT", 3600.0)
    triggers = [a_trigger() for _ in range(50)]
    await accept(pool, *triggers, place=Placement("email/removed"))
    await pool.execute(AGE)
    campaigns = await change(pool, a_campaign(providers=("other",)))
    other = ScriptedProvider("other", concurrency=2)
    queue = PostgresQueue(pool)
    with capture_logs() as logs:
        async with (
            moving(queue, campaigns) as mover,
            running(queue, other, campaigns=campaigns, on_room=mover.request_more),
        ):
            await until(lambda: len(other.sent) == 50, "all are sent")
    counts = [one["count"] for one in logs if one["event"] == "triggers_moved"]
    assert counts == [10] * 5
