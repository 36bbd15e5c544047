"""The delivery log of webhooks, and retries of failed messages."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

import asyncpg

from ...domain.delivery import Attempt, AttemptOutcome
from ...domain.webhook import POLICY, Logged, MessageState
from ..pool import Connection, Pool, reading
from ..sql import load

__all__ = [
    "AT_ONCE",
    "LogPage",
    "Position",
    "Replayed",
    "database_time",
    "list_log",
    "list_log_of_trigger",
    "replay_messages",
    "retry_messages",
]

AT_ONCE = 1000
"""The number of messages that one statement queues."""
_SCANNED = 5_000
"""Queued messages that are looked at for those that have failed; if there are more, as many of the log."""
_DUE_STATES = {MessageState.PENDING, MessageState.RETRYING}
_SQL = load("admin/webhook_log.sql")


class Position(NamedTuple):
    """The place of a message in the log."""

    created_at: dt.datetime
    message_id: uuid.UUID


class LogPage(NamedTuple):
    """A page of the log, and where it ends; None on the last page."""

    rows: Sequence[Logged]
    end: Position | None


class Replayed(NamedTuple):
    """What one step of a replay did.

    Attributes:
        queued: How many messages were queued.
        last: Time and id of the last message that it considered; None if no message is left.
    """

    queued: int
    last: tuple[dt.datetime, uuid.UUID] | None


async def list_log(
    pool: Pool,
    endpoint_id: uuid.UUID | None = None,
    *,
    failed: bool = False,
    projects: Collection[int] | None = None,
    after: Position | None = None,
    limit: int = 50,
) -> LogPage:
    """Return the attempts of the newest messages, the latest attempt of each first.

    A page of failed messages may be short, or empty, although more pages follow.

    Args:
        pool: The database.
        endpoint_id: Only messages to this endpoint.
        failed: Only messages whose last attempt failed, even if another attempt follows.
        projects: Only messages to endpoints of these projects.
        after: Where the page before ended.
        limit: The maximum number of messages.
    """
    async with reading(pool) as connection:
        values = {
            "endpoints": await _endpoints(connection, endpoint_id, projects),
            "before": after and after.created_at,
            "before_id": after and after.message_id,
        }
        if not failed:
            return _page(await connection.fetch(*_SQL["log"](**values, most=limit + 1)), limit)
        queued = await connection.fetchval(*_SQL["queued"](endpoints=values["endpoints"], most=_SCANNED))
        if queued < _SCANNED:
            return _page(await connection.fetch(*_SQL["log_of_failed"](**values, most=limit + 1)), limit)
        scanned = _SQL["log_of_failed_scanned"](**values, most=_SCANNED, limit=limit + 1)
        page = _page(await connection.fetch(*scanned), limit)
        last = await connection.fetchrow(*_SQL["last_scanned"](**values, most=_SCANNED))
    return page if page.end or last is None else LogPage(page.rows, Position(*last))


async def list_log_of_trigger(database: Pool | Connection, trigger_id: uuid.UUID, limit: int) -> list[Logged]:
    """Return the attempts of the newest messages about a trigger, the latest attempt of each first."""
    statement = _SQL["log_of_trigger"](trigger_id=trigger_id, most=limit)
    return list(map(_logged, await database.fetch(*statement)))


async def _endpoints(
    connection: Connection, endpoint_id: uuid.UUID | None, projects: Collection[int] | None
) -> list[uuid.UUID] | None:
    """Return the endpoints whose messages are listed; None for all, also deleted ones."""
    if projects is None:
        return None if endpoint_id is None else [endpoint_id]
    statement = _SQL["endpoints"](projects=sorted(projects), endpoint_id=endpoint_id)
    return [row["id"] for row in await connection.fetch(*statement)]


def _page(rows: Sequence[asyncpg.Record], limit: int) -> LogPage:
    """Return the page of one message more than its limit."""
    logged = list(map(_logged, rows))
    messages = dict.fromkeys((one.created_at, one.message_id) for one in logged)
    if len(messages) <= limit:
        return LogPage(logged, None)
    *kept, last = messages
    shown = [one for one in logged if one.message_id != last[1]]
    return LogPage(shown, Position(*kept[-1]))


async def database_time(database: Pool | Connection) -> dt.datetime:
    """Return the database's time, by which messages are dated."""
    now: dt.datetime = await database.fetchval(*_SQL["now"]())
    return now


async def retry_messages(
    connection: Connection,
    before: dt.datetime,
    *,
    ids: Sequence[uuid.UUID] | None = None,
    endpoint_id: uuid.UUID | None = None,
    projects: Collection[int] | None = None,
) -> tuple[Counter[int | None], bool]:
    """Retry messages that were given up or wait for another attempt.

    They become due at once, and the retry policy counts from zero.

    Args:
        connection: The database, in a transaction.
        before: Messages that fail after this time are not retried; otherwise, repeating this call would not
            end while an endpoint fails.
        ids: Only these messages.
        endpoint_id: Only messages to this endpoint.
        projects: Only messages to endpoints of these projects.

    Returns:
        How many messages by project, at most twice AT_ONCE, and whether none is left.
    """
    values = {
        "ids": list(ids) if ids is not None else None,
        "endpoint_id": endpoint_id,
        "projects": None if projects is None else sorted(projects),
        "before": before,
        "message_ttl": POLICY.ttl,
        "limit": AT_ONCE,
    }
    requeued = await connection.fetch(*_SQL["requeue"](**values))
    made_due = await connection.fetch(*_SQL["make_due"](**values))
    by_project = Counter(row["project_id"] for row in (*requeued, *made_due))
    return by_project, max(len(requeued), len(made_due)) < AT_ONCE


async def replay_messages(
    connection: Connection,
    endpoint_id: uuid.UUID,
    since: dt.datetime,
    until: dt.datetime,
    after: tuple[dt.datetime, uuid.UUID] | None,
) -> Replayed:
    """Queue up to AT_ONCE messages of an endpoint again, the oldest first, delivered or not.

    Args:
        connection: The database, in a transaction.
        endpoint_id: The endpoint.
        since: The time of the earliest message.
        until: The time of the latest message.
        after: What the previous step returned as `last`.
    """
    row = await connection.fetchrow(
        *_SQL["replay"](
            endpoint_id=endpoint_id,
            since=since,
            until=until,
            after=after and after[0],
            after_id=after and after[1],
            message_ttl=POLICY.ttl,
            limit=AT_ONCE,
        )
    )
    if row is None:
        return Replayed(0, None)
    return Replayed(row["queued"], (row["created_at"], row["id"]) if row["chosen"] == AT_ONCE else None)


def _logged(row: asyncpg.Record) -> Logged:
    state = MessageState(row["state"])
    return Logged(
        message_id=row["id"],
        endpoint_id=row["webhook_id"],
        type=row["type"],
        trigger_id=row["trigger_id"],
        created_at=row["created_at"],
        state=state,
        next_attempt_at=row["due_at"] if state in _DUE_STATES else None,
        attempt=_attempt(row) if row["number"] is not None else None,
        status=row["status"],
        answer=row["answer"] or "",
    )


def _attempt(row: asyncpg.Record) -> Attempt:
    return Attempt(
        number=row["number"],
        provider=str(row["webhook_id"]),
        outcome=AttemptOutcome(row["outcome"]),
        started_at=row["started_at"],
        duration=row["duration"],
        error=row["error"],
    )
