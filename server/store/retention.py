"""Deletes idempotency keys and webhook messages that are past their retention time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from ..errors import StoreUnavailable
from .pool import Pool, reached, run_in_chunks
from .sql import Statement, load

__all__ = ["delete_keys", "delete_messages", "run_idempotency_retention", "run_webhook_retention"]

log = structlog.get_logger(__name__)

_AT_ONCE = 5_000
_INTERVAL = 60.0  # seconds
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


async def run_idempotency_retention(pool: Pool, older_than: float) -> None:
    """Delete old keys every minute, until cancelled. An expired key has no effect even before that."""
    await _every_minute(lambda: delete_keys(pool, older_than), "old idempotency keys not deleted")


async def run_webhook_retention(pool: Pool, older_than: float) -> None:
    """Delete old messages every minute, until cancelled."""
    await _every_minute(lambda: delete_messages(pool, older_than), "old webhook messages not deleted")


async def _delete(pool: Pool, statement: Statement, older_than: float) -> int:
    async with reached():
        return await run_in_chunks(pool, statement, _AT_ONCE, older_than=older_than)


async def _every_minute(delete: Callable[[], Awaitable[int]], event: str) -> None:
    while True:
        await asyncio.sleep(_INTERVAL)
        try:
            await delete()
        except Exception as error:  # tried again in a minute; the process must not stop
            unexpected = None if isinstance(error, StoreUnavailable) else error
            log.warning(event, exc_info=unexpected)
