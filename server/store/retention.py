"""Forgetting what is past its time: idempotency keys, and webhooks' messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from ..errors import StoreUnavailable
from .pool import Pool, in_portions, reached

__all__ = ["forget_keys", "forget_messages", "run_idempotency_retention", "run_webhook_retention"]

log = structlog.get_logger(__name__)

_AT_ONCE = 5_000
_EVERY = 60.0
_FORGET = """
    DELETE FROM idempotency WHERE (project_id, key) IN (
        SELECT project_id, key FROM idempotency WHERE created_at < now() - make_interval(secs => $1)
        ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING 1
"""
_FORGET_MESSAGES = """
    WITH old AS (
        DELETE FROM webhook_message WHERE id = ANY(ARRAY(
            SELECT id FROM webhook_message WHERE created_at < now() - make_interval(secs => $1)
            ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))
        RETURNING id
    ), given_up AS (
        DELETE FROM webhook_queue WHERE message_id = ANY(ARRAY(SELECT id FROM old))
    ), attempts AS (
        DELETE FROM webhook_attempt WHERE message_id = ANY(ARRAY(SELECT id FROM old))
    )
    SELECT FROM old
"""


async def forget_keys(pool: Pool, older_than: float) -> int:
    """Forget keys that are older than so many seconds; return how many.

    Raises:
        StoreUnavailable: the database cannot be reached.
    """
    return await _forget(pool, _FORGET, older_than)


async def forget_messages(pool: Pool, older_than: float) -> int:
    """Forget messages to endpoints that are older than so many seconds, with their log; return how many.

    Raises:
        StoreUnavailable: the database cannot be reached.
    """
    return await _forget(pool, _FORGET_MESSAGES, older_than)


async def run_idempotency_retention(pool: Pool, older_than: float) -> None:
    """Forget old keys every minute, until cancelled. A key too old counts for nothing even before that."""
    await _every_minute(lambda: forget_keys(pool, older_than), "old idempotency keys not forgotten")


async def run_webhook_retention(pool: Pool, older_than: float) -> None:
    """Forget old messages every minute, until cancelled."""
    await _every_minute(lambda: forget_messages(pool, older_than), "old webhook messages not forgotten")


async def _forget(pool: Pool, statement: str, older_than: float) -> int:
    async with reached():
        return await in_portions(pool, statement, older_than, at_once=_AT_ONCE)


async def _every_minute(forget: Callable[[], Awaitable[int]], complaint: str) -> None:
    while True:
        await asyncio.sleep(_EVERY)
        try:
            await forget()
        except Exception as error:  # the next minute is good enough; the process goes on
            unexpected = None if isinstance(error, StoreUnavailable) else error
            log.warning(complaint, exc_info=unexpected)
