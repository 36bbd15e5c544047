"""One commit: triggers, their places in the queue and their idempotency keys, all of them or none.

Few triggers go in one statement, which is one round trip. Many are copied, in a transaction: COPY takes a
third of what the arrays of a statement cost on our side.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import asyncpg
import structlog
from msgspec.structs import astuple

from ...domain.idempotency import IdempotencyKey
from ...domain.placement import ValidTrigger
from ...errors import IdempotencyKeyReused, StoreUnavailable
from ..pool import Connection, Pool, is_outage
from . import sql

__all__ = ["CommitResult", "TriggerCommit", "known_of", "same"]

log = structlog.get_logger(__name__)

Statement: TypeAlias = "asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]"
CommitResult: TypeAlias = uuid.UUID | Exception
"""What became of an entry: the id of the trigger that is on disk for it, or why none is."""
Known: TypeAlias = dict[tuple[int, str], tuple[uuid.UUID, bytes]]
"""Which trigger, of what content, a key of a project stands for."""

_CONNECT_SECONDS = 5
_COPIED_FROM = 100
"""So many triggers are copied: with fewer, the transaction's round trips cost more than COPY saves."""
_LOST = "The database was lost; the trigger may or may not have been accepted."


class TriggerCommit:
    """Writes commits over one connection."""

    def __init__(self, pool: Pool, remember: float) -> None:
        """Take the pool to write to, and the seconds for which a key stands for its trigger."""
        self._connection = _PinnedConnection(pool)
        self._remember = remember

    async def keep(self, entries: Sequence[ValidTrigger]) -> list[CommitResult]:
        """Write all entries in one commit; return what became of each.

        A row that PostgreSQL refuses must not fail its neighbours: those are then written in commits of
        their own, ever smaller ones around it. If the database goes away between those, what became of
        each says so.

        Raises:
            StoreUnavailable: the database cannot be reached, for any of them.
        """
        owners = _owners(entries)
        try:
            earlier = await self._write(_without_doubles(entries, owners))
        except StoreUnavailable:
            raise
        except Exception as error:
            if len(entries) == 1:
                trigger_id = str(entries[0][0].id)
                log.error("trigger refused by the database", trigger_id=trigger_id, exc_info=error)
                return [error]
            return await self._divided(entries)
        return _answers(entries, {**owners, **earlier})

    async def _divided(self, entries: Sequence[ValidTrigger]) -> list[CommitResult]:
        """Write both halves. Once the database has gone away, what is left is not tried: all end in time."""
        half = len(entries) // 2
        first = await self._part(entries[:half])
        if isinstance(first[-1], StoreUnavailable):
            return [*first, *[StoreUnavailable()] * (len(entries) - half)]
        return [*first, *await self._part(entries[half:])]

    async def _part(self, entries: Sequence[ValidTrigger]) -> list[CommitResult]:
        try:
            return await self.keep(entries)
        except StoreUnavailable as error:  # a matter of these alone: others are on disk
            return [error] * len(entries)

    def drop(self) -> None:
        """Let go of the connection."""
        self._connection.drop()

    async def _write(self, entries: Sequence[ValidTrigger]) -> Known:
        """Write entries of which no two have the same key; return the keys that stand for earlier triggers.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        message = None
        for write in (self._first_try, self._second_try):
            try:
                await self._connection.connect()
                message = _LOST
                return await write(entries)
            except Exception as error:
                if not is_outage(error):
                    raise
                self._connection.drop()
                log.warning("commit failed", error=type(error).__name__, triggers=len(entries))
        raise StoreUnavailable(message)

    async def _first_try(self, entries: Sequence[ValidTrigger]) -> Known:
        if len(entries) >= _COPIED_FROM:
            return await self._copy(entries)
        return await self._insert(entries, sql.INSERT)

    async def _second_try(self, entries: Sequence[ValidTrigger]) -> Known:
        """Write what may be written already, or about to be by a backend that has lost its client."""
        return await self._insert(entries, sql.INSERT_AGAIN)

    async def _insert(self, entries: Sequence[ValidTrigger], statement: str) -> Known:
        columns: list[object] = list(sql.columns(entries))
        if any(once for _, _, once in entries):
            statement = sql.INSERT_ONCE
            columns += [*sql.keys(entries), self._remember]
        return known_of(await (await self._connection.statement(statement)).fetch(*columns))

    async def _copy(self, entries: Sequence[ValidTrigger]) -> Known:
        async with self._connection.transaction() as connection:
            known = await self._claim([entry for entry in entries if entry[2]])
            fresh = _without_doubles(entries, known)
            await connection.copy_records_to_table(
                "trigger",
                records=(astuple(trigger)[: len(sql.COLUMNS)] for trigger, _, _ in fresh),
                columns=sql.COLUMNS,
            )
            await self._queue(connection, fresh)
        return known

    async def _queue(self, connection: Connection, entries: Sequence[ValidTrigger]) -> None:
        """Queue triggers; the database says what "now" is."""
        later = [entry for entry in entries if entry[1].due_at or entry[1].expires_at]
        now = entries if not later else [one for one in entries if not (one[1].due_at or one[1].expires_at)]
        await connection.copy_records_to_table(
            "queue",
            records=((trigger.id, place.lane) for trigger, place, _ in now),
            columns=("trigger_id", "lane"),
        )
        if later:
            await (await self._connection.statement(sql.QUEUE)).fetch(*sql.places(later))

    async def _claim(self, entries: Sequence[ValidTrigger]) -> Known:
        if not entries:
            return {}
        statement = await self._connection.statement(sql.CLAIM)
        return known_of(await statement.fetch(*sql.claims(entries), self._remember))


class _PinnedConnection:
    """One connection that is kept, with its prepared statements: commits do without the pool's rounds."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._connection: Connection | None = None
        self._statements: dict[str, Statement] = {}

    async def connect(self) -> Connection:
        """Return a living connection."""
        if self._connection is None or _is_lost(self._connection):
            self.drop()
            self._connection = await self._pool.acquire(timeout=_CONNECT_SECONDS)
        return self._connection

    async def statement(self, text: str) -> Statement:
        """Return the prepared statement on a living connection."""
        connection = await self.connect()
        if text not in self._statements:
            self._statements[text] = await connection.prepare(text)
        return self._statements[text]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Give the connection, in a transaction for the block."""
        connection = await self.connect()
        async with connection.transaction():
            yield connection

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


def _owners(entries: Sequence[ValidTrigger]) -> Known:
    """Return what each key stands for, if it stands for nothing yet: the first entry that has it."""
    owners: Known = {}
    for trigger, _, once in entries:
        if once:
            owners.setdefault((trigger.project_id, once.key), (trigger.id, once.content))
    return owners


def _without_doubles(entries: Sequence[ValidTrigger], owners: Known) -> Sequence[ValidTrigger]:
    """Leave out what has the key of an entry before it."""
    return [entry for entry in entries if _stands_alone(entry, owners)] if owners else entries


def _stands_alone(entry: ValidTrigger, known: Known) -> bool:
    """Tell whether an entry has no key, or one that stands for no other trigger."""
    trigger, _, once = entry
    name = once and (trigger.project_id, once.key)
    return name not in known or known[name][0] == trigger.id


def known_of(rows: Sequence[asyncpg.Record]) -> Known:
    """Return what the rows say of keys."""
    return {(row["project_id"], row["key"]): (row["trigger_id"], row["content"]) for row in rows}


def _answers(entries: Sequence[ValidTrigger], known: Known) -> list[CommitResult]:
    if not known:
        return [trigger.id for trigger, _, _ in entries]
    return [
        same(*known[trigger.project_id, once.key], once) if once else trigger.id
        for trigger, _, once in entries
    ]


def same(trigger_id: uuid.UUID, content: bytes, once: IdempotencyKey) -> CommitResult:
    """Return the id that a key stands for, or that it stands for other content."""
    if content != once.content:
        return IdempotencyKeyReused(metadata={"trigger_id": str(trigger_id)})
    return trigger_id
