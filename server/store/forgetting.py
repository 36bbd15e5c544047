"""Forgetting idempotency keys whose time is over."""

from __future__ import annotations

import asyncio

import structlog

from ..errors import StoreUnavailable
from .pool import Pool, reached

__all__ = ["forget_keys", "forget_keys_forever"]

log = structlog.get_logger(__name__)

_AT_ONCE = 5_000
_EVERY = 60.0
_FORGET = """
    DELETE FROM idempotency WHERE (project_id, key) IN (
        SELECT project_id, key FROM idempotency WHERE created_at < now() - make_interval(secs => $1)
        ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING 1
"""


async def forget_keys(pool: Pool, older_than: float) -> int:
    """Forget keys that are older than so many seconds; return how many.

    Raises:
        StoreUnavailable: the database cannot be reached.
    """
    total = 0
    while True:
        async with reached():
            rows = await pool.fetch(_FORGET, older_than, _AT_ONCE)
        total += len(rows)
        if len(rows) < _AT_ONCE:
            return total


async def forget_keys_forever(pool: Pool, older_than: float) -> None:
    """Forget old keys every minute, until cancelled. A key too old counts for nothing even before that."""
    while True:
        await asyncio.sleep(_EVERY)
        try:
            await forget_keys(pool, older_than)
        except Exception as error:  # the next minute is good enough; the server goes on
            unexpected = None if isinstance(error, StoreUnavailable) else error
            log.warning("old idempotency keys not forgotten", exc_info=unexpected)
