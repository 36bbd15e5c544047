"""Claim, count and read what is counted."""

from __future__ import annotations

import datetime as dt

from server.domain.delivery import Claim
from server.domain.statistics import Kind, Window
from server.store.id_ranges import first_id_at
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.statistics import read
from server.store.statistics.rollup import Rollup
from tests.kit.store import a_trigger, accept, shares
from tests.kit.until import until

ALL = read.StatisticsFilter()
NO_LAG = dt.timedelta(0)


async def all_counted(pool: Pool) -> None:
    """Count what was recorded by now; autovacuum may run a transaction meanwhile, which delays that."""
    end = await pool.fetchval("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8")
    last = first_id_at(await read.database_time(pool), 1)

    async def counted() -> bool:
        await Rollup(pool, lag=NO_LAG).count_all()
        return bool(
            await pool.fetchval("SELECT xid >= $1 AND accepted_id >= $2 FROM statistic_position", end, last)
        )

    await until(counted, "everything is counted")


async def totals(pool: Pool, wanted: read.StatisticsFilter = ALL, *, step: int = 60) -> dict[Kind, int]:
    window = Window(await read.database_time(pool), 3600, step)
    found = await read.read_series(pool, wanted, window, group_by="", most=20)
    return found.groups[0].total.of if found.groups else {}


async def claimed(pool: Pool, **changes: object) -> tuple[PostgresQueue, Claim]:
    await accept(pool, a_trigger(**changes))
    queue = PostgresQueue(pool)
    [claim] = await queue.claim(shares(sandbox=1), 60)
    return queue, claim
