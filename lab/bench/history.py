"""Databases whose claims are compared: an empty one, and one with a past. Part of `bench.claims`."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from server.domain.campaign import Channel
from server.domain.delivery import Attempt, AttemptOutcome, Claim, ClaimRequest, Finished
from server.postgres.embedded import EmbeddedPostgres
from server.store.accept.group_commit import TriggerWriter
from server.store.pool import Pool, open_pool
from server.store.queue.scan_floor import FRONT, LOOK_BACK, ScanFloors
from server.store.queue.triggers import SESSION, PostgresQueue
from server.store.schema.migrate import migrate

from .outgoing import a_trigger, write, writing

__all__ = ["Look", "Subject", "Taken", "subject"]

LANE, PROVIDER = "email/smtp", "smtp"
_LEASE = 60.0
_CHUNK = 500_000
_FILL_SECONDS = 1800.0
_OLD_TRIGGERS = """
    INSERT INTO trigger (id, project_id, campaign_id, channel, external_id, address, timezone, locale,
        user_data, event, accepted_at)
    SELECT ('0190' || lpad(to_hex(n), 28, '0'))::uuid, 1, 44, 'email', 'customer-' || n,
        'user-' || n || '@example.com', 'America/Chicago', 'en', '', '{"random_field": "value"}',
        timestamptz '2025-01-01' + n * interval '1 s'
    FROM generate_series($1::int8, $2::int8) AS n
"""
_OLD_ATTEMPTS = """
    INSERT INTO attempt (trigger_id, number, provider, outcome, started_at, duration,
        provider_message_id, error)
    SELECT ('0190' || lpad(to_hex(n), 28, '0'))::uuid, 1, 'smtp', 'delivered',
        timestamptz '2025-01-01' + n * interval '1 s', 0.01, '<' || n || '@clarion.example>', ''
    FROM generate_series($1::int8, $2::int8) AS n
"""


class Look(enum.StrEnum):
    """Where a claim began to look."""

    FLOOR = "from the floor"
    BACK = "15 s further back"
    FRONT = "from the front"
    NO_FLOOR = "without floors"


@dataclass(frozen=True, slots=True)
class Taken:
    """One claim; times in seconds."""

    at: float
    slots: int
    look: Look
    seconds: float


class _ToldFloors(ScanFloors):
    """Floors that tell which look they gave last."""

    look = Look.FRONT

    def of(self, lane: str) -> dt.datetime:
        floor = super().of(lane)
        back = self._lanes[lane].reached - floor >= LOOK_BACK
        self.look = Look.FRONT if floor == FRONT else Look.BACK if back else Look.FLOOR
        return floor


class _NoFloors(_ToldFloors):
    """What a queue without this idea does."""

    look = Look.NO_FLOOR

    def of(self, lane: str) -> dt.datetime:
        return FRONT


class Subject:
    """One database, with its claims and how long they took."""

    def __init__(self, name: str, pool: Pool, writer: TriggerWriter) -> None:
        """Take a name for the report, a pool as a dispatcher's, and a server's writer."""
        self.name = name
        self.taken: list[Taken] = []
        self._pool = pool
        self._writer = writer
        self._queues = [_queue(pool, floors) for floors in (_ToldFloors(), _NoFloors())]
        self._held: list[Claim] = []

    async def insert(self, count: int) -> None:
        """Let triggers arrive."""
        await write(self._writer, [a_trigger(1, 44, Channel.EMAIL, n) for n in range(count)], LANE)

    async def claim(self, slots: int, *, floors: bool = True) -> None:
        """Claim up to so many; note how long it took."""
        queue, told = self._queues[not floors]
        began = time.monotonic()
        claims = await queue.claim([ClaimRequest(LANE, PROVIDER, slots)], _LEASE)
        seconds = time.monotonic() - began
        if len(claims) == slots:  # else it was an easier task than the others
            self.taken.append(Taken(began, slots, told.look, seconds))
        self._held += claims

    async def finish(self) -> None:
        """Record all that is held as delivered."""
        held, self._held = self._held, []
        if held:
            await self._queues[0][0].finish([_delivered(claim) for claim in held])

    async def remember(self, rows: int, say: Callable[[str], None]) -> None:
        """Write a history of delivered triggers, and let PostgreSQL tidy up."""
        began = time.monotonic()
        for first in range(1, rows + 1, _CHUNK):
            last = min(first + _CHUNK - 1, rows)
            await asyncio.gather(
                *(_write(self._pool, sql, first, last) for sql in (_OLD_TRIGGERS, _OLD_ATTEMPTS))
            )
            say(f"history: {last} of {rows} rows, {time.monotonic() - began:.0f} s")
        for table in ("trigger", "attempt"):
            await self._pool.execute(f"VACUUM ANALYZE {table}", timeout=_FILL_SECONDS)
        await self._pool.execute("CHECKPOINT", timeout=_FILL_SECONDS)

    @asynccontextmanager
    async def held_open(self) -> AsyncIterator[None]:
        """Hold a transaction open for the block: what dies meanwhile cannot be cleared away."""
        async with self._pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            await connection.fetchval("SELECT count(*) FROM queue")  # takes the snapshot
            yield

    async def entries(self) -> int:
        """Return the size of the index by which claims find their rows."""
        return int(await self._pool.fetchval("SELECT pg_relation_size('queue_due')"))


def _queue(pool: Pool, floors: _ToldFloors) -> tuple[PostgresQueue, _ToldFloors]:
    queue = PostgresQueue(pool)
    queue._floors = floors
    return queue, floors


def _delivered(claim: Claim) -> Finished:
    now = dt.datetime.now(dt.UTC)
    return Finished(claim, Attempt(claim.attempt, PROVIDER, AttemptOutcome.DELIVERED, now, 0.01, "id"))


@asynccontextmanager
async def subject(server: EmbeddedPostgres, database: str, name: str) -> AsyncIterator[Subject]:
    """Make a database with the schema, and open it for the block."""
    url = server.url.replace("/clarion?", f"/{database}?")
    connection = await asyncpg.connect(server.url)
    try:
        await connection.execute(f"CREATE DATABASE {database}")
    finally:
        await connection.close()
    await migrate(url)
    pool = await open_pool(url, size=4, connect_timeout=10, settings=SESSION)
    other_pool = await open_pool(url, size=2, connect_timeout=10)
    try:
        async with writing(other_pool) as writer:
            yield Subject(name, pool, writer)
    finally:
        pool.terminate()
        other_pool.terminate()


async def _write(pool: Pool, sql: str, first: int, last: int) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL synchronous_commit = off")
        await connection.execute(sql, first, last, timeout=_FILL_SECONDS)
