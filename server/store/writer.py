"""The group committer: a trigger is accepted when the commit that holds it is on disk.

Whatever arrives while one commit is in flight forms the next one. A lone trigger is committed at once. While
triggers come together, the next commit waits a moment for more of them: a commit costs the same CPU for one
trigger as for ten, on both sides, so this is what a busy server's throughput hangs on.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg
import structlog

from ..domain.placement import Placement
from ..domain.trigger import Trigger
from ..errors import Overloaded, StoreUnavailable
from .announce import Announcer
from .pool import Connection, Pool, is_outage

__all__ = ["TriggerWriter"]

log = structlog.get_logger(__name__)

Statement: TypeAlias = "asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]"

_MAX_BATCH = 500
_CONNECT_SECONDS = 5
_GATHER_SECONDS = 0.003
_ROWS = (
    "unnest($1::uuid[], $2::int8[], $3::int8[], $4::text[], $5::text[], $6::text[],"
    " $7::text[], $8::text[], $9::text[], $10::text[], $11::text[])"
)
_COLUMNS = (
    "id, project_id, campaign_id, channel, external_id, address, timezone, locale, user_data, event,"
    " traceparent"
)
_PLACES = (
    "unnest($1::uuid[], $12::text[], $13::timestamptz[], $14::timestamptz[])"
    " AS place (id, lane, due_at, expires_at)"
)
_INSERT = f"""
    WITH accepted AS (INSERT INTO trigger ({_COLUMNS}) SELECT * FROM {_ROWS})
    INSERT INTO queue (trigger_id, lane, due_at, expires_at)
    SELECT id, lane, coalesce(due_at, now()), expires_at FROM {_PLACES}
"""  # noqa: S608 - constants only
# After a connection died in a commit, nobody knows whether it took effect. The ids are ours, so the same
# batch can be sent again: rows that are there stay as they are, and are not queued a second time.
_INSERT_AGAIN = f"""
    WITH accepted AS (
        INSERT INTO trigger ({_COLUMNS}) SELECT * FROM {_ROWS} ON CONFLICT (id) DO NOTHING RETURNING id)
    INSERT INTO queue (trigger_id, lane, due_at, expires_at)
    SELECT id, lane, coalesce(due_at, now()), expires_at FROM accepted JOIN {_PLACES} USING (id)
"""  # noqa: S608 - constants only


@dataclass(slots=True)
class _Waiting:
    trigger: Trigger
    place: Placement
    done: asyncio.Future[None]


class TriggerWriter:
    """Accepts triggers durably, many to a commit."""

    def __init__(self, pool: Pool, announcer: Announcer, *, max_pending: int) -> None:
        """Take the pool to write to and how many triggers may wait before callers are refused."""
        self._line = _Line(pool)
        self._announcer = announcer
        self._max_pending = max_pending
        self._waiting: list[_Waiting] = []
        self._arrived = asyncio.Event()

    async def add(self, trigger: Trigger, place: Placement) -> None:
        """Return when the trigger is on disk and in its place in the queue.

        Raises:
            Overloaded: too many triggers wait already.
            StoreUnavailable: the database cannot be reached.
        """
        if len(self._waiting) >= self._max_pending:
            raise Overloaded
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(trigger, place, done))
        self._arrived.set()
        await done

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
            batch, self._waiting = self._waiting[:_MAX_BATCH], self._waiting[_MAX_BATCH:]
            if not self._waiting:
                self._arrived.clear()
            # A caller that gave up before its commit began is told nothing, so nothing is kept.
            await self._commit([waiting for waiting in batch if not waiting.done.done()])

    async def _commit(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        try:
            await self._insert(batch)
        except asyncio.CancelledError:
            _settle(batch, StoreUnavailable("The server stops; the trigger may or may not be accepted."))
            raise
        except StoreUnavailable as error:
            _settle(batch, error)
        except Exception as error:
            await self._commit_singly(batch, error)
        else:
            _settle(batch, None)
            self._announcer.poke()

    async def _commit_singly(self, batch: list[_Waiting], error: Exception) -> None:
        """One row that PostgreSQL refuses must not fail its neighbours."""
        if len(batch) == 1:
            log.error("trigger refused by the database", trigger_id=str(batch[0].trigger.id), exc_info=error)
            _settle(batch, error)
            return
        for waiting in batch:
            await self._commit([waiting])

    async def _insert(self, batch: list[_Waiting]) -> None:
        columns = _columns(batch)
        message = None
        for sql in (_INSERT, _INSERT_AGAIN):
            try:
                statement = await self._line.statement(sql)
                message = "The database was lost; the trigger may or may not have been accepted."
                await statement.fetch(*columns)
                return
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


def _settle(batch: list[_Waiting], error: Exception | None) -> None:
    for waiting in batch:
        if waiting.done.done():
            continue
        if error is None:
            waiting.done.set_result(None)
        else:
            waiting.done.set_exception(error)


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
            waiting.place.lane,
            waiting.place.due_at,
            waiting.place.expires_at,
        )
        for waiting in batch
        for t in (waiting.trigger,)
    ]
    return [list(column) for column in zip(*rows, strict=True)]
