"""Webhook endpoints in the database."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping

import asyncpg

from ...domain.webhook import (
    ENDPOINTS_AT_MOST,
    POLICY,
    TEST,
    Endpoint,
    EndpointState,
    EventType,
    Secrets,
    Target,
)
from ...errors import EndpointNotFound, ProjectNotFound, TooManyEndpoints
from ..pool import Connection, Pool
from ..sql import load

__all__ = [
    "active_targets",
    "create_endpoint",
    "delete_endpoint",
    "find_endpoint",
    "list_endpoints",
    "rotate_secret",
    "send_test",
    "set_events",
    "set_state",
]

_SQL = load("admin/endpoints.sql")


async def create_endpoint(
    connection: Connection, *, project: str, url: str, events: Iterable[EventType], secret: str
) -> Endpoint:
    """Create an endpoint of the project. It receives only later events.

    Args:
        connection: The database, in a transaction.
        project: The name of an existing project.
        url: Where messages are posted to.
        events: The events that it receives.
        secret: Signs the messages.

    Raises:
        ProjectNotFound: No project has this name.
        TooManyEndpoints: The project already has the maximum number of endpoints.
    """
    project_id = await connection.fetchval(*_SQL["lock_project"](name=project))
    if project_id is None:
        raise ProjectNotFound.of(project)
    if await connection.fetchval(*_SQL["count"](project_id=project_id)) >= ENDPOINTS_AT_MOST:
        raise TooManyEndpoints
    row = await connection.fetchrow(
        *_SQL["create"](project_id=project_id, url=url, events=sorted(events), secret=secret)
    )
    assert row is not None  # noqa: S101 - just written
    return _endpoint(row)


async def list_endpoints(
    database: Pool | Connection, projects: Iterable[int] | None = None
) -> list[Endpoint]:
    """Return the endpoints of these projects, or of all, the newest first. A project has at most ten."""
    ids = None if projects is None else sorted(projects)
    return [_endpoint(row) for row in await database.fetch(*_SQL["list"](projects=ids))]


async def find_endpoint(database: Pool | Connection, endpoint_id: uuid.UUID) -> Endpoint:
    """Return an endpoint.

    Raises:
        EndpointNotFound: No endpoint has this id.
    """
    return _found(await database.fetchrow(*_SQL["find"](id=endpoint_id)), endpoint_id)


async def set_events(connection: Connection, endpoint_id: uuid.UUID, events: Iterable[EventType]) -> Endpoint:
    """Change which events an endpoint receives, and return the endpoint.

    Raises:
        EndpointNotFound: No endpoint has this id.
    """
    row = await connection.fetchrow(*_SQL["set_events"](id=endpoint_id, events=sorted(events)))
    return _found(row, endpoint_id)


async def rotate_secret(
    database: Pool | Connection, endpoint_id: uuid.UUID, secret: str, overlap: dt.timedelta
) -> Endpoint:
    """Replace the secret of an endpoint and return the endpoint.

    Args:
        database: The database.
        endpoint_id: The endpoint.
        secret: The new secret.
        overlap: How long the previous secret also signs. If zero, it is deleted.

    Raises:
        EndpointNotFound: No endpoint has this id.
    """
    row = await database.fetchrow(
        *_SQL["rotate_secret"](id=endpoint_id, secret=secret, overlap=overlap, keep_previous=bool(overlap))
    )
    return _found(row, endpoint_id)


async def set_state(database: Pool | Connection, endpoint_id: uuid.UUID, state: EndpointState) -> Endpoint:
    """Disable an endpoint, or enable it again; return the endpoint.

    Raises:
        EndpointNotFound: No endpoint has this id.
    """
    because = "" if state is EndpointState.ACTIVE else "by hand"
    row = await database.fetchrow(*_SQL["set_state"](id=endpoint_id, state=state.value, because=because))
    return _found(row, endpoint_id)


async def delete_endpoint(connection: Connection, endpoint_id: uuid.UUID) -> Endpoint:
    """Delete an endpoint and its queued messages, but not its log; return the endpoint.

    Raises:
        EndpointNotFound: No endpoint has this id.
    """
    row = await connection.fetchrow(*_SQL["delete"](id=endpoint_id))
    await connection.execute(*_SQL["delete_queued"](id=endpoint_id))
    return _found(row, endpoint_id)


async def send_test(database: Pool | Connection, endpoint_id: uuid.UUID) -> uuid.UUID:
    """Queue a test message for an active endpoint; return the message's id.

    Raises:
        EndpointNotFound: No active endpoint has this id.
    """
    statement = _SQL["send_test"](id=endpoint_id, type=TEST, message_ttl=POLICY.ttl)
    message_id: uuid.UUID | None = await database.fetchval(*statement)
    if message_id is None:
        raise EndpointNotFound.of(endpoint_id)
    return message_id


async def active_targets(connection: Connection) -> Mapping[str, Target]:
    """Return the URLs and secrets of all active endpoints, by the endpoints' ids."""
    return {
        str(row["id"]): Target(
            row["url"], Secrets(row["secret"], row["previous_secret"], row["previous_until"])
        )
        for row in await connection.fetch(*_SQL["active_targets"]())
    }


def _found(row: asyncpg.Record | None, endpoint_id: uuid.UUID) -> Endpoint:
    if row is None:
        raise EndpointNotFound.of(endpoint_id)
    return _endpoint(row)


def _endpoint(row: asyncpg.Record) -> Endpoint:
    return Endpoint(
        id=row["id"],
        project_id=row["project_id"],
        project=row["project"],
        url=row["url"],
        events=tuple(EventType(event) for event in row["events"]),
        state=EndpointState(row["state"]),
        created_at=row["created_at"],
        disabled_because=row["disabled_because"],
        previous_until=row["previous_until"],
    )
