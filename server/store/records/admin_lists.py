"""Many deliveries at once: lists by state, redrive of dead letters, and the backlog in figures."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from ...domain.campaign import Channel
from ...domain.delivery import DeliveryState
from ..accept.notify import CHANNEL
from ..pool import Pool

__all__ = [
    "AdminFilter",
    "Backlog",
    "DeliveryRow",
    "backlog",
    "dead_letters",
    "list_deliveries",
    "oldest_due",
    "redrive",
]

# Where the deliveries of a state are found without a look at all others.
_QUEUED = """queue q JOIN trigger t ON t.id = q.trigger_id LEFT JOIN dead_letter d ON false
    LEFT JOIN cancellation c ON false"""
_NOT_QUEUED = """trigger t LEFT JOIN queue q ON q.trigger_id = t.id
    LEFT JOIN dead_letter d ON d.trigger_id = t.id LEFT JOIN cancellation c ON c.trigger_id = t.id"""
_SOURCES = {
    None: _NOT_QUEUED,
    DeliveryState.PENDING: _QUEUED,
    DeliveryState.SENDING: _QUEUED,
    DeliveryState.RETRYING: _QUEUED,
    DeliveryState.DELIVERED: _NOT_QUEUED,
    DeliveryState.DEAD: """dead_letter d JOIN trigger t ON t.id = d.trigger_id
        LEFT JOIN queue q ON q.trigger_id = t.id LEFT JOIN cancellation c ON false""",
    DeliveryState.SUPPRESSED: """(SELECT DISTINCT trigger_id FROM attempt WHERE outcome = 'suppressed') s
        JOIN trigger t ON t.id = s.trigger_id LEFT JOIN queue q ON q.trigger_id = t.id
        LEFT JOIN dead_letter d ON d.trigger_id = t.id LEFT JOIN cancellation c ON false""",
    DeliveryState.CANCELLED: """cancellation c JOIN trigger t ON t.id = c.trigger_id
        LEFT JOIN queue q ON q.trigger_id = t.id LEFT JOIN dead_letter d ON false""",
}
# A cancellation or a last failure can be written in the same moment as "delivered", neither seeing the other.
SENT = "'delivered' = ANY(ARRAY(SELECT a.outcome FROM attempt a WHERE a.trigger_id = t.id))"
STATE = f"""CASE
            WHEN q.claimed_by IS NOT NULL AND q.due_at > now() THEN 'sending' -- after it, its lease has ended
            WHEN q.trigger_id IS NOT NULL AND q.attempt > 0 THEN 'retrying'
            WHEN q.trigger_id IS NOT NULL THEN 'pending'
            WHEN d.trigger_id IS NOT NULL AND NOT {SENT} THEN 'dead'
            WHEN c.trigger_id IS NOT NULL AND NOT {SENT} THEN 'cancelled'
            WHEN last.outcome = 'suppressed' AND NOT {SENT} THEN 'suppressed'
            ELSE 'delivered'
        END"""
LAST = """LEFT JOIN LATERAL (
        SELECT number, provider, outcome, started_at, error FROM attempt a WHERE a.trigger_id = t.id
        ORDER BY a.number DESC LIMIT 1) AS last ON true"""
WHERE = """($1::int8 IS NULL OR t.campaign_id = $1) AND ($2::text IS NULL OR t.channel = $2)
        AND ($3::text IS NULL OR t.external_id = $3)
        AND ($4::timestamptz IS NULL OR t.accepted_at >= $4) AND ($5::text IS NULL OR last.error ILIKE $5)
        AND ($6::text IS NULL OR p.name = $6)"""

# A dead letter is put back into the lane that its campaign has now. Its attempts stay on record; the policy
# counts anew from here.
_REDRIVE = f"""
    WITH chosen AS (
        SELECT t.id, c.channel || '/' || array_to_string(c.providers, ',') AS lane,
            coalesce(last.number, 0) AS attempts
        FROM dead_letter d JOIN trigger t ON t.id = d.trigger_id JOIN project p ON p.id = t.project_id
        JOIN campaign c ON c.project_id = t.project_id AND c.id = t.campaign_id {LAST}
        WHERE ($7::uuid[] IS NULL OR d.trigger_id = ANY($7)) AND {WHERE}
            AND d.died_at <= $9 AND NOT {SENT}
        ORDER BY d.died_at LIMIT $8 FOR UPDATE OF d SKIP LOCKED
    ), raised AS (
        DELETE FROM dead_letter WHERE trigger_id = ANY(ARRAY(SELECT id FROM chosen))
    )
    INSERT INTO queue (trigger_id, lane, attempt, tries_from)
    SELECT id, lane, attempts, attempts FROM chosen
    ON CONFLICT (trigger_id) DO NOTHING RETURNING trigger_id
"""  # noqa: S608 - constants only
_REDRIVEN_AT_ONCE = 1000

# One look into the index for each lane.
_OLDEST = """
    SELECT split_part(lane, '/', 1) AS channel,
        extract(epoch FROM now() - min(oldest))::float8 AS age
    FROM unnest($1::text[]) AS lane CROSS JOIN LATERAL (
        SELECT due_at AS oldest FROM queue WHERE queue.lane = lane.lane AND due_at <= now()
        ORDER BY due_at LIMIT 1) AS front
    GROUP BY 1
"""
_BACKLOG = """
    SELECT split_part(lane, '/', 1) AS channel, split_part(lane, '/', 2) AS providers,
        count(*) FILTER (WHERE due_at <= now()) AS due,
        count(*) FILTER (WHERE claimed_by IS NULL AND due_at > now()) AS later,
        count(*) FILTER (WHERE claimed_by IS NOT NULL AND due_at > now()) AS sending,
        coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE due_at <= now())), 0)::float8
            AS oldest_due
    FROM queue GROUP BY lane ORDER BY lane
"""


@dataclass(frozen=True, slots=True)
class AdminFilter:
    """Which deliveries: of what and whom, accepted since when, and a text that the last error holds."""

    campaign_id: int | None = None
    channel: Channel | None = None
    external_id: str | None = None
    since: dt.datetime | None = None
    error: str | None = None
    project: str | None = None

    def arguments(self) -> tuple[object, ...]:
        """Return what the statements' $1 to $6 stand for."""
        error = f"%{_literally(self.error)}%" if self.error else None
        channel = self.channel.value if self.channel else None
        return self.campaign_id, channel, self.external_id, self.since, error, self.project


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One delivery in a list."""

    trigger_id: uuid.UUID
    campaign_id: int
    channel: Channel
    external_id: str
    state: DeliveryState
    accepted_at: dt.datetime
    attempts: int
    provider: str
    error: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in one lane. `oldest_due` is in seconds."""

    channel: Channel
    providers: str
    due: int
    later: int
    sending: int
    oldest_due: float


async def list_deliveries(
    pool: Pool, state: DeliveryState | None, wanted: AdminFilter, limit: int
) -> list[DeliveryRow]:
    """Return the newest deliveries in a state (None: in any) that are wanted."""
    rows = await pool.fetch(
        f"""SELECT t.id, t.campaign_id, t.channel, t.external_id, t.accepted_at, {STATE} AS state,
                coalesce(last.number, 0) AS attempts, coalesce(last.provider, '') AS provider,
                coalesce(last.error, '') AS error
            FROM {_SOURCES[state]} JOIN project p ON p.id = t.project_id {LAST}
            WHERE {WHERE} AND ($7::text IS NULL OR {STATE} = $7) ORDER BY t.id DESC LIMIT $8""",  # noqa: S608 - constants only
        *wanted.arguments(),
        state.value if state else None,
        limit,
    )
    return [_delivery_row(row) for row in rows]


async def redrive(pool: Pool, wanted: AdminFilter, ids: Sequence[uuid.UUID] | None = None) -> int:
    """Put dead letters back into the queue, due at once; return how many. `ids`: only these.

    What dies again meanwhile stays dead: or this would go on for as long as a provider refuses all.
    """
    total, begun_at = 0, await pool.fetchval("SELECT now()")
    while True:
        async with pool.acquire() as connection, connection.transaction():
            chosen = list(ids) if ids is not None else None
            rows = await connection.fetch(_REDRIVE, *wanted.arguments(), chosen, _REDRIVEN_AT_ONCE, begun_at)
            await connection.execute(f"NOTIFY {CHANNEL}")
        total += len(rows)
        if len(rows) < _REDRIVEN_AT_ONCE:
            return total


async def oldest_due(pool: Pool, lanes: Sequence[str]) -> dict[Channel, float]:
    """Return for how many seconds the oldest due trigger of each channel has waited."""
    return {Channel(row["channel"]): row["age"] for row in await pool.fetch(_OLDEST, list(lanes))}


async def dead_letters(pool: Pool) -> int:
    """Return how many dead letters there are."""
    count: int = await pool.fetchval("SELECT count(*) FROM dead_letter")
    return count


async def backlog(pool: Pool) -> list[Backlog]:
    """Return what waits, by lane."""
    return [
        Backlog(
            Channel(row["channel"]),
            row["providers"],
            row["due"],
            row["later"],
            row["sending"],
            row["oldest_due"],
        )
        for row in await pool.fetch(_BACKLOG)
    ]


def _literally(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _delivery_row(row: asyncpg.Record) -> DeliveryRow:
    return DeliveryRow(
        trigger_id=row["id"],
        campaign_id=row["campaign_id"],
        channel=Channel(row["channel"]),
        external_id=row["external_id"],
        state=DeliveryState(row["state"]),
        accepted_at=row["accepted_at"],
        attempts=row["attempts"],
        provider=row["provider"],
        error=row["error"],
    )
