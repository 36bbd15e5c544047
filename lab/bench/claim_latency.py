"""Databases in which claims are timed: an empty one, and one with history. Part of `lab.bench.claims`."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import time
from collections.abc import AsyncIterator
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

from ..command import log
from .deliveries import example_trigger, running_writer, write

__all__ = [
    "LANE",
    "PROVIDER",
    "Database",
    "ScanStart",
    "TimedClaim",
    "create_database",
    "database",
    "delivered",
]

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


class ScanStart(enum.StrEnum):
    """Where in the queue a claim started to scan."""

    FLOOR = "from the floor"
    BACK = "15 s further back"
    FRONT = "from the front"
    NO_FLOOR = "without floors"


@dataclass(frozen=True, slots=True)
class TimedClaim:
    """One claim; times in seconds."""

    at: float
    slots: int
    start: ScanStart
    seconds: float


class _RecordingFloors(ScanFloors):
    """Floors that record which start they returned last."""

    start = ScanStart.FRONT

    def of(self, lane: str) -> dt.datetime:
        floor = super().of(lane)
        back = self._lanes[lane].reached - floor >= LOOK_BACK
        self.start = ScanStart.FRONT if floor == FRONT else ScanStart.BACK if back else ScanStart.FLOOR
        return floor


class _NoFloors(_RecordingFloors):
    """What a queue without floors does."""

    start = ScanStart.NO_FLOOR

    def of(self, lane: str) -> dt.datetime:
        return FRONT


class Database:
    """One database, and how long its claims took."""

    def __init__(self, name: str, pool: Pool, writer: TriggerWriter) -> None:
        """Prepare claims.

        Args:
            name: used in the report.
            pool: connections with a dispatcher's settings.
            writer: a server's writer.
        """
        self.name = name
        self.claims: list[TimedClaim] = []
        self._pool = pool
        self._writer = writer
        self._queues = [_queue(pool, floors) for floors in (_RecordingFloors(), _NoFloors())]
        self._held: list[Claim] = []

    async def insert(self, count: int) -> None:
        """Write new triggers."""
        triggers = [example_trigger(1, 44, Channel.EMAIL, number) for number in range(count)]
        await write(self._writer, triggers, LANE)

    async def claim(self, slots: int, *, floors: bool = True) -> None:
        """Claim up to `slots` triggers and record how long it took."""
        queue, recorded = self._queues[not floors]
        began = time.monotonic()
        claims = await queue.claim([ClaimRequest(LANE, PROVIDER, slots)], _LEASE)
        seconds = time.monotonic() - began
        if len(claims) == slots:  # a smaller claim would not be comparable
            self.claims.append(TimedClaim(began, slots, recorded.start, seconds))
        self._held += claims

    async def finish(self) -> None:
        """Record every claimed trigger as delivered."""
        held, self._held = self._held, []
        if held:
            await self._queues[0][0].finish([delivered(claim) for claim in held])

    async def add_history(self, rows: int) -> None:
        """Write delivered triggers, then vacuum and analyze."""
        began = time.monotonic()
        for first in range(1, rows + 1, _CHUNK):
            last = min(first + _CHUNK - 1, rows)
            await asyncio.gather(
                *(_insert(self._pool, sql, first, last) for sql in (_OLD_TRIGGERS, _OLD_ATTEMPTS))
            )
            log(f"history: {last} of {rows} rows, {time.monotonic() - began:.0f} s")
        for table in ("trigger", "attempt"):
            await self._pool.execute(f"VACUUM ANALYZE {table}", timeout=_FILL_SECONDS)
        await self._pool.execute("CHECKPOINT", timeout=_FILL_SECONDS)

    @asynccontextmanager
    async def open_transaction(self) -> AsyncIterator[None]:
        """Keep a transaction open for the block, so that PostgreSQL cannot remove dead rows."""
        async with self._pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            await connection.fetchval("SELECT count(*) FROM queue")  # takes the snapshot
            yield

    async def index_size(self) -> int:
        """Return the bytes of the index that claims use."""
        return int(await self._pool.fetchval("SELECT pg_relation_size('queue_due')"))


def _queue(pool: Pool, floors: _RecordingFloors) -> tuple[PostgresQueue, _RecordingFloors]:
    queue = PostgresQueue(pool)
    queue._floors = floors
    return queue, floors


def delivered(claim: Claim) -> Finished:
    """Return the outcome of a claim that was delivered now."""
    now = dt.datetime.now(dt.UTC)
    return Finished(claim, Attempt(claim.attempt, PROVIDER, AttemptOutcome.DELIVERED, now, 0.01, "id"))


async def create_database(server_url: str, name: str) -> str:
    """Create a database with the schema next to Clarion's; return its URL."""
    url = server_url.replace("/clarion?", f"/{name}?")
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    await migrate(url)
    return url


@asynccontextmanager
async def database(server: EmbeddedPostgres, name: str, shown: str) -> AsyncIterator[Database]:
    """Create a database with the schema.

    Args:
        server: where to create it.
        name: the database's name.
        shown: its name in the report.
    """
    url = await create_database(server.url, name)
    pool = await open_pool(url, size=4, connect_timeout=10, settings=SESSION)
    other_pool = await open_pool(url, size=2, connect_timeout=10)
    try:
        async with running_writer(other_pool) as writer:
            yield Database(shown, pool, writer)
    finally:
        pool.terminate()
        other_pool.terminate()


async def _insert(pool: Pool, sql: str, first: int, last: int) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL synchronous_commit = off")
        await connection.execute(sql, first, last, timeout=_FILL_SECONDS)
