"""The delivery log of webhooks, and sending again what failed."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import asyncpg

from ...domain.delivery import Attempt, AttemptOutcome
from ...domain.webhook import Logged, MessageState
from ..pool import Pool, in_portions
from ..queue.webhooks_sql import TTL

__all__ = ["list_log", "retry_messages"]

_RETRIED_AT_ONCE = 1000
_DUE_STATES = {MessageState.PENDING, MessageState.RETRYING}
_NEWEST = """
    SELECT * FROM webhook_message WHERE $1::uuid IS NULL OR webhook_id = $1
    ORDER BY created_at DESC, id LIMIT $2
"""
# What is being sent for the first time counts as an attempt in the queue already, but has not failed.
_NEWEST_FAILED = """
    SELECT m.* FROM (
        SELECT id FROM webhook_message WHERE failed_at IS NOT NULL
        UNION
        SELECT message_id FROM webhook_queue
        WHERE attempt > (claimed_by IS NOT NULL AND due_at > now())::int
    ) AS failed JOIN webhook_message m USING (id)
    WHERE $1::uuid IS NULL OR m.webhook_id = $1
    ORDER BY m.created_at DESC, m.id LIMIT $2
"""
_LOG = """
    SELECT m.id, m.webhook_id, m.trigger_id, m.type, m.created_at, q.due_at, a.*,
        CASE
            WHEN q.claimed_by IS NOT NULL AND q.due_at > now() THEN 'sending'
            WHEN q.attempt > 0 THEN 'retrying'
            WHEN q.message_id IS NOT NULL THEN 'pending'
            WHEN m.failed_at IS NOT NULL THEN 'dead'
            WHEN EXISTS (SELECT FROM webhook_attempt WHERE message_id = m.id AND outcome = 'delivered')
                THEN 'delivered'
            ELSE 'dead' -- its endpoint was deleted while it waited
        END AS state
    FROM ({chosen}) AS m
    LEFT JOIN webhook_queue q ON q.message_id = m.id
    LEFT JOIN webhook_attempt a ON a.message_id = m.id
    ORDER BY m.created_at DESC, m.id, a.number DESC
"""
# A message of an endpoint that is deleted stays where it is.
_RAISE = f"""
    WITH chosen AS (
        SELECT m.id, m.webhook_id, (SELECT coalesce(max(number), 0) FROM webhook_attempt a
            WHERE a.message_id = m.id) AS attempts
        FROM webhook_message m JOIN webhook w ON w.id = m.webhook_id
        WHERE m.failed_at <= $3 AND ($1::uuid[] IS NULL OR m.id = ANY($1))
            AND ($2::uuid IS NULL OR m.webhook_id = $2)
        ORDER BY m.created_at LIMIT $4 FOR UPDATE OF m SKIP LOCKED
    ), raised AS (
        UPDATE webhook_message SET failed_at = NULL WHERE id = ANY(ARRAY(SELECT id FROM chosen))
    )
    INSERT INTO webhook_queue (message_id, webhook_id, expires_at, attempt, tries_from)
    SELECT id, webhook_id, now() + {TTL}, attempts, attempts FROM chosen
    ON CONFLICT (message_id) DO NOTHING RETURNING message_id
"""  # noqa: S608 - constants only
# Neither what is under way, nor what is due with a full count of attempts as it is.
_HURRY = f"""
    UPDATE webhook_queue SET due_at = now(), expires_at = now() + {TTL}, tries_from = attempt
    WHERE message_id = ANY(ARRAY(
        SELECT message_id FROM webhook_queue
        WHERE attempt > 0 AND claimed_by IS NULL AND claimed_at <= $3
            AND (due_at > now() OR tries_from < attempt)
            AND ($1::uuid[] IS NULL OR message_id = ANY($1)) AND ($2::uuid IS NULL OR webhook_id = $2)
        ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED))
    RETURNING message_id
"""  # noqa: S608 - constants only


async def list_log(
    pool: Pool, endpoint_id: uuid.UUID | None = None, *, failed: bool = False, limit: int = 50
) -> list[Logged]:
    """Return the attempts of the newest messages, the last first.

    Args:
        pool: The database.
        endpoint_id: Only messages to this endpoint.
        failed: Only messages whose last attempt failed, whether another one follows or not.
        limit: How many messages.
    """
    query = _LOG.format(chosen=_NEWEST_FAILED if failed else _NEWEST)
    return [_logged(row) for row in await pool.fetch(query, endpoint_id, limit)]


async def retry_messages(
    pool: Pool, *, ids: Sequence[uuid.UUID] | None = None, endpoint_id: uuid.UUID | None = None
) -> int:
    """Have messages sent again that were given up or wait for another attempt; return how many.

    They are due at once, with as many attempts as at first. What fails again meanwhile stays: or this would
    go on for as long as an endpoint fails.

    Args:
        pool: The database.
        ids: Only these.
        endpoint_id: Only those of this endpoint.
    """
    begun_at = await pool.fetchval("SELECT now()")
    chosen = (list(ids) if ids is not None else None, endpoint_id, begun_at)
    return sum(
        [await in_portions(pool, each, *chosen, at_once=_RETRIED_AT_ONCE) for each in (_RAISE, _HURRY)]
    )


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
