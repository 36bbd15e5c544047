"""Triggers of test keys stay in their lane if the campaign changes, and with older dispatchers."""

from __future__ import annotations

import pytest

from server.dispatcher.lane_mover import FRONT
from server.domain.delivery import AttemptOutcome
from server.domain.placement import Placement
from server.store.admin.campaigns import apply_campaigns
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records.admin_lists import AdminFilter, dead_letters
from tests.kit.store import a_campaign, a_trigger, accept, ended, redrive, shares

TEST_PLACEMENT = Placement("email/_test")
LANE = "SELECT lane FROM queue WHERE trigger_id = $1"


async def test_redrive_returns_tests_to_their_lane(pool: Pool) -> None:
    await apply_campaigns(pool, [a_campaign()])
    test, live = a_trigger(test=True), a_trigger()
    await accept(pool, test, place=TEST_PLACEMENT)
    await accept(pool, live)
    queue = PostgresQueue(pool)
    claims = await queue.claim([*shares(sandbox=1), *shares(_test=1)], 60)
    assert {claim.lane: claim.trigger.test for claim in claims} == {
        "email/_test": True,
        "email/sandbox": False,
    }
    await queue.finish([ended(claim, AttemptOutcome.DEAD, error="no") for claim in claims])
    assert await dead_letters(pool) == 1
    await apply_campaigns(pool, [a_campaign(providers=("other",))])
    assert await redrive(pool, AdminFilter()) == 2
    assert await pool.fetchval(LANE, test.id) == "email/_test"
    assert await pool.fetchval(LANE, live.id) == "email/other"


async def test_tests_are_not_moved_to_providers(pool: Pool) -> None:
    await apply_campaigns(pool, [a_campaign(providers=("other",))])
    test = a_trigger(test=True)
    await accept(pool, test, place=TEST_PLACEMENT)
    await pool.execute("UPDATE queue SET due_at = now() - interval '10 s'")
    queue = PostgresQueue(pool)
    assert (await queue.move_misplaced("email/_test", FRONT, 100)).count == 0
    [claim] = await queue.claim(shares(_test=1), 60)
    assert claim.trigger.test


@pytest.mark.parametrize("statement", ["UPDATE queue SET lane = 'email/sandbox'", "redrive"])
async def test_older_versions_cannot_move_tests(pool: Pool, statement: str) -> None:
    """They set the lane without knowing about tests."""
    test, live = a_trigger(test=True), a_trigger()
    await accept(pool, test, place=TEST_PLACEMENT)
    await accept(pool, live)
    if statement == "redrive":
        await pool.execute("DELETE FROM queue")
        statement = (
            "INSERT INTO queue (trigger_id, lane, attempt, tries_from)"
            " SELECT id, 'email/sandbox', 1, 1 FROM trigger"
        )
    await pool.execute(statement)
    assert await pool.fetchval(LANE, test.id) == "email/_test"
    assert await pool.fetchval(LANE, live.id) == "email/sandbox"
    await pool.execute("UPDATE queue SET lane = 'text/_test' WHERE trigger_id = $1", test.id)
    assert await pool.fetchval(LANE, test.id) == "text/_test"
