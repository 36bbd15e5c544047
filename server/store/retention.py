"""Deletes what is past its retention time: keys, webhook messages, operations, content and records."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from ..domain.campaign import Channel
from ..errors import StoreUnavailable
from . import metrics
from .partitioning import Partitions
from .pool import Pool, reached, run_in_chunks
from .retention_days import RetentionDays
from .sql import Statement, load

__all__ = [
    "RecordRetention",
    "delete_keys",
    "delete_messages",
    "delete_operations",
    "run_idempotency_retention",
    "run_operation_retention",
    "run_webhook_retention",
]

log = structlog.get_logger(__name__)

_AT_ONCE = 5_000
_INTERVAL = 60.0  # seconds
_DAY = 86_400
_OPERATIONS_KEPT = 30 * _DAY  # seconds
_OF_RECORDS = (
    "delete_dead_letters",
    "delete_cancellations",
    "delete_other_attempts",
    "delete_other_triggers",
)
_SQL = load("retention.sql")


async def delete_keys(pool: Pool, older_than: float) -> int:
    """Delete idempotency keys that are older than `older_than` seconds; return how many.

    Raises:
        StoreUnavailable: The database cannot be reached.
    """
    return await _delete(pool, _SQL["delete_keys"], older_than)


async def delete_messages(pool: Pool, older_than: float) -> int:
    """Delete webhook messages older than `older_than` seconds, with their log; return how many.

    Raises:
        StoreUnavailable: The database cannot be reached.
    """
    return await _delete(pool, _SQL["delete_messages"], older_than)


async def delete_operations(pool: Pool, older_than: float) -> int:
    """Delete operations that ended more than `older_than` seconds ago; return how many.

    Raises:
        StoreUnavailable: The database cannot be reached.
    """
    return await _delete(pool, _SQL["delete_operations"], older_than)


async def run_idempotency_retention(pool: Pool, older_than: float) -> None:
    """Delete old keys every minute, until cancelled. An expired key has no effect even before that."""
    await _every_minute(lambda: delete_keys(pool, older_than), "idempotency keys")


async def run_webhook_retention(pool: Pool, older_than: float) -> None:
    """Delete old messages every minute, until cancelled."""
    await _every_minute(lambda: delete_messages(pool, older_than), "webhook messages")


async def run_operation_retention(pool: Pool) -> None:
    """Delete operations that ended 30 days ago every minute, until cancelled."""
    await _every_minute(lambda: delete_operations(pool, _OPERATIONS_KEPT), "operations")


class RecordRetention:
    """Removes the content of triggers, and later their records, and keeps partitions ready for new ones.

    Any number of processes may do this. A time that is shorter than before applies a day later: see
    RetentionDays.

    Args:
        pool: The database.
        content: How many days the content of a trigger is kept: recipient, event and user data. Projects can
            have other times.
        record: How many days the rest of a trigger and its attempts are kept.
        audit: How many days audit events are kept.
    """

    def __init__(self, pool: Pool, *, content: int, record: int, audit: int) -> None:
        self._pool = pool
        self._days = RetentionDays(pool, {"content": content, "record": record, "audit": audit})
        self._partitions = Partitions(pool, record)

    async def report(self) -> None:
        """Compare the times with those before, and log which are shorter.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        async with reached():
            await self._days.report()

    async def run(self) -> None:
        """Do this every minute, until cancelled."""
        await _every_minute(self.once, "records")

    async def once(self) -> None:
        """Remove everything that is past its time now.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        async with reached():
            await self.remove_content()
            record = await self._days.applied("record")
            for name in _OF_RECORDS:
                await run_in_chunks(self._pool, _SQL[name], _AT_ONCE, older_than=record * _DAY)
            await self._delete_audit_events()
            await self._partitions.add()
            await self._partitions.drop(record)

    async def remove_content(self) -> None:
        """Remove the content of triggers once its time has passed and they have left the queue."""
        standard = await self._days.applied("content")
        channels = [channel.value for channel in Channel]
        found = await self._pool.fetch(*_SQL["content_days"](channels=channels, standard=standard))
        all_days = [row["days"] for row in found]
        await self._pool.execute(*_SQL["begin_removal"](days=all_days))
        await self._pool.execute(*_SQL["begin_removal_again"]())
        for days in all_days:
            values = {"days": days, "standard": standard, "limit": _AT_ONCE}
            is_unfinished = True
            while is_unfinished:
                is_unfinished = await self._pool.fetchval(*_SQL["remove_content"](**values))
        await run_in_chunks(self._pool, _SQL["remove_due_content"], _AT_ONCE)

    async def _delete_audit_events(self) -> None:
        older_than = await self._days.applied("audit") * _DAY
        count = _AT_ONCE
        while count == _AT_ONCE:
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(*_SQL["allow_audit_deletion"]())
                statement = _SQL["delete_audit_events"](older_than=older_than, limit=_AT_ONCE)
                count = len(await connection.fetch(*statement))


async def _delete(pool: Pool, statement: Statement, older_than: float) -> int:
    async with reached():
        return await run_in_chunks(pool, statement, _AT_ONCE, older_than=older_than)


async def _every_minute(delete: Callable[[], Awaitable[int | None]], data: str) -> None:
    """Delete every minute, until cancelled.

    Args:
        delete: Deletes what is past its time, and returns the number of rows if it knows it.
        data: What it deletes, for the log and the metrics.
    """
    while True:
        await asyncio.sleep(_INTERVAL)
        try:
            metrics.deleted(data, await delete())
        except Exception as error:  # tried again in a minute; the process must not stop
            unexpected = None if isinstance(error, StoreUnavailable) else error
            log.warning(f"old {data} not deleted", exc_info=unexpected)
