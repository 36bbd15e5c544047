"""The audit log in the database."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec

from ...domain.operator import Actor
from ..pool import Connection, Pool
from ..sql import load

__all__ = ["AuditEvent", "AuditFilter", "list_events", "record_event"]

_SQL = load("admin/audit.sql")


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """A change.

    Attributes:
        before: Its values before, as JSON; None if it did not exist.
        after: Its values after, as JSON; None if it no longer exists.
    """

    id: int
    occurred_at: dt.datetime
    actor_kind: str
    actor: str
    actor_key: uuid.UUID | None
    session_id: uuid.UUID | None
    action: str
    project: str | None
    resource: str
    before: str | None
    after: str | None
    address: str
    request_id: str


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Selects the events that match all its values; None matches all.

    Attributes:
        projects: The projects that they belong to; None also for those of no project.
        since: The earliest time.
        until: The time before which they occurred.
    """

    projects: Collection[int] | None
    actor: str | None
    action: str | None
    resource: str | None
    since: dt.datetime | None
    until: dt.datetime | None


async def list_events(
    pool: Pool, wanted: AuditFilter, limit: int, last: tuple[dt.datetime, int] | None
) -> list[AuditEvent]:
    """Return events, newest first.

    Args:
        pool: The database.
        wanted: Which.
        limit: At most this many.
        last: Time and ID of the event after which the list continues; None to start.
    """
    last_at, last_id = last or (None, None)
    rows = await pool.fetch(
        *_SQL["list"](
            projects=None if wanted.projects is None else list(wanted.projects),
            actor=wanted.actor,
            action=wanted.action,
            resource=wanted.resource,
            since=wanted.since,
            until=wanted.until,
            last_at=last_at,
            last_id=last_id,
            limit=limit,
        )
    )
    return [AuditEvent(**row) for row in rows]


async def record_event(
    connection: Connection,
    actor: Actor,
    action: str,
    *,
    project_id: int | None,
    resource: str,
    before: Mapping[str, object] | None,
    after: Mapping[str, object] | None,
    address: str,
    request_id: str,
) -> None:
    """Record a change, in the transaction of the change.

    Args:
        connection: The connection of the change.
        actor: The caller that made it.
        action: What was done, such as `project.update`.
        project_id: The project that it belongs to; None for all projects.
        resource: What was changed, such as `project/demo`.
        before: Its values before, without secrets; None if it did not exist.
        after: Its values after; None if it does not exist any more.
        address: The caller's address, or how else the call was made.
        request_id: The request ID, by which log lines are found.
    """
    await connection.execute(
        *_SQL["record"](
            actor_kind=actor.kind,
            actor=actor.name,
            actor_key=actor.key_id,
            session_id=actor.session_id,
            action=action,
            project_id=project_id,
            resource=resource,
            before=_json(before),
            after=_json(after),
            address=address,
            request_id=request_id,
        )
    )


def _json(values: Mapping[str, object] | None) -> str | None:
    return None if values is None else msgspec.json.encode(values, enc_hook=str).decode()
