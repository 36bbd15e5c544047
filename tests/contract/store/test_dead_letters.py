"""Dead letters: what expires while it waits, and what is sent again."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from server.domain.campaign import Channel
from server.domain.delivery import AttemptOutcome, Claim, DeliveryState
from server.domain.placement import Placement
from server.domain.trigger import Trigger
from server.store.admin.campaigns import apply_campaigns
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records import admin_lists as delivery_lists
from server.store.records.admin_lists import AdminFilter, dead_letters
from server.store.records.find import find_delivery
from tests.kit.outcomes import DEAD, DELIVERED, RETRY
from tests.kit.store import a_campaign, a_trigger, accept, ended, redrive, shares, until_listening

EXPIRED = "its time to live ended"
EXPIRED_IN_DOUBT = "its time to live ended; an earlier attempt may have delivered it"
MINUTE = dt.timedelta(minutes=1)
ANY = AdminFilter()


async def expiring(pool: Pool, minutes: float, count: int = 1) -> list[Trigger]:
    """Accept triggers that expire in this many minutes."""
    end = dt.datetime.now(dt.UTC) + minutes * MINUTE
    triggers = [a_trigger() for _ in range(count)]
    await accept(pool, *triggers, place=Placement("email/sandbox", expires_at=end))
    return triggers


async def state_of(pool: Pool, trigger: Trigger) -> DeliveryState:
    found = await find_delivery(pool, trigger.id)
    assert found
    return found.state


async def attempts_of(pool: Pool, trigger: Trigger) -> list[tuple[int, AttemptOutcome, str]]:
    found = await find_delivery(pool, trigger.id)
    assert found
    return [(one.number, one.outcome, one.error) for one in found.attempts]


async def test_what_expires_while_it_waits_is_buried_with_its_reason(pool: Pool) -> None:
    [gone], [alive] = await expiring(pool, -1), await expiring(pool, 1)
    await accept(pool, a_trigger())
    queue = PostgresQueue(pool)
    assert await queue.bury_expired(EXPIRED, EXPIRED_IN_DOUBT) == 1
    assert await queue.bury_expired(EXPIRED, EXPIRED_IN_DOUBT) == 0
    assert (await state_of(pool, gone), await state_of(pool, alive)) == (
        DeliveryState.DEAD,
        DeliveryState.PENDING,
    )
    assert await attempts_of(pool, gone) == [(1, DEAD, EXPIRED)]
    assert await pool.fetchval("SELECT error FROM dead_letter") == EXPIRED
    assert await dead_letters(pool) == 1


async def test_expired_trigger_under_a_lease_is_not_buried(pool: Pool) -> None:
    [trigger] = await expiring(pool, -1)
    queue = PostgresQueue(pool)
    [claim] = await queue.claim(shares(sandbox=1), 60)
    assert claim.expires_at is not None
    assert await queue.bury_expired(EXPIRED, EXPIRED_IN_DOUBT) == 0
    await queue.finish([ended(claim, RETRY, retry_in=600)])
    assert await queue.bury_expired(EXPIRED, EXPIRED_IN_DOUBT) == 1
    assert [(number, outcome) for number, outcome, _ in await attempts_of(pool, trigger)] == [
        (1, RETRY),
        (2, DEAD),
    ]


async def test_many_that_expire_at_once_are_buried_by_and_by(pool: Pool) -> None:
    await expiring(pool, -1, 501)
    queue = PostgresQueue(pool)
    assert [await queue.bury_expired(EXPIRED, EXPIRED_IN_DOUBT) for _ in range(3)] == [500, 1, 0]


async def buried(pool: Pool, *triggers: Trigger, error: str = "550 no", attempts: int = 1) -> None:
    """Accept triggers and give them up at the last of this many attempts."""
    queue = PostgresQueue(pool)
    await accept(pool, *triggers)
    for number in range(1, attempts + 1):
        claims = await queue.claim(shares(sandbox=2000), 60)
        last = number == attempts
        await queue.finish(
            [ended(one, DEAD, error=error) if last else ended(one, RETRY, retry_in=0) for one in claims]
        )


@pytest.fixture
async def _campaigns(pool: Pool) -> None:
    await apply_campaigns(
        pool, [a_campaign(44), a_campaign(45, providers=("smtp", "backup")), a_campaign(44, project_id=2)]
    )


async def claimed(pool: Pool) -> list[Claim]:
    return await PostgresQueue(pool).claim(shares(sandbox=9), 60)


@pytest.mark.usefixtures("_campaigns")
async def test_dead_letters_are_sent_again_by_their_ids(pool: Pool) -> None:
    wanted, other = a_trigger(), a_trigger()
    await buried(pool, wanted, other)
    unknown = uuid.uuid4()
    assert await redrive(pool, ANY, [wanted.id, unknown]) == 1
    assert await redrive(pool, ANY, [wanted.id, unknown]) == 0
    assert await redrive(pool, ANY, []) == 0
    assert (await state_of(pool, wanted), await state_of(pool, other)) == (
        DeliveryState.RETRYING,
        DeliveryState.DEAD,
    )
    assert [claim.trigger.id for claim in await claimed(pool)] == [wanted.id]


@pytest.mark.usefixtures("_campaigns")
async def test_redriven_trigger_gets_a_full_count_of_attempts(pool: Pool) -> None:
    trigger, queue = a_trigger(), PostgresQueue(pool)
    await buried(pool, trigger, attempts=3)
    assert await redrive(pool, ANY, [trigger.id]) == 1
    [claim] = await queue.claim(shares(sandbox=1), 60)
    assert (claim.attempt, claim.earlier, claim.tries, claim.expires_at) == (4, 3, 1, None)
    await queue.finish([ended(claim, RETRY, retry_in=0)])
    [claim] = await queue.claim(shares(sandbox=1), 60)
    assert (claim.attempt, claim.earlier, claim.tries) == (5, 3, 2)
    await queue.finish([ended(claim, DEAD)])
    await redrive(pool, ANY)
    [claim] = await queue.claim(shares(sandbox=1), 60)
    assert (claim.attempt, claim.earlier) == (6, 5)
    await queue.finish([ended(claim, DELIVERED)])
    assert [(number, outcome) for number, outcome, _ in await attempts_of(pool, trigger)] == [
        (1, RETRY), (2, RETRY), (3, DEAD), (4, RETRY), (5, DEAD), (6, DELIVERED),
    ]  # fmt: skip
    assert await state_of(pool, trigger) is DeliveryState.DELIVERED
    assert await dead_letters(pool) == 0


@pytest.mark.usefixtures("_campaigns")
async def test_what_expired_is_wanted_now_and_expires_no_more(pool: Pool) -> None:
    [trigger] = await expiring(pool, -1)
    queue = PostgresQueue(pool)
    await queue.bury_expired(EXPIRED, EXPIRED_IN_DOUBT)
    assert await redrive(pool, ANY) == 1
    [claim] = await queue.claim(shares(sandbox=1), 60)
    assert (claim.trigger.id, claim.attempt, claim.tries, claim.expires_at) == (trigger.id, 2, 1, None)
    assert await queue.bury_expired(EXPIRED, EXPIRED_IN_DOUBT) == 0


@pytest.mark.usefixtures("_campaigns")
async def test_they_go_into_the_lane_that_their_campaign_has_now(pool: Pool) -> None:
    trigger = a_trigger(campaign_id=45)
    await buried(pool, trigger)
    assert await redrive(pool, ANY) == 1
    assert await PostgresQueue(pool).lanes() == {"email/smtp,backup"}


@pytest.mark.usefixtures("_campaigns")
async def test_those_whose_campaign_is_gone_are_left(pool: Pool) -> None:
    kept, gone, without_campaign = (
        a_trigger(),
        a_trigger(campaign_id=99),
        a_trigger(project_id=2, campaign_id=45),
    )
    await buried(pool, kept, gone, without_campaign)
    assert await redrive(pool, ANY) == 1
    assert await dead_letters(pool) == 2
    assert await state_of(pool, gone) is DeliveryState.DEAD


@pytest.mark.usefixtures("_campaigns")
@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (ANY, 4),
        (AdminFilter(campaign_id=45), 1),
        (AdminFilter(channel=Channel.EMAIL), 4),
        (AdminFilter(channel=Channel.TEXT), 0),
        (AdminFilter(external_id="zoe"), 1),
        (AdminFilter(since=dt.datetime.now(dt.UTC) - MINUTE), 4),
        (AdminFilter(since=dt.datetime.now(dt.UTC) + 60 * MINUTE), 0),
        (AdminFilter(error="550"), 3),
        (AdminFilter(error="GREYLISTED"), 1),
        (AdminFilter(project="two"), 1),
        (AdminFilter(project="two", error="greylisted"), 0),
        (AdminFilter(campaign_id=44, external_id="ext-1", project="one"), 1),
    ],
)
async def test_they_are_sent_again_by_what_they_have_in_common(
    pool: Pool, wanted: AdminFilter, count: int
) -> None:
    await buried(pool, a_trigger(external_id="zoe"), a_trigger(campaign_id=45), a_trigger(project_id=2))
    await buried(pool, a_trigger(), error="451 greylisted for too long")
    assert await redrive(pool, wanted) == count
    assert await dead_letters(pool) == 4 - count
    assert await pool.fetchval("SELECT count(*) FROM queue WHERE due_at <= now()") == count


@pytest.mark.usefixtures("_campaigns")
async def test_more_than_one_round_takes_are_all_sent_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_lists, "AT_ONCE", 3)
    await buried(pool, *(a_trigger() for _ in range(9)), a_trigger(campaign_id=99))
    assert await redrive(pool, ANY) == 9


@asynccontextmanager
async def all_refused(pool: Pool) -> AsyncIterator[None]:
    """Whatever is queued dies at once."""
    await pool.execute(
        """CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            DELETE FROM queue WHERE trigger_id = new.trigger_id;
            INSERT INTO dead_letter VALUES (new.trigger_id, clock_timestamp(), '401') ON CONFLICT DO NOTHING;
            RETURN NULL;
        END $$"""
    )
    await pool.execute("CREATE TRIGGER dies AFTER INSERT ON queue FOR EACH ROW EXECUTE FUNCTION die()")
    try:
        yield
    finally:
        await pool.execute("DROP FUNCTION die CASCADE")


@pytest.mark.usefixtures("_campaigns")
async def test_what_dies_again_meanwhile_is_not_sent_again_and_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_lists, "AT_ONCE", 3)
    await buried(pool, *(a_trigger() for _ in range(9)))
    async with all_refused(pool):
        assert await asyncio.wait_for(redrive(pool, ANY), 60) == 9


@pytest.mark.usefixtures("_campaigns")
async def test_a_redrive_is_announced(pool: Pool) -> None:
    await buried(pool, a_trigger())
    queue = PostgresQueue(pool)
    await until_listening(queue)
    assert await redrive(pool, ANY) == 1
    await asyncio.wait_for(queue.wait(600), 60)
    await queue.close()


@pytest.mark.usefixtures("_campaigns")
async def test_late_delivery_removes_the_dead_letter(pool: Pool) -> None:
    trigger, stale = a_trigger(), PostgresQueue(pool)
    await accept(pool, trigger)
    [claim] = await stale.claim(shares(sandbox=1), 0.0)
    holder = PostgresQueue(pool)
    [again] = await holder.claim(shares(sandbox=1), 60)
    await holder.finish([ended(again, DEAD)])
    await stale.finish([ended(claim, DELIVERED)])
    assert await redrive(pool, ANY, [trigger.id]) == 0
    # Nor if it came in the same moment, so that neither saw the other.
    await pool.execute("INSERT INTO dead_letter (trigger_id, error) VALUES ($1, '')", trigger.id)
    assert await redrive(pool, ANY, [trigger.id]) == 0
    assert await state_of(pool, trigger) is DeliveryState.DELIVERED
