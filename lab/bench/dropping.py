"""Deletes large partitions while triggers are accepted. Part of `lab.bench.history`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

import asyncpg

from server.store.partitioning import Partitions
from server.store.pool import Pool, open_pool

from ..command import log
from ..errors import LabError
from ..load import BODY, PATH, Connection
from ..product import NO_LIMITS, Deployment, Product
from ..report import median_ratio, percentile, table, target_met
from .history_store import SQL

__all__ = ["TARGET", "Drop", "as_text", "measure_drops"]

TARGET = 1.5
"""The p99 of accepting in a period with a drop, as a multiple of that in the period before."""
_CONNECTIONS = 32
_BEFORE_DROP = 2.0
"""Seconds from a period's start to its drop."""
_LOOK = 0.02
"""Seconds between two looks at lock waits."""
_WARMUP = 3.0
_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Drop:
    """A period without a drop, and one with."""

    partition: str
    without: Sequence[float]
    """Milliseconds from when each call was due to its response."""
    with_drop: Sequence[float]
    seconds: float
    """How long the deletion of the partition of triggers and that of their attempts took."""
    waits: int
    """How often a session was seen waiting for a lock, every 0.02 s."""


async def measure_drops(core: Product, drops: int, rate: int, seconds: float) -> list[Drop]:
    """Drop the oldest partitions, one in every second period.

    Args:
        core: The product, without servers and dispatchers.
        drops: How many to drop.
        rate: Triggers per second.
        seconds: Of each period.
    """
    pool = await open_pool(core.database_url, size=2, connect_timeout=10)
    found = []
    try:
        async with core.serving(**NO_LIMITS) as deployment, core.dispatching():
            await _load(deployment, core.key, rate, _WARMUP)
            await _drop_oldest(pool)  # that of all times before, which is empty
            for number in range(drops):
                found.append(drop := await _drop(pool, deployment, core.key, rate, seconds))
                figures = (
                    f"p99 {percentile(drop.without, 99):.1f} and {percentile(drop.with_drop, 99):.1f} ms"
                )
                log(f"drop {number + 1}/{drops}  {figures}; dropped in {drop.seconds:.2f} s")
    finally:
        pool.terminate()
    return found


async def _drop(pool: Pool, deployment: Deployment, key: str, rate: int, seconds: float) -> Drop:
    await pool.execute(*SQL["checkpoint"](), timeout=_SECONDS)
    without = await _load(deployment, key, rate, seconds)
    await pool.execute(*SQL["checkpoint"](), timeout=_SECONDS)
    async with asyncio.TaskGroup() as group:
        loading = group.create_task(_load(deployment, key, rate, seconds))
        await asyncio.sleep(_BEFORE_DROP)
        async with _lock_waits(pool) as waits:
            began = time.monotonic()
            partition = await _drop_oldest(pool)
            took = time.monotonic() - began
            with_drop = await loading
    return Drop(partition, without, with_drop, took, sum(waits))


async def _drop_oldest(pool: Pool) -> str:
    """Delete the oldest partition of triggers, and that of their attempts, as a dispatcher does.

    Returns:
        The name of the former.
    """
    partition: str
    days: int
    [(partition, days)] = await pool.fetch(*SQL["oldest"]())
    while (await pool.fetch(*SQL["oldest"]()))[0]["name"] == partition:  # if a lock was not free, try again
        await Partitions(pool, days).drop(days)
    return partition


async def _load(deployment: Deployment, key: str, rate: int, seconds: float) -> list[float]:
    """Call at a rate, whether or not earlier calls have been answered; return the milliseconds of each.

    Raises:
        LabError: An answer was not 204.
    """
    connections = [Connection(deployment.port, key) for _ in range(_CONNECTIONS)]
    began = time.monotonic()
    parts = await asyncio.gather(
        *(
            _repeat(one, began + place / rate, _CONNECTIONS / rate, began + seconds)
            for place, one in enumerate(connections)
        )
    )
    for one in connections:
        one.close()
    return [one for part in parts for one in part]


async def _repeat(connection: Connection, due: float, every: float, end: float) -> list[float]:
    times = []
    while due < end:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        answer = await connection.post(PATH, BODY.encode())
        if answer.status != HTTPStatus.NO_CONTENT:
            raise LabError(f"a valid trigger was answered with {answer.status} instead of 204")
        times.append((time.monotonic() - due) * 1e3)
        due += every
    return times


@asynccontextmanager
async def _lock_waits(pool: Pool) -> AsyncIterator[list[int]]:
    """Count the sessions that wait for a lock, again and again, during the block."""
    counts: list[int] = []

    async def look(connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        while True:
            counts.append(await connection.fetchval(*SQL["lock_waits"]()))
            await asyncio.sleep(_LOOK)

    async with pool.acquire() as connection:
        looking = asyncio.create_task(look(connection))
        try:
            yield counts
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)


def as_text(drops: Sequence[Drop]) -> str:
    """Return the report."""
    heads = ["dropped", "p50 ms without", "with", "p99 ms without", "with", "longest ms without", "with"]
    heads += ["drop s", "lock waits seen"]
    rows = []
    for drop in drops:
        pairs = [
            f"{figure:.1f}"
            for percent in (50, 99)
            for figure in (percentile(drop.without, percent), percentile(drop.with_drop, percent))
        ]
        longest = [f"{max(times):.1f}" for times in (drop.without, drop.with_drop)]
        rows.append([drop.partition, *pairs, *longest, f"{drop.seconds:.2f}", str(drop.waits)])
    ratio = median_ratio(
        [percentile(one.with_drop, 99) for one in drops], [percentile(one.without, 99) for one in drops]
    )
    verdict = (
        f"The p99 with a drop is {ratio:.2f} times that without; {target_met(ratio, TARGET, at_most=True)}"
    )
    return f"{table(heads, rows)}\n\n{verdict}"
