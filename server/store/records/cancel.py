"""Calling triggers off while they wait."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from ..pool import Connection, Pool
from ..queue.triggers_sql import LOST
from ..queue.webhooks_sql import TELL
from .admin_lists import LAST, WHERE, AdminFilter

__all__ = ["cancel", "cancel_all"]

# A dispatcher that claims the row at the same moment holds its lock: then this waits, and finds it claimed.
# Or this was first: then the claim skips the row. One whose lease is over is nobody's, though its attempt may
# have reached the provider: that is on record as lost.
_CANCEL = f"""
    WITH gone AS (
        DELETE FROM queue WHERE trigger_id = ANY($1::uuid[]) AND (claimed_by IS NULL OR due_at <= now())
        RETURNING trigger_id, attempt, claimed_by, claimed_at, sent_by
    ), lost AS (
        INSERT INTO attempt
            (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
        SELECT {LOST} FROM gone WHERE claimed_by IS NOT NULL
        ON CONFLICT (trigger_id, number) DO NOTHING
    ), news AS (
        SELECT trigger_id, 'cancelled' AS state, attempt AS attempts, '' AS provider,
            '' AS provider_message_id, '' AS error
        FROM gone
    ), {TELL}
    INSERT INTO cancellation (trigger_id) SELECT trigger_id FROM gone
    ON CONFLICT (trigger_id) DO NOTHING RETURNING trigger_id
"""  # noqa: S608 - constants only
_CHOOSE = f"""
    SELECT q.trigger_id FROM queue q JOIN trigger t ON t.id = q.trigger_id
    JOIN project p ON p.id = t.project_id {LAST}
    WHERE q.trigger_id > $7 AND ($8::uuid[] IS NULL OR q.trigger_id = ANY($8)) AND {WHERE}
    ORDER BY q.trigger_id LIMIT $9
"""  # noqa: S608 - constants only
_AT_ONCE = 1000
_LEAST = uuid.UUID(int=0)


async def cancel(pool: Pool | Connection, trigger_id: uuid.UUID) -> bool:
    """Take a trigger off the queue for good; tell whether it waited there, and nobody held it."""
    return await pool.fetchval(_CANCEL, [trigger_id]) is not None


async def cancel_all(pool: Pool, wanted: AdminFilter, ids: Sequence[uuid.UUID] | None = None) -> int:
    """Cancel all that wait and are wanted; return how many. `ids`: only these."""
    total, after = 0, _LEAST
    chosen = None if ids is None else list(ids)
    while rows := await pool.fetch(_CHOOSE, *wanted.arguments(), after, chosen, _AT_ONCE):
        found = [row["trigger_id"] for row in rows]
        total += len(await pool.fetch(_CANCEL, found))
        after = found[-1]
    return total
