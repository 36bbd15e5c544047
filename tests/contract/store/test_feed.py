"""The log of changes: in the order of commits, complete for returning watchers, and of one project."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import pytest

from server.domain.delivery import AttemptOutcome, Changes, Claim, DeliveryState, Position, WatchFilter
from server.domain.trigger import Trigger
from server.errors import Overloaded, ServerEnding, StoreUnavailable
from server.store.pool import Pool, open_pool
from server.store.queue.triggers import PostgresQueue
from server.store.records.cancel import cancel
from server.store.records.change_feed import ChangeFeed
from tests.kit.outcomes import DEAD, DELIVERED, LOST, RETRY, SUPPRESSED
from tests.kit.query_plans import Explained, reading
from tests.kit.store import a_trigger, accept, ended, shares
from tests.kit.until import until

ALL = WatchFilter()
WRITE = """
    INSERT INTO attempt
        (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
    VALUES ($1, $2, '', 'retry', now(), 0, '', '')
"""
MANY = """
    INSERT INTO attempt
        (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
    SELECT $1, n, '', 'retry', now(), 0, '', '' FROM generate_series(1, $2::int4) AS n
"""


@pytest.fixture
async def feed(url: str, pool: Pool) -> AsyncIterator[ChangeFeed]:
    """A feed that looks at the log, as long as the test watches."""
    async with reading(url) as opened:
        feed = ChangeFeed(opened, max_watchers=4)
        looking = asyncio.create_task(feed.run())
        with feed.watching(1):
            yield feed
        looking.cancel()


async def accepted(pool: Pool, **changes: object) -> Trigger:
    trigger = a_trigger(**changes)
    await accept(pool, trigger)
    return trigger


async def claimed(pool: Pool) -> tuple[PostgresQueue, Claim]:
    """Accept a trigger and claim it."""
    await accepted(pool)
    queue = PostgresQueue(pool)
    [claim] = await queue.claim(shares(sandbox=1), 60)
    return queue, claim


async def next_change(
    feed: ChangeFeed, position: Position, followed: WatchFilter = ALL, *, project: int = 1
) -> Changes:
    """Return what comes next; what is not there yet comes within seconds."""
    async with asyncio.timeout(60):
        while True:
            found = await feed.after(position, project, followed, 1.0)
            if found.changes:
                return found
            position = found.reached


def ids(found: Changes) -> list[uuid.UUID]:
    return [change.delivery.trigger_id for change in found.changes]


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (DELIVERED, DeliveryState.DELIVERED),
        (RETRY, DeliveryState.RETRYING),
        (DEAD, DeliveryState.DEAD),
        (SUPPRESSED, DeliveryState.SUPPRESSED),
    ],
)
async def test_attempt_appears_once_it_has_ended(
    pool: Pool, feed: ChangeFeed, outcome: AttemptOutcome, state: DeliveryState
) -> None:
    queue, claim = await claimed(pool)
    begin = await feed.end()
    await queue.finish([ended(claim, outcome, retry_in=60 if outcome is RETRY else None)])
    [change] = (await next_change(feed, begin)).changes
    assert (change.delivery.trigger_id, change.delivery.state) == (claim.trigger.id, state)
    assert [one.outcome for one in change.delivery.attempts] == [outcome]


async def test_cancellation_appears(pool: Pool, feed: ChangeFeed) -> None:
    trigger, begin = await accepted(pool), await feed.end()
    assert await cancel(pool, trigger.id)
    [change] = (await next_change(feed, begin)).changes
    assert (change.delivery.trigger_id, change.delivery.state) == (trigger.id, DeliveryState.CANCELLED)


async def test_late_delivery_of_a_lost_attempt_is_a_second_change(pool: Pool, feed: ChangeFeed) -> None:
    queue, claim = await claimed(pool)
    await pool.execute("UPDATE queue SET due_at = now()")
    begin = await feed.end()
    await PostgresQueue(pool).claim(shares(sandbox=1), 60)
    lost = await next_change(feed, begin)
    assert [one.outcome for one in lost.changes[0].delivery.attempts] == [LOST]
    await queue.finish([ended(claim, DELIVERED)])
    after = await next_change(feed, lost.reached)
    assert [one.outcome for one in after.changes[0].delivery.attempts] == [DELIVERED]
    assert after.changes[0].delivery.state is DeliveryState.DELIVERED


async def test_returning_watcher_misses_no_late_commit(pool: Pool, feed: ChangeFeed) -> None:
    late, early = await accepted(pool), await accepted(pool)
    position = await feed.end()
    async with pool.acquire() as slow, slow.transaction():
        await slow.execute(WRITE, late.id, 1)
        await pool.execute(WRITE, early.id, 1)  # committed at once, with a later number
        held = await feed.after(position, 1, ALL, 0.6)
        assert ids(held) == []  # it appears once all earlier ones are visible
    found = await next_change(feed, held.reached)
    if len(found.changes) == 1:
        found = Changes((*found.changes, *(await next_change(feed, found.reached)).changes), found.reached)
    assert ids(found) == [late.id, early.id]
    first, second = found.changes
    assert ids(await next_change(feed, first.position)) == [early.id]
    assert ids(await feed.after(second.position, 1, ALL, 0.3)) == []


async def test_trigger_with_two_changes_appears_once(pool: Pool, feed: ChangeFeed) -> None:
    one, other = await accepted(pool), await accepted(pool)
    begin = await feed.end()
    async with pool.acquire() as connection, connection.transaction():  # so that they are read together
        await connection.execute(WRITE, other.id, 1)
        await connection.execute(WRITE, one.id, 1)
        await connection.execute(WRITE, one.id, 2)
    found = await next_change(feed, begin)
    assert ids(found) == [one.id, other.id]
    assert [change.position.number for change in found.changes] == [2, 1]


async def test_the_log_is_read_page_by_page_to_its_end(pool: Pool, feed: ChangeFeed) -> None:
    trigger, begin = await accepted(pool), await feed.end()
    await pool.execute(MANY, trigger.id, 250)
    position, numbers = begin, list[int]()
    while len(numbers) < 3:
        found = await next_change(feed, position)
        numbers += [change.position.number for change in found.changes]
        position = found.reached
    assert numbers == [100, 200, 250]


@pytest.mark.parametrize(
    ("followed", "is_sent"),
    [
        (WatchFilter(campaign_id=44), True),
        (WatchFilter(campaign_id=45), False),
        (WatchFilter(external_id="ext-1"), True),
        (WatchFilter(external_id="ext-2"), False),
        (WatchFilter(trigger_ids=(uuid.UUID(int=1),)), False),
    ],
)
async def test_filter_selects_changes(
    pool: Pool, feed: ChangeFeed, followed: WatchFilter, *, is_sent: bool
) -> None:
    trigger, begin = await accepted(pool), await feed.end()
    assert await cancel(pool, trigger.id)
    await next_change(feed, begin)  # it is there
    found = await feed.after(begin, 1, followed, 0.1)
    assert ids(found) == ([trigger.id] if is_sent else [])
    assert found.reached > begin


async def test_changes_of_another_project_only_move_the_cursor(pool: Pool, feed: ChangeFeed) -> None:
    theirs, begin = await accepted(pool, project_id=2), await feed.end()
    assert await cancel(pool, theirs.id)
    assert ids(await next_change(feed, begin, project=2)) == [theirs.id]
    found = await feed.after(begin, 1, ALL, 0.3)
    assert (ids(found), found.reached > begin) == ([], True)


async def test_no_more_watch_than_may(feed: ChangeFeed) -> None:
    with ExitStack() as others:
        for project in (2, 3, 4):
            others.enter_context(feed.watching(project))
        with pytest.raises(Overloaded, match="All 4 streams of this server"), feed.watching(5):
            pass
    with feed.watching(5):
        pass


async def test_a_project_takes_no_more_than_half_of_the_places(feed: ChangeFeed) -> None:
    with feed.watching(1):
        with pytest.raises(Overloaded, match="All 2 streams that a project may open"), feed.watching(1):
            pass
        with feed.watching(2):
            pass
    with feed.watching(1):
        pass


async def test_an_end_of_the_process_ends_all_watching_at_once(feed: ChangeFeed) -> None:
    waiting = asyncio.create_task(feed.after(await feed.end(), 1, ALL, 600.0))
    await asyncio.sleep(0.05)  # it most likely waits by now; it must end in any case
    feed.close()
    async with asyncio.timeout(60):
        with pytest.raises(ServerEnding):
            await waiting
    with pytest.raises(ServerEnding):
        await feed.after(Position(0), 1, ALL, 60.0)


async def test_watching_goes_on_when_the_database_was_away(url: str, pool: Pool, feed: ChangeFeed) -> None:
    trigger, begin = await accepted(pool), await feed.end()
    async with reading(url) as onlooker:
        await onlooker.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    again = await open_pool(url, size=1, connect_timeout=60)
    assert await cancel(again, trigger.id)
    again.terminate()

    async def seen() -> list[uuid.UUID]:
        try:
            return ids(await next_change(feed, begin))
        except StoreUnavailable:
            return []

    assert await until(seen, "the feed reads again") == [trigger.id]


@pytest.mark.usefixtures("new_tables")
async def test_a_look_reads_only_what_is_new(url: str, pool: Pool) -> None:
    for _ in range(20):
        await pool.execute(MANY, uuid.uuid4(), 1000)
    await check_look(url, pool)
    await pool.execute("ANALYZE attempt, trigger")
    await check_look(url, pool)


async def check_look(url: str, pool: Pool) -> None:
    async with reading(url) as opened:
        explained: Any = Explained(opened)
        feed = ChangeFeed(explained, max_watchers=1)
        begin = await feed.end()
        trigger = await accepted(pool)
        assert await cancel(pool, trigger.id)
        with feed.watching(1):
            looking = asyncio.create_task(feed.run())
            found = await feed.after(begin, 1, ALL, 60.0)
            looking.cancel()
    assert ids(found) == [trigger.id]
    assert explained.most_of_all <= 10
    assert "Seq Scan" not in explained.kinds
