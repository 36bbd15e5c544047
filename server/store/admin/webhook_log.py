"""The delivery log of webhooks, and retries of failed messages."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Sequence
from typing import NamedTuple

import asyncpg

from ...domain.delivery import Attempt, AttemptOutcome
from ...domain.webhook import POLICY, Logged, MessageState
from ..pool import Connection, Pool
from ..sql import load

__all__ = ["AT_ONCE", "Replayed", "database_time", "list_log", "replay_messages", "retry_messages"]

AT_ONCE = 1000
"""The number of messages that one statement queues."""
_DUE_STATES = {MessageState.PENDING, MessageState.RETRYING}
_SQL = load("admin/webhook_log.sql")


class Replayed(NamedTuple):
    """What one step of a replay did.

    Attributes:
        queued: How many messages were queued.
        last: Time and id of the last message that it considered; None if no message is left.
    """

    queued: int
    last: tuple[dt.datetime, uuid.UUID] | None


async def list_log(
    database: Pool | Connection,
    endpoint_id: uuid.UUID | None = None,
    *,
    trigger_id: uuid.UUID | None = None,
    failed: bool = False,
    projects: Collection[int] | None = None,
    before: tuple[dt.datetime, uuid.UUID] | None = None,
    limit: int = 50,
) -> list[Logged]:
    """Return the attempts of the newest messages, the latest attempt of each first.

    Args:
        database: The database.
        endpoint_id: Only messages to this endpoint.
        trigger_id: Only messages about this trigger.
        failed: Only messages whose last attempt failed, even if another attempt follows.
        projects: Only messages to endpoints of these projects.
        before: Time and id of a message: only older ones.
        limit: The maximum number of messages.
    """
    statement = _SQL["log_of_failed" if failed else "log"](
        endpoint_id=endpoint_id,
        trigger_id=trigger_id,
        projects=None if projects is None else sorted(projects),
        before=before and before[0],
        before_id=before and before[1],
        limit=limit,
    )
    return [_logged(row) for row in await database.fetch(*statement)]


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
) -> tuple[int, bool]:
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
        How many messages, at most twice AT_ONCE, and whether none is left.
    """
    values = {
        "ids": list(ids) if ids is not None else None,
        "endpoint_id": endpoint_id,
        "projects": None if projects is None else sorted(projects),
        "before": before,
        "message_ttl": POLICY.ttl,
        "limit": AT_ONCE,
    }
    requeued = len(await connection.fetch(*_SQL["requeue"](**values)))
    made_due = len(await connection.fetch(*_SQL["make_due"](**values)))
    return requeued + made_due, max(requeued, made_due) < AT_ONCE


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
