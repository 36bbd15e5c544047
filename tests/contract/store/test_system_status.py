"""What `clarion status` reads: crowded lanes, failing webhooks, dead letters, clocks and writes."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from server.domain.campaign import Channel
from server.domain.delivery import AttemptOutcome
from server.domain.figures import Crowd
from server.domain.placement import Placement
from server.domain.system_problems import problems_of
from server.domain.system_status import SystemStatus
from server.store.admin import projects
from server.store.figures import crowds
from server.store.pool import Pool
from server.store.presence import Presence
from server.store.queue.webhooks import WebhookQueue
from server.store.records.system_status import system_status
from tests.kit.clock import FakeClock
from tests.kit.store import a_trigger, accept
from tests.kit.webhooks import an_endpoint, answered, claimed, happened

LANE = "email/sandbox"
PLACE = Placement(LANE)
OLD = "UPDATE webhook_message SET created_at = created_at - interval '20 s'"


async def status_of(pool: Pool) -> SystemStatus:
    return await system_status(pool, schema=("1", "1"), missing_indexes=[], disk=None)


async def fill(pool: Pool, project_id: int, count: int) -> None:
    await accept(pool, *(a_trigger(project_id=project_id) for _ in range(count)), place=PLACE)


@pytest.fixture
async def noisy(pool: Pool) -> int:
    return await projects.ensure_project(pool, "noisy")


@pytest.fixture
async def shop(pool: Pool) -> int:
    return await projects.ensure_project(pool, "shop")


async def test_a_project_that_delays_others_is_named(pool: Pool, noisy: int, shop: int) -> None:
    await fill(pool, noisy, 250)
    assert await crowds(pool, [LANE]) == [], "no other project waits"
    await fill(pool, shop, 3)
    assert await crowds(pool, [LANE, "text/sandbox"]) == [Crowd(Channel.EMAIL, "noisy", 1.0, ("shop",))]
    assert problems_of(await status_of(pool))[-1].runbook != "ClarionProjectCrowds", "nothing waits for long"
    await pool.execute("UPDATE queue SET due_at = due_at - interval '1 minute'")
    problem = next(one for one in problems_of(await status_of(pool)) if one.runbook == "ClarionProjectCrowds")
    assert problem.text.startswith("project noisy delays others: it has 100% of the due email messages, and ")


async def test_equal_projects_and_short_queues_are_not_crowded(pool: Pool, noisy: int, shop: int) -> None:
    await fill(pool, noisy, 150)
    await fill(pool, shop, 3)
    assert await crowds(pool, [LANE]) == []
    await fill(pool, shop, 150)
    assert await crowds(pool, [LANE]) == []
    assert await crowds(pool, []) == []


async def test_a_failing_webhook_is_named_until_it_works(pool: Pool) -> None:
    queue, endpoint, healthy = WebhookQueue(pool), await an_endpoint(pool), await an_endpoint(pool)
    for _ in range(2):
        await happened(pool)
    await pool.execute(OLD)
    for claim in await claimed(queue, healthy):
        await queue.finish([answered(claim, 204)])
    assert (await status_of(pool)).failing_webhooks == []
    [first, second] = await claimed(queue, endpoint)
    await queue.finish([answered(first, 503, retry_in=60.0)])
    [found] = (await status_of(pool)).failing_webhooks
    assert (found.id, found.project, found.waiting) == (str(endpoint.id), "one", 2)
    assert found.error == "HTTP 503"
    await queue.finish([answered(second, 204)])
    assert (await status_of(pool)).failing_webhooks == [], "one was delivered"


async def test_dead_letters_name_a_campaign(pool: Pool, shop: int) -> None:
    for number in range(2):
        await happened(
            pool, AttemptOutcome.DEAD, error=f"no template {number}", project_id=shop, campaign_id=7
        )
    [found] = (await status_of(pool)).dead_letter_errors
    assert (found.error, found.count, found.campaign_id, found.project) == ("no template #", 2, 7, "shop")


async def test_a_wrong_clock_and_a_slow_write_are_reported(pool: Pool) -> None:
    await pool.execute("TRUNCATE server_process")
    clock = FakeClock(time.time() + 300)
    wrong, right = Presence(pool, lambda _: None, clock=clock), Presence(pool, lambda _: None)
    for one in (wrong, right, wrong, right):
        await one.beat()
    slow, quick = sorted((await status_of(pool)).processes, key=lambda one: -(one.clock_offset or 0.0))
    assert 200 < (slow.clock_offset or 0) < 300.5
    assert slow.write_seconds == 0, "its clock stands still"
    assert abs(quick.clock_offset or 0) < 60
    assert quick.write_seconds
    assert dt.timedelta() <= quick.seen_at - quick.started_at < dt.timedelta(minutes=5)
