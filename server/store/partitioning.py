"""Adds partitions before they are needed, and drops old ones. schema/partitions.py makes the first."""

from __future__ import annotations

import asyncio
import datetime as dt

import asyncpg
import structlog

from ..errors import StoreUnavailable
from .pool import Pool, is_outage, reached
from .sql import load

__all__ = ["MOST_PARTITIONS", "PARTITIONED", "Partitions"]

log = structlog.get_logger(__name__)

PARTITIONED = {"trigger": "id", "attempt": "trigger_id"}
"""The tables that are partitioned by time, with the column that has the trigger's ID."""
MOST_PARTITIONS = 30
"""Partitions of a table. Each adds 1 µs to a claim, and 60 µs to a list that has to read all of them."""
_DAY = 86_400  # seconds
_INTERVAL = 60.0
_CLOCKS_DIFFER = dt.timedelta(days=1)
_LOCK = 0x636C6172726574
"""An arbitrary number, the same in all versions of Clarion."""
_SQL = load("partitioning.sql")


class Partitions:
    """The partitions of triggers and attempts. Any number of processes may change them.

    Args:
        pool: The database.
        record: How many days triggers and attempts are kept.
    """

    def __init__(self, pool: Pool, record: int) -> None:
        self._pool = pool
        self._days = -(-record // MOST_PARTITIONS)  # rounded up

    async def run(self) -> None:
        """Add partitions now and every minute, until cancelled.

        Servers do this because they write the triggers, which would all be in the partition of the rest.
        """
        while True:
            try:
                async with reached():
                    await self.add()
            except StoreUnavailable:  # tried again in a minute
                log.info("partitions not added yet, because the database cannot be reached")
            except Exception as error:  # the process must not stop
                log.error("partitions not added", exc_info=error)
            await asyncio.sleep(_INTERVAL)

    async def add(self) -> None:
        """Add partitions for the time to come, each table's in a commit.

        If that fails, such as on a full disk, new triggers are kept in the partition of the rest.
        """
        for name, key in PARTITIONED.items():
            try:
                added = await self._in_moment("add_partitions", name=name, key=key, days=self._days)
            except asyncpg.PostgresError as error:
                if is_outage(error) and not isinstance(error, asyncpg.InsufficientResourcesError):
                    raise
                log.error(
                    f"partitions not added: {error}; triggers are accepted into {name}_rest meanwhile, from"
                    " where they are moved in a minute or later",
                    table=name,
                )
                return
            if added:
                log.info("partitions added", table=name, count=added, days=self._days)

    async def drop(self, record: int) -> None:
        """Delete partitions whose records are all older than `record` days, each in its own commit."""
        if not await self._clocks_agree():
            return
        for name in reversed(PARTITIONED):  # the attempts of a trigger before the trigger
            while dropped := await self._in_moment("drop_partition", name=name, older_than=record * _DAY):
                log.info("old records deleted", partition=dropped)

    async def _clocks_agree(self) -> bool:
        """Return whether the database's clock agrees with that of this process: deletion is final."""
        there: dt.datetime = await self._pool.fetchval(*_SQL["now"]())
        here = dt.datetime.now(dt.UTC)
        if abs(there - here) < _CLOCKS_DIFFER:
            return True
        log.error(
            f"old records not deleted, because the database's clock shows {there:%Y-%m-%d %H:%M} UTC, and"
            f" the clock of this machine {here:%Y-%m-%d %H:%M} UTC; set the one that is wrong"
        )
        return False

    async def _in_moment(self, statement: str, **values: object) -> object:
        """Return the result of a statement that locks a table, or None if it waits more than 0.1 s."""
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                if not await connection.fetchval(*_SQL["try_lock"](lock=_LOCK)):
                    return None
                await connection.execute(*_SQL["set_lock_timeout"]())
                found: object = await connection.fetchval(*_SQL[statement](**values))
                return found
        except asyncpg.LockNotAvailableError:  # tried again in a minute
            log.info("partitions not changed yet, because another session is using the table")
            return None
