"""The queue: claims under a lease, and what became of them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress

import asyncpg
import structlog

from ..domain.campaign import Channel
from ..domain.delivery import AttemptOutcome, Claim, Finished
from ..domain.trigger import Trigger
from .announce import CHANNEL
from .pool import Connection, Pool, is_outage, reached

__all__ = ["SESSION", "PostgresQueue"]

log = structlog.get_logger(__name__)

SESSION = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off"}
"""What PostgreSQL must be told on the connections of a queue.

It keeps a statement's plan, made without knowing how few rows a batch holds and perhaps while the tables were
small. So the statements name their rows by `= ANY` or OFFSET 0, which leaves only the index to find them by.
"""

# A row that is due although somebody holds it had a dispatcher that died: its attempt is recorded as lost.
_CLAIM = """
    WITH due AS (
        SELECT q.* FROM unnest($1::text[], $2::int4[]) AS lane (provider, slots)
        CROSS JOIN LATERAL (
            SELECT trigger_id, attempt, claimed_by, claimed_at FROM queue
            WHERE queue.provider = lane.provider AND due_at <= now()
            ORDER BY due_at LIMIT lane.slots FOR UPDATE SKIP LOCKED) AS q
    ), claimed AS (
        UPDATE queue SET due_at = now() + make_interval(secs => $3), attempt = queue.attempt + 1,
            claimed_by = $4, claimed_at = now()
        WHERE queue.trigger_id = ANY(ARRAY(SELECT trigger_id FROM due))
        RETURNING queue.trigger_id, queue.attempt, queue.provider, queue.due_at
    ), lost AS (
        INSERT INTO attempt
            (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
        SELECT due.trigger_id, due.attempt, claimed.provider, 'lost', due.claimed_at,
            extract(epoch FROM now() - due.claimed_at), '',
            'the dispatcher ended before it could record the outcome'
        FROM due JOIN claimed USING (trigger_id) WHERE due.claimed_by IS NOT NULL
        ON CONFLICT (trigger_id, number) DO NOTHING
    )
    SELECT claimed.attempt, claimed.provider, claimed.due_at, trigger.*
    FROM claimed CROSS JOIN LATERAL (SELECT * FROM trigger WHERE id = claimed.trigger_id OFFSET 0) AS trigger
    ORDER BY trigger.id
"""

# A dispatcher whose lease ran out may still come back with an outcome. "Delivered" is true whoever holds the
# row now; to retry or to give up is for the present holder alone.
_FINISH = """
    WITH done AS (
        SELECT * FROM unnest($1::uuid[], $2::int4[], $3::text[], $4::text[], $5::timestamptz[],
            $6::float8[], $7::text[], $8::text[], $9::float8[]) AS f (trigger_id, number, provider,
            outcome, started_at, duration, provider_message_id, error, retry_in)
    ), recorded AS (
        INSERT INTO attempt
            (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
        SELECT trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error
        FROM done
        ON CONFLICT (trigger_id, number) DO UPDATE SET outcome = excluded.outcome,
            duration = excluded.duration, provider_message_id = excluded.provider_message_id,
            error = excluded.error
        WHERE attempt.outcome = 'lost'
    ), gone AS (
        DELETE FROM queue USING done
        WHERE queue.trigger_id = ANY($1) AND queue.trigger_id = done.trigger_id
            AND (done.outcome = 'delivered' OR
            (done.outcome = 'dead' AND queue.attempt = done.number AND queue.claimed_by = $10))
        RETURNING done.trigger_id, done.outcome, done.error
    ), buried AS (
        INSERT INTO dead_letter (trigger_id, error)
        SELECT trigger_id, error FROM gone WHERE outcome = 'dead'
        ON CONFLICT (trigger_id) DO UPDATE SET died_at = now(), error = excluded.error
    ), raised AS (
        DELETE FROM dead_letter USING done
        WHERE dead_letter.trigger_id = ANY($1) AND dead_letter.trigger_id = done.trigger_id
            AND done.outcome = 'delivered'
    )
    UPDATE queue SET due_at = now() + make_interval(secs => done.retry_in), claimed_by = NULL
    FROM done WHERE queue.trigger_id = ANY($1) AND queue.trigger_id = done.trigger_id
        AND done.outcome = 'retry' AND queue.attempt = done.number AND queue.claimed_by = $10
"""

_HAND_BACK = """
    UPDATE queue SET due_at = now(), attempt = attempt - 1, claimed_by = NULL
    FROM unnest($1::uuid[], $2::int4[]) AS held (trigger_id, number)
    WHERE queue.trigger_id = ANY($1) AND queue.trigger_id = held.trigger_id
        AND queue.attempt = held.number AND claimed_by = $3
"""


class PostgresQueue:
    """One dispatcher's view of the queue."""

    def __init__(self, pool: Pool) -> None:
        """Take a pool opened with the settings `SESSION`; the dispatcher gets an id of its own."""
        self._pool = pool
        self._id = uuid.uuid4()
        self._news = asyncio.Event()
        self._listener: Connection | None = None

    async def claim(self, free: Mapping[str, int], lease: float) -> list[Claim]:
        """Claim up to `free[provider]` due triggers of each provider for `lease` seconds.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        async with reached():
            rows = await self._pool.fetch(_CLAIM, list(free), list(free.values()), lease, self._id)
        return [_claim(row) for row in rows]

    async def finish(self, finished: Sequence[Finished]) -> None:
        """Record attempts and take their triggers off the queue or put them back, in one commit.

        Raises:
            StoreUnavailable: the database cannot be reached; call again with the same.
        """
        columns = zip(*map(_finished_row, finished), strict=True)
        async with reached():
            await self._pool.execute(_FINISH, *map(list, columns), self._id)

    async def hand_back(self, claims: Sequence[Claim]) -> None:
        """Give claims back undone; they are due at once and no attempt is counted.

        Raises:
            StoreUnavailable: the database cannot be reached; the leases will run out instead.
        """
        ids, numbers = [claim.trigger.id for claim in claims], [claim.attempt for claim in claims]
        async with reached():
            await self._pool.execute(_HAND_BACK, ids, numbers, self._id)

    async def wait(self, timeout: float) -> None:  # noqa: ASYNC109 - "or that time has passed" is the contract
        """Return when new work was announced, or after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._listen()
                await self._news.wait()
        except TimeoutError:
            return
        finally:
            self._news.clear()

    async def close(self) -> None:
        """Stop listening."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(asyncpg.InterfaceError):  # lost a moment ago
                await listener.close()

    async def _listen(self) -> None:
        """Hold a connection that hears notices; a lost one is opened again at the next wait."""
        if self._listener is not None:
            return
        try:
            self._listener = await self._listening_connection()
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("not listening for new work", error=type(error).__name__)

    async def _listening_connection(self) -> Connection:
        connection = await self._pool.acquire()
        try:
            await connection.add_listener(CHANNEL, lambda *_: self._news.set())
        except BaseException:  # also when the wait ended meanwhile: the pool must get its place back
            connection.terminate()
            raise
        connection.add_termination_listener(self._not_listening)
        return connection

    def _not_listening(self, *_: object) -> None:
        self._listener = None


def _claim(row: asyncpg.Record) -> Claim:
    trigger = Trigger(
        id=row["id"],
        project_id=row["project_id"],
        campaign_id=row["campaign_id"],
        channel=Channel(row["channel"]),
        external_id=row["external_id"],
        address=row["address"],
        timezone=row["timezone"],
        locale=row["locale"],
        user_data=row["user_data"],
        event=row["event"],
        traceparent=row["traceparent"],
        accepted_at=row["accepted_at"],
    )
    return Claim(trigger, row["attempt"], row["provider"], row["due_at"])


def _finished_row(finished: Finished) -> tuple[object, ...]:
    attempt = finished.attempt
    assert (attempt.outcome is AttemptOutcome.RETRY) == (finished.retry_in is not None)  # noqa: S101 - ours to keep
    return (
        finished.claim.trigger.id,
        attempt.number,
        attempt.provider,
        attempt.outcome.value,
        attempt.started_at,
        attempt.duration,
        attempt.provider_message_id,
        attempt.error,
        finished.retry_in,
    )
