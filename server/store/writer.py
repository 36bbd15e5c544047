"""The group committer: a trigger is accepted when the commit that holds it is on disk.

Whatever arrives while one commit is in flight forms the next one. A lone trigger is committed at once. While
triggers come together, the next commit waits a moment for more of them: a commit costs the same CPU for one
trigger as for ten, on both sides, so this is what a busy server's throughput hangs on.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg
import structlog

from ..domain.once import Once
from ..domain.placement import Placement
from ..domain.trigger import Trigger
from ..errors import IdempotencyKeyReused, Overloaded, StoreUnavailable
from .announce import Announcer
from .pool import Connection, Pool, is_outage, reached

__all__ = ["REMEMBER", "TriggerWriter"]

log = structlog.get_logger(__name__)

Statement: TypeAlias = "asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]"

_Kept: TypeAlias = dict[uuid.UUID, tuple[uuid.UUID, bytes]]

REMEMBER = 86_400.0
"""Seconds for which an idempotency key stands for its trigger."""
_MAX_BATCH = 500
_CONNECT_SECONDS = 5
_GATHER_SECONDS = 0.003
_ROWS = (
    "unnest($1::uuid[], $2::int8[], $3::int8[], $4::text[], $5::text[], $6::text[],"
    " $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::timestamptz[])"
)
_COLUMNS = (
    "id, project_id, campaign_id, channel, external_id, address, timezone, locale, user_data, event,"
    " traceparent, send_at"
)
_PLACES = (
    "unnest($1::uuid[], $13::text[], $14::timestamptz[], $15::timestamptz[])"
    " AS place (id, lane, due_at, expires_at)"
)
_INSERT = f"""
    WITH accepted AS (INSERT INTO trigger ({_COLUMNS}) SELECT * FROM {_ROWS})
    INSERT INTO queue (trigger_id, lane, due_at, expires_at)
    SELECT id, lane, greatest(due_at, now()), expires_at FROM {_PLACES}
"""  # noqa: S608 - constants only
# After a connection died in a commit, nobody knows whether it took effect. The ids are ours, so the same
# batch can be sent again: rows that are there stay as they are, and are not queued a second time.
_INSERT_AGAIN = f"""
    WITH accepted AS (
        INSERT INTO trigger ({_COLUMNS}) SELECT * FROM {_ROWS} ON CONFLICT (id) DO NOTHING RETURNING id)
    INSERT INTO queue (trigger_id, lane, due_at, expires_at)
    SELECT id, lane, greatest(due_at, now()), expires_at FROM accepted JOIN {_PLACES} USING (id)
"""  # noqa: S608 - constants only

# For a batch in which a trigger has an idempotency key. Who comes second, also from another process, waits
# for the first one's commit and reads what it wrote; the pointless update makes that row come back. A key
# past its time is taken over. This may be sent again, too: the key's row then names this very trigger.
_INSERT_ONCE = f"""
    WITH given AS (
        SELECT * FROM unnest($1::uuid[], $2::int8[], $16::text[], $17::bytea[])
            AS one (id, project_id, key, content)
    ), claimed AS (
        INSERT INTO idempotency AS known (project_id, key, content, trigger_id)
        SELECT project_id, key, content, id FROM given WHERE key IS NOT NULL ORDER BY project_id, key
        ON CONFLICT (project_id, key) DO UPDATE SET
            content = CASE WHEN {{old}} THEN excluded.content ELSE known.content END,
            trigger_id = CASE WHEN {{old}} THEN excluded.trigger_id ELSE known.trigger_id END,
            created_at = CASE WHEN {{old}} THEN now() ELSE known.created_at END
        RETURNING project_id, key, content, trigger_id
    ), fresh AS (
        SELECT given.id FROM given LEFT JOIN claimed USING (project_id, key)
        WHERE given.key IS NULL OR claimed.trigger_id = given.id
    ), accepted AS (
        INSERT INTO trigger ({_COLUMNS}) SELECT row.* FROM {_ROWS} AS row ({_COLUMNS})
        WHERE row.id = ANY(ARRAY(SELECT id FROM fresh)) ON CONFLICT (id) DO NOTHING RETURNING id
    ), queued AS (
        INSERT INTO queue (trigger_id, lane, due_at, expires_at)
        SELECT id, lane, greatest(due_at, now()), expires_at FROM accepted JOIN {_PLACES} USING (id)
    )
    SELECT given.id, claimed.trigger_id, claimed.content FROM given JOIN claimed USING (project_id, key)
""".format(old="known.created_at < now() - make_interval(secs => $18)")  # noqa: S608 - constants only

_EARLIER = """
    SELECT trigger_id, content FROM idempotency
    WHERE project_id = $1 AND key = $2 AND created_at >= now() - make_interval(secs => $3)
"""


@dataclass(slots=True)
class _Waiting:
    trigger: Trigger
    place: Placement
    once: Once | None
    done: asyncio.Future[uuid.UUID]


class TriggerWriter:
    """Accepts triggers durably, many to a commit."""

    def __init__(
        self, pool: Pool, announcer: Announcer, *, max_pending: int, remember: float = REMEMBER
    ) -> None:
        """Take the pool to write to, and how many triggers may wait before callers are refused.

        An idempotency key stands for its trigger for `remember` seconds.
        """
        self._remember = remember
        self._pool = pool
        self._line = _Line(pool)
        self._announcer = announcer
        self._max_pending = max_pending
        self._waiting: list[_Waiting] = []
        self._arrived = asyncio.Event()

    async def add(self, trigger: Trigger, place: Placement, once: Once | None = None) -> uuid.UUID:
        """Return when the trigger is on disk and in its place in the queue.

        Returns the trigger's id; or that of an earlier one which `once` stands for, and then nothing is kept
        of this one.

        Raises:
            IdempotencyKeyReused: the key of `once` stands for other content.
            Overloaded: too many triggers wait already.
            StoreUnavailable: the database cannot be reached.
        """
        if len(self._waiting) >= self._max_pending:
            raise Overloaded
        done: asyncio.Future[uuid.UUID] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(trigger, place, once, done))
        self._arrived.set()
        return await done

    async def earlier(self, trigger: Trigger, once: Once) -> uuid.UUID | None:
        """Return the id of an earlier trigger that `once` stands for, if there is one; keep nothing.

        Raises:
            IdempotencyKeyReused: the key of `once` stands for other content.
            StoreUnavailable: the database cannot be reached.
        """
        async with reached():
            row = await self._pool.fetchrow(_EARLIER, trigger.project_id, once.key, self._remember)
        if row is None:
            return None
        return _same(row["trigger_id"], row["content"], once)

    async def run(self) -> None:
        """Commit what arrives, until cancelled."""
        try:
            await self._commit_forever()
        finally:
            self._line.drop()
            _settle(self._waiting, StoreUnavailable("The server stops; the trigger was not accepted."))

    async def _commit_forever(self) -> None:
        crowded = False
        while True:
            await self._arrived.wait()
            if crowded:
                await asyncio.sleep(_GATHER_SECONDS)
            crowded = len(self._waiting) > 1
            batch, again = _once_each(self._waiting[:_MAX_BATCH])
            self._waiting = again + self._waiting[_MAX_BATCH:]
            if not self._waiting:
                self._arrived.clear()
            # A caller that gave up before its commit began is told nothing, so nothing is kept.
            await self._commit([waiting for waiting in batch if not waiting.done.done()])

    async def _commit(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        try:
            kept = await self._insert(batch)
        except asyncio.CancelledError:
            _settle(batch, StoreUnavailable("The server stops; the trigger may or may not be accepted."))
            raise
        except StoreUnavailable as error:
            _settle(batch, error)
        except Exception as error:
            await self._commit_singly(batch, error)
        else:
            _accept(batch, kept)
            self._announcer.poke()

    async def _commit_singly(self, batch: list[_Waiting], error: Exception) -> None:
        """One row that PostgreSQL refuses must not fail its neighbours."""
        if len(batch) == 1:
            log.error("trigger refused by the database", trigger_id=str(batch[0].trigger.id), exc_info=error)
            _settle(batch, error)
            return
        for waiting in batch:
            await self._commit([waiting])

    async def _insert(self, batch: list[_Waiting]) -> _Kept:
        """Write a batch; return which trigger, of what content, each idempotency key stands for."""
        columns: list[object] = list(_columns(batch))
        statements = (_INSERT, _INSERT_AGAIN)
        if any(waiting.once for waiting in batch):
            statements = (_INSERT_ONCE, _INSERT_ONCE)
            columns += [*_once_columns(batch), self._remember]
        message = None
        for sql in statements:
            try:
                statement = await self._line.statement(sql)
                message = "The database was lost; the trigger may or may not have been accepted."
                rows = await statement.fetch(*columns)
                return {row["id"]: (row["trigger_id"], row["content"]) for row in rows}
            except Exception as error:
                if not is_outage(error):
                    raise
                self._line.drop()
                log.warning("commit failed", error=type(error).__name__, triggers=len(batch))
        raise StoreUnavailable(message)


class _Line:
    """One connection that is kept, with its prepared statements: commits do without the pool's rounds."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._connection: Connection | None = None
        self._statements: dict[str, Statement] = {}

    async def statement(self, sql: str) -> Statement:
        """Return the prepared statement on a living connection."""
        if self._connection is None or _is_lost(self._connection):
            self.drop()
            self._connection = await self._pool.acquire(timeout=_CONNECT_SECONDS)
        if sql not in self._statements:
            self._statements[sql] = await self._connection.prepare(sql)
        return self._statements[sql]

    def drop(self) -> None:
        """Let go of a connection that is lost, and of what was prepared on it."""
        connection, self._connection = self._connection, None
        self._statements.clear()
        if connection is not None:
            with suppress(asyncpg.InterfaceError):  # the pool has taken it back already
                connection.terminate()


def _is_lost(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken it back
        return True


def _once_each(waiting: list[_Waiting]) -> tuple[list[_Waiting], list[_Waiting]]:
    """Divide so that no idempotency key stands twice in the first part."""
    seen: set[tuple[int, str]] = set()
    first: list[_Waiting] = []
    again: list[_Waiting] = []
    for one in waiting:
        name = (one.trigger.project_id, one.once.key) if one.once else None
        (again if name in seen else first).append(one)
        if name:
            seen.add(name)
    return first, again


def _accept(batch: list[_Waiting], kept: _Kept) -> None:
    """Tell each caller which trigger was kept for it."""
    for waiting in batch:
        if waiting.done.done():
            continue
        trigger_id, content = kept.get(waiting.trigger.id, (waiting.trigger.id, None))
        try:
            waiting.done.set_result(_same(trigger_id, content, waiting.once))
        except IdempotencyKeyReused as error:
            waiting.done.set_exception(error)


def _same(trigger_id: uuid.UUID, content: bytes | None, once: Once | None) -> uuid.UUID:
    """Return the id that a key stands for.

    Raises:
        IdempotencyKeyReused: it stands for other content.
    """
    if once and content != once.content:
        raise IdempotencyKeyReused(metadata={"trigger_id": str(trigger_id)})
    return trigger_id


def _settle(batch: list[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.done.done():
            waiting.done.set_exception(error)


def _once_columns(batch: list[_Waiting]) -> tuple[list[object], list[object]]:
    given = [waiting.once for waiting in batch]
    return [one and one.key for one in given], [one and one.content for one in given]


def _columns(batch: list[_Waiting]) -> list[list[object]]:
    rows = [
        (
            t.id,
            t.project_id,
            t.campaign_id,
            t.channel.value,
            t.external_id,
            t.address,
            t.timezone,
            t.locale,
            t.user_data,
            t.event,
            t.traceparent,
            t.send_at,
            waiting.place.lane,
            waiting.place.due_at,
            waiting.place.expires_at,
        )
        for waiting in batch
        for t in (waiting.trigger,)
    ]
    return [list(column) for column in zip(*rows, strict=True)]
