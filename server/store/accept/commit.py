"""One commit: triggers, their positions in the queue and their idempotency keys, all of them or none.

A small commit is one statement, and so one round trip. A large one is a transaction with COPY, which takes
the driver a third of the time of the statement's arrays.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import asyncpg
import structlog

from ...domain.idempotency import IdempotencyKey
from ...domain.placement import ValidTrigger
from ...domain.trigger import Trigger
from ...errors import IdempotencyKeyReused, StoreUnavailable
from ..pool import Connection, Pool, is_outage
from ..replication import NotReplicated, replicated
from ..sql import Statement
from .statements import (
    SQL,
    columns_of,
    joined_key_arguments,
    key_arguments,
    place_arguments,
    trigger_arguments,
)

__all__ = ["CommitResult", "TriggerCommit", "known_keys", "result_for"]

log = structlog.get_logger(__name__)

Prepared: TypeAlias = "asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]"
CommitResult: TypeAlias = uuid.UUID | Exception
"""The result for one entry: the id of the trigger on disk, or the error."""
Known: TypeAlias = dict[tuple[int, str], tuple[uuid.UUID, bytes]]
"""By project and key: the id of the trigger that the key belongs to, and the hash of its content."""

_CONNECT_SECONDS = 5
_COPY_FROM = 100
"""Minimum triggers in a commit for which COPY is cheaper than one statement, despite more round trips."""
_CONNECTION_LOST = "The connection to the database was lost; the trigger may or may not have been accepted."
_NOT_REPLICATED = "No database replica confirmed the trigger; it may or may not have been accepted."

_CLAIM_KEYS, _QUEUE = SQL["claim_keys"], SQL["queue"]


class TriggerCommit:
    """Writes commits over one connection.

    Args:
        pool: Provides the connection.
        key_lifetime: Seconds after which an idempotency key may be used for another trigger.
    """

    def __init__(self, pool: Pool, key_lifetime: float) -> None:
        self._pinned = _PinnedConnection(pool)
        self._key_lifetime = key_lifetime

    async def write(self, entries: Sequence[ValidTrigger]) -> list[CommitResult]:
        """Write all entries in one commit and return a result for each.

        If PostgreSQL rejects a row, the entries are divided into ever smaller commits, so that only the entry
        with that row fails. If the database becomes unavailable between those commits, the results differ.

        Raises:
            StoreUnavailable: The database cannot be reached, and no entry was written before.
        """
        owners = _first_owners(entries)
        try:
            earlier = await self._write_unique(_without_duplicates(entries, owners))
        except StoreUnavailable:
            raise
        except Exception as error:
            if len(entries) == 1:
                trigger_id = str(entries[0].trigger.id)
                log.error("trigger rejected by the database", trigger_id=trigger_id, exc_info=error)
                return [error]
            return await self._write_halves(entries)
        return _results(entries, {**owners, **earlier})

    async def _write_halves(self, entries: Sequence[ValidTrigger]) -> list[CommitResult]:
        """Write both halves; after an outage the second is not tried, so that callers do not wait longer."""
        half = len(entries) // 2
        first = await self._write_half(entries[:half])
        if isinstance(first[-1], StoreUnavailable):
            return [*first, *[StoreUnavailable()] * (len(entries) - half)]
        return [*first, *await self._write_half(entries[half:])]

    async def _write_half(self, entries: Sequence[ValidTrigger]) -> list[CommitResult]:
        try:
            return await self.write(entries)
        except StoreUnavailable as error:  # applies to these entries only: others are on disk
            return [error] * len(entries)

    def drop(self) -> None:
        """Close the connection."""
        self._pinned.drop()

    async def _write_unique(self, entries: Sequence[ValidTrigger]) -> Known:
        """Write entries with distinct keys; return the keys that belong to earlier triggers.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        message = None
        for write in (self._first_try, self._second_try):
            try:
                connection = await self._pinned.connect()
                message = _CONNECTION_LOST
                with replicated(connection):
                    return await write(entries)
            except NotReplicated:
                message = _NOT_REPLICATED
                log.warning("commit not replicated", triggers=len(entries))
            except Exception as error:
                if not is_outage(error):
                    raise
                self._pinned.drop()
                log.warning("commit failed", error=type(error).__name__, triggers=len(entries))
        raise StoreUnavailable(message)

    async def _first_try(self, entries: Sequence[ValidTrigger]) -> Known:
        if len(entries) >= _COPY_FROM:
            return await self._copy(entries)
        return await self._insert(entries, "insert")

    async def _second_try(self, entries: Sequence[ValidTrigger]) -> Known:
        """Write entries that the first try may have written, or may still write without a client."""
        return await self._insert(entries, "insert_again")

    async def _insert(self, entries: Sequence[ValidTrigger], name: str) -> Known:
        columns = columns_of(entries)
        values = trigger_arguments(entries, columns) | place_arguments(entries)
        if any(entry.key for entry in entries):
            values |= key_arguments(entries) | {"lifetime": self._key_lifetime}
            return known_keys(await self._fetch(columns.sql["insert_with_keys"], **values))
        await self._fetch(columns.sql[name], **values)
        return {}

    async def _copy(self, entries: Sequence[ValidTrigger]) -> Known:
        async with self._pinned.transaction() as connection:
            known = await self._claim_keys([entry for entry in entries if entry.key])
            new = _without_duplicates(entries, known)
            columns = columns_of(new)
            await connection.copy_records_to_table(
                "trigger", records=(columns.values(entry.trigger) for entry in new), columns=columns.names
            )
            if "retain" in columns.names:
                retain = [entry.trigger.retain for entry in new]
                await self._fetch(columns.sql["queue"], **place_arguments(new), retain=retain)
            else:
                await self._queue(connection, new)
        return known

    async def _queue(self, connection: Connection, entries: Sequence[ValidTrigger]) -> None:
        """Queue triggers. Those that are due at once get the database's time, as in the other statements."""
        later = [entry for entry in entries if _is_timed(entry)]
        now = [entry for entry in entries if not _is_timed(entry)] if later else entries
        await connection.copy_records_to_table(
            "queue",
            records=((entry.trigger.id, entry.placement.lane) for entry in now),
            columns=("trigger_id", "lane"),
        )
        if later:
            await self._fetch(_QUEUE, **place_arguments(later))

    async def _claim_keys(self, entries: Sequence[ValidTrigger]) -> Known:
        if not entries:
            return {}
        values = joined_key_arguments(entries)
        return known_keys(await self._fetch(_CLAIM_KEYS, **values, lifetime=self._key_lifetime))

    async def _fetch(self, statement: Statement, **values: object) -> Sequence[asyncpg.Record]:
        prepared = await self._pinned.prepare(statement)
        return await prepared.fetch(*statement.arguments(**values))


class _PinnedConnection:
    """One connection with its prepared statements, kept between commits.

    It saves the round trips of acquiring a connection from the pool and preparing the statements.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._connection: Connection | None = None
        self._prepared: dict[Statement, Prepared] = {}

    async def connect(self) -> Connection:
        """Return the connection; open a new one if it was lost."""
        if self._connection is None or _is_lost(self._connection):
            self.drop()
            self._connection = await self._pool.acquire(timeout=_CONNECT_SECONDS)
        return self._connection

    async def prepare(self, statement: Statement) -> Prepared:
        """Return the statement as prepared on the connection."""
        connection = await self.connect()
        if statement not in self._prepared:
            self._prepared[statement] = await connection.prepare(statement.text)
        return self._prepared[statement]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Yield the connection, in a transaction for the block."""
        connection = await self.connect()
        async with connection.transaction():
            yield connection

    def drop(self) -> None:
        """Close the connection and forget the statements that were prepared on it."""
        connection, self._connection = self._connection, None
        self._prepared.clear()
        if connection is not None:
            with suppress(asyncpg.InterfaceError):  # already returned to the pool
                connection.terminate()


def _is_lost(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # already returned to the pool
        return True


def _first_owners(entries: Sequence[ValidTrigger]) -> Known:
    """Return for each key the first entry that has it: its owner, unless an earlier commit used the key."""
    owners: Known = {}
    for trigger, _, key in entries:
        if key:
            owners.setdefault((trigger.project_id, key.key), (trigger.id, key.content))
    return owners


def _is_timed(entry: ValidTrigger) -> bool:
    """Return whether a trigger is due later, or expires."""
    return bool(entry.placement.due_at or entry.placement.expires_at)


def _without_duplicates(entries: Sequence[ValidTrigger], owners: Known) -> Sequence[ValidTrigger]:
    """Return the entries without those whose key belongs to another trigger."""
    return [entry for entry in entries if _owns_its_key(entry, owners)] if owners else entries


def _owns_its_key(entry: ValidTrigger, known: Known) -> bool:
    """Return whether an entry has no key, or a key that belongs to no other trigger."""
    trigger, _, key = entry
    name = key and (trigger.project_id, key.key)
    return name not in known or known[name][0] == trigger.id


def known_keys(rows: Sequence[asyncpg.Record]) -> Known:
    """Return the keys in rows of project_id, key, trigger_id and content."""
    return {(row["project_id"], row["key"]): (row["trigger_id"], row["content"]) for row in rows}


def _results(entries: Sequence[ValidTrigger], known: Known) -> list[CommitResult]:
    if not known:
        return [entry.trigger.id for entry in entries]
    return [
        result_for(key, trigger, *known[trigger.project_id, key.key]) if key else trigger.id
        for trigger, _, key in entries
    ]


def result_for(key: IdempotencyKey, trigger: Trigger, trigger_id: uuid.UUID, content: bytes) -> CommitResult:
    """Return the id of the trigger that a key belongs to, or an error if it was used for other content.

    Args:
        key: The key.
        trigger: The trigger that was sent with the key.
        trigger_id: The stored trigger that the key belongs to.
        content: The fingerprint stored with the key.
    """
    if not key.is_same_call(trigger, content):
        return IdempotencyKeyReused(metadata={"trigger_id": str(trigger_id)})
    return trigger_id
