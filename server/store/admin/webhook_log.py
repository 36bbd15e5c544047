"""The delivery log of webhooks, and retries of failed messages."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import asyncpg

from ...domain.delivery import Attempt, AttemptOutcome
from ...domain.webhook import POLICY, Logged, MessageState
from ..pool import Pool, run_in_chunks
from ..sql import load

__all__ = ["list_log", "retry_messages"]

_RETRIED_AT_ONCE = 1000
_DUE_STATES = {MessageState.PENDING, MessageState.RETRYING}
_SQL = load("admin/webhook_log.sql")


async def list_log(
    pool: Pool, endpoint_id: uuid.UUID | None = None, *, failed: bool = False, limit: int = 50
) -> list[Logged]:
    """Return the attempts of the newest messages, the latest attempt of each first.

    Args:
        pool: The database.
        endpoint_id: Only messages to this endpoint.
        failed: Only messages whose last attempt failed, even if another attempt follows.
        limit: The maximum number of messages.
    """
    statement = _SQL["log_of_failed" if failed else "log"](endpoint_id=endpoint_id, limit=limit)
    return [_logged(row) for row in await pool.fetch(*statement)]


async def retry_messages(
    pool: Pool, *, ids: Sequence[uuid.UUID] | None = None, endpoint_id: uuid.UUID | None = None
) -> int:
    """Retry messages that were given up or wait for another attempt; return how many.

    They become due at once, and the retry policy counts from zero. Messages that fail again meanwhile are not
    retried again; otherwise this call would not end while an endpoint fails.

    Args:
        pool: The database.
        ids: Only these messages.
        endpoint_id: Only messages to this endpoint.
    """
    values = {
        "ids": list(ids) if ids is not None else None,
        "endpoint_id": endpoint_id,
        "before": await pool.fetchval(*_SQL["now"]()),
        "message_ttl": POLICY.ttl,
    }
    requeued = await run_in_chunks(pool, _SQL["requeue"], _RETRIED_AT_ONCE, **values)
    return requeued + await run_in_chunks(pool, _SQL["make_due"], _RETRIED_AT_ONCE, **values)


def _logged(row: asyncpg.Record) -> Logged:
    state = MessageState(row["state"])
    return Logged(
        message_id=row["id"],
        endpoint_id=row["webhook_id"],
        type=row["type"],
        trigger_id=row["trigger_id"],
        created_at=row["created_at"],
        state=state,
        next_attempt_at=row["due_at"] if state in _DUE_STATES else None,
        attempt=_attempt(row) if row["number"] is not None else None,
        status=row["status"],
        answer=row["answer"] or "",
    )


def _attempt(row: asyncpg.Record) -> Attempt:
    return Attempt(
        number=row["number"],
        provider=str(row["webhook_id"]),
        outcome=AttemptOutcome(row["outcome"]),
        started_at=row["started_at"],
        duration=row["duration"],
        error=row["error"],
    )
