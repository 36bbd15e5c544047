"""Calling triggers off while they wait."""

from __future__ import annotations

import uuid

from .pool import Pool
from .queue_statements import LOST

__all__ = ["cancel"]

# A dispatcher that claims the row at the same moment holds its lock: then this waits, and finds it claimed.
# Or this was first: then the claim skips the row. One whose lease is over is nobody's, though its attempt may
# have reached the provider: that is on record as lost.
_CANCEL = f"""
    WITH gone AS (
        DELETE FROM queue WHERE trigger_id = $1 AND (claimed_by IS NULL OR due_at <= now())
        RETURNING trigger_id, attempt, claimed_by, claimed_at, sent_by
    ), lost AS (
        INSERT INTO attempt
            (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
        SELECT {LOST} FROM gone WHERE claimed_by IS NOT NULL
        ON CONFLICT (trigger_id, number) DO NOTHING
    )
    INSERT INTO cancellation (trigger_id) SELECT trigger_id FROM gone
    ON CONFLICT (trigger_id) DO NOTHING RETURNING trigger_id
"""  # noqa: S608 - constants only


async def cancel(pool: Pool, trigger_id: uuid.UUID) -> bool:
    """Take a trigger off the queue for good; tell whether it waited there, and nobody held it."""
    return await pool.fetchval(_CANCEL, trigger_id) is not None
