"""Counts accepted triggers, attempts and cancellations by minute and by hour, while they are recorded.

One process counts at a time: it holds the lock of the only row of `statistic_position`. Counts and position
change in one transaction, so a process can be killed at any point and the next one continues without counting
anything twice. Nothing is written while triggers are accepted or messages are sent.

Attempts and cancellations are counted in the order of their transactions, like the log of changes. Triggers
have no such number; they are counted in the order of their IDs, which contain the time. A trigger is counted
once its ID is older than the longest commit, so that none with an earlier ID follows. Until then, `read.sql`
counts it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
import uuid

import structlog

from ...domain.delivery import Position
from ...domain.statistics import BUCKETS_OF_AN_OCTAVE, KEPT
from ...errors import StoreUnavailable
from ..id_ranges import first_id_at
from ..pool import Connection, Pool, reached, run_in_chunks
from ..sql import load

__all__ = ["LAG", "Rollup"]

log = structlog.get_logger(__name__)

LAG = dt.timedelta(seconds=40)
"""A commit takes up to 30 s (`command_timeout`); the rest is for clocks of servers that are behind.

A trigger whose commit waited longer for a replica is not counted as accepted."""
_INTERVAL = 5.0  # seconds
_DELETE_EVERY = 300.0  # seconds
_AT_ONCE = 2000  # rows of a transaction; event streams wait for its end, see change_feed.py
_MOST_RESULTS = 100  # errors of a provider
_CANCELLED = 2**31 - 1  # as in change_feed.py
_SQL = load("statistics/rollup.sql")


class Rollup:
    """Counts what was recorded since the last time.

    Args:
        pool: The database, opened with the settings `READING`.
        lag: Age of the youngest triggers that are counted.
        at_once: The maximum number of rows of a transaction.
    """

    def __init__(self, pool: Pool, *, lag: dt.timedelta = LAG, at_once: int = _AT_ONCE) -> None:
        self._pool = pool
        self._lag = lag
        self._at_once = at_once
        self.page = at_once
        """Rows of the next transaction: fewer after one that took too long, as while the disk is slow."""
        self._next_deletion = 0.0

    async def run(self) -> None:
        """Count every few seconds, and delete old counts, until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            try:
                await self.count_all()
                if time.monotonic() >= self._next_deletion:
                    await self.delete_old()
                    self._next_deletion = time.monotonic() + _DELETE_EVERY
            except Exception as error:  # continued later; the process must not stop
                unexpected = None if isinstance(error, StoreUnavailable) else error
                log.warning("statistics not counted", exc_info=unexpected)

    async def count_all(self) -> None:
        """Count until nothing is left, or while no other process does.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        try:
            while await self.count_some():
                self.page = min(self._at_once, 2 * self.page)
        except StoreUnavailable:
            self.page = max(1, self.page // 2)
            raise

    async def count_some(self) -> bool:
        """Count one page in a transaction; return whether more is left for this process.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        async with reached(), self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(*_SQL["lock_position"]())
            if row is None:
                return False
            position = Position(row["xid"], row["trigger_id"], row["number"])
            position, more_changes = await self._count_changes(connection, position)
            until = first_id_at(row["now"] - self._lag, 0)
            accepted_id, more_accepted = await self._count_accepted(connection, row["accepted_id"], until)
            await connection.execute(*_SQL["move_position"](**position._asdict(), accepted_id=accepted_id))
        return more_changes or more_accepted

    async def delete_old(self) -> None:
        """Delete counts and errors that are no longer shown.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        async with reached():
            for resolution, age in KEPT.items():
                values = {"resolution": resolution, "older_than": age}
                await run_in_chunks(self._pool, _SQL["delete_old"], self._at_once, **values)
            await self._pool.execute(*_SQL["delete_results"](most=_MOST_RESULTS))

    async def _count_changes(self, connection: Connection, position: Position) -> tuple[Position, bool]:
        """Count a page of attempts and cancellations; return the new position and whether more are left."""
        until: int = await connection.fetchval(*_SQL["horizon"]())
        if (
            until < position.xid
        ):  # the database was restored into a new cluster, whose transactions start again
            log.warning("statistics continue after the database was restored")
            return Position(until), False
        values = {**position._asdict(), "until": until, "limit": self.page, "cancelled": _CANCELLED}
        last = await connection.fetchrow(
            *_SQL["count_changes"](**values, buckets_of_an_octave=BUCKETS_OF_AN_OCTAVE)
        )
        if last is None or last["rows"] < self.page:
            return Position(until), False
        return Position(last["xid"], last["trigger_id"], last["number"]), True

    async def _count_accepted(
        self, connection: Connection, after: uuid.UUID, until: uuid.UUID
    ) -> tuple[uuid.UUID, bool]:
        """Count a page of triggers; return the last ID that is counted and whether more are left."""
        if until <= after:  # the clock was set back
            return after, False
        last = await connection.fetchrow(*_SQL["count_accepted"](after=after, until=until, limit=self.page))
        if last is None or last["rows"] < self.page:
            return until, False
        return last["id"], True
