"""Counting the record: everything once, whatever happens to the process that counts."""

from __future__ import annotations

import asyncio

import pytest

from server.domain.delivery import AttemptOutcome
from server.domain.statistics import Kind
from server.errors import StoreUnavailable
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records.cancel import cancel
from server.store.statistics.rollup import Rollup
from tests.kit.outcomes import DEAD, DELIVERED, IN_DOUBT, LOST, RETRY, SUPPRESSED
from tests.kit.query_plans import reading
from tests.kit.rollup import NO_LAG, all_counted, claimed, totals
from tests.kit.store import a_trigger, accept, ended, shares
from tests.kit.until import until


@pytest.mark.parametrize(
    ("outcome", "retry_in", "kind"),
    [
        (DELIVERED, None, Kind.DELIVERED),
        (RETRY, 60, Kind.RETRIED),
        (DEAD, None, Kind.FAILED),
        (SUPPRESSED, None, Kind.SUPPRESSED),
        (IN_DOUBT, 60, Kind.RETRIED),
        (IN_DOUBT, None, Kind.FAILED),
        (LOST, 1, Kind.RETRIED),
    ],
)
async def test_each_outcome_is_counted_once(
    pool: Pool, counting: Pool, outcome: AttemptOutcome, retry_in: float | None, kind: Kind
) -> None:
    queue, claim = await claimed(pool)
    await queue.finish([ended(claim, outcome, retry_in=retry_in)])
    for _ in range(2):
        await all_counted(counting)
        for step in (60, 3600):
            assert await totals(pool, step=step) == {Kind.ACCEPTED: 1, kind: 1}


async def test_cancellation_is_counted(pool: Pool, counting: Pool) -> None:
    trigger = a_trigger()
    await accept(pool, trigger)
    assert await cancel(pool, trigger.id)
    await all_counted(counting)
    assert await totals(pool) == {Kind.ACCEPTED: 1, Kind.CANCELLED: 1}


async def test_late_delivery_of_a_lost_attempt_is_counted(pool: Pool, counting: Pool) -> None:
    queue, claim = await claimed(pool)
    await pool.execute("UPDATE queue SET due_at = now()")
    await PostgresQueue(pool).claim(shares(sandbox=1), 60)
    await all_counted(counting)
    await queue.finish([ended(claim, DELIVERED)])
    await all_counted(counting)
    assert await totals(pool) == {Kind.ACCEPTED: 1, Kind.RETRIED: 1, Kind.DELIVERED: 1}


async def test_pages_count_everything_once(pool: Pool, counting: Pool) -> None:
    for _ in range(7):
        queue, claim = await claimed(pool)
        await queue.finish([ended(claim, DELIVERED)])
    trigger = a_trigger()
    await accept(pool, trigger)
    assert await cancel(pool, trigger.id)

    async def counted() -> bool:
        await asyncio.gather(*(Rollup(counting, lag=NO_LAG, at_once=2).count_all() for _ in range(2)))
        return (await totals(pool)).get(Kind.CANCELLED) == 1

    await until(counted, "all pages are counted")
    assert await totals(pool) == {Kind.ACCEPTED: 8, Kind.DELIVERED: 7, Kind.CANCELLED: 1}


async def test_aborted_count_is_repeated(pool: Pool, counting: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the process had been killed between counting and the commit."""
    queue, claim = await claimed(pool)
    await queue.finish([ended(claim, DELIVERED)])
    rollup = Rollup(counting, lag=NO_LAG)

    async def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(Rollup, "_count_accepted", killed)
        with pytest.raises(RuntimeError):
            await rollup.count_some()
    assert await pool.fetchval("SELECT count(*) FROM statistic") == 0
    await all_counted(counting)
    assert await totals(pool) == {Kind.ACCEPTED: 1, Kind.DELIVERED: 1}


async def test_slow_page_is_repeated_with_fewer_rows(url: str, pool: Pool, counting: Pool) -> None:
    for _ in range(3):
        await accept(pool, a_trigger())
    async with reading(url, statement_timeout="100ms") as slow:
        rollup = Rollup(slow, lag=NO_LAG, at_once=4)
        async with pool.acquire() as other, other.transaction():
            await other.execute("LOCK TABLE statistic")
            for page in (2, 1, 1):
                with pytest.raises(StoreUnavailable):
                    await rollup.count_all()
                assert rollup.page == page
    again = Rollup(counting, lag=NO_LAG, at_once=4)
    again.page = 1
    await again.count_all()
    assert again.page > 1
    await all_counted(counting)
    assert await totals(pool) == {Kind.ACCEPTED: 3}


async def test_only_one_process_counts(pool: Pool, counting: Pool) -> None:
    await claimed(pool)
    async with pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM statistic_position FOR UPDATE")
        await Rollup(counting, lag=NO_LAG).count_all()
        assert await pool.fetchval("SELECT count(*) FROM statistic") == 0
    await all_counted(counting)
    assert await totals(pool) == {Kind.ACCEPTED: 1}


async def test_attempt_that_commits_late_is_counted(pool: Pool, counting: Pool) -> None:
    queue, claim = await claimed(pool)
    async with pool.acquire() as slow, slow.transaction():
        await slow.execute("SELECT pg_current_xact_id()")
        await queue.finish([ended(claim, DELIVERED)])  # with a later number
        await Rollup(counting, lag=NO_LAG).count_all()
        assert (await totals(pool)).get(Kind.DELIVERED) is None
    await all_counted(counting)
    assert (await totals(pool))[Kind.DELIVERED] == 1


async def test_restored_database_continues(pool: Pool, counting: Pool) -> None:
    """In a new cluster, the numbers of transactions start again."""
    await pool.execute("UPDATE statistic_position SET xid = xid + 1000000000")
    await Rollup(counting, lag=NO_LAG).count_all()
    queue, claim = await claimed(pool)
    await queue.finish([ended(claim, DELIVERED)])
    await all_counted(counting)
    assert await totals(pool) == {Kind.ACCEPTED: 1, Kind.DELIVERED: 1}
